"""What a process is besides memory and files: the record of it in a generation, and its comparison after a restart.

What each engine forgets, and how that is put back, is the engine's to know.
"""
