"""Rehearsals: checkpoint, kill and resume a program within a minute, and report the result.

``scratch`` makes a copy of the directory, and ``place`` cleans up; ``life`` runs dmtcp-run there; ``course`` has the
steps under one engine, and ``schedule`` their times; ``reference`` compares with an undisturbed run; ``rehearse`` joins
them; ``lines`` words the result.
"""
