"""Second copies of jobs at other places, made while their programs run, and fetched for a resume elsewhere.

A process of its own copies, see `dmtcp_py.mirror.worker`: the supervisor imports none of the libraries that talk to
servers. What lies at a mirror is in `dmtcp_py.store.mirrored` and docs/mirror.md.
"""
