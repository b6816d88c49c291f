"""The program's files as they were at a checkpoint: recorded while it runs, put back before it is resumed.

Owns two formats: the journal of changes that programs make to files by name (written by ``native/journal.c``), and
``files.json``, the list of files that a program held open. Does not know how an engine takes images.
"""
