"""Campaigns that try to break the promises: what was tried, what held, and what was wrong.

`make faults` runs the long forms; the tests here run short ones.
"""
