"""The operating system underneath: processes, /proc, files, signals, and the units in which people write numbers.

Knows nothing of jobs, engines or schedulers.
"""
