"""The engines, which checkpoint and restart programs: one protocol for all, and the choice between them.

The rest of dmtcp-py uses an engine through ``protocol`` alone. ``engine.dmtcp`` and ``engine.criu`` do not import each
other, and nothing outside this package imports either.
"""
