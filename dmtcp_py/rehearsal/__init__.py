"""Rehearsals: a program is checkpointed, killed and resumed for a minute, and what came of it is told.

``scratch`` makes a copy of the directory, and ``place`` cleans up; ``life`` runs dmtcp-run there; ``course`` has the
steps under one engine, and ``schedule`` their times; ``reference`` compares with an undisturbed run; ``rehearse`` joins
them; ``lines`` words the result.
"""
