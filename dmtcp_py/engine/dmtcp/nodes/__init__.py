"""A computation on several nodes of an allocation: an agent on each other node, and a replacement for ssh(1).

The supervisor and the coordinator run on the first node. ``agents`` is the supervisor's side, ``agent`` runs on each
other node, and the program calls ``rsh`` instead of ssh: the only part that runs inside the computation.
"""
