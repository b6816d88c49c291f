"""The DMTCP engine. This package alone knows DMTCP: where it is, its coordinator, its commands, its failures.

Works with 3.2, 4.2 and 5.0. What each of them does was measured, and is told in docs/dmtcp.md.
"""
