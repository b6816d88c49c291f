"""The operating system: processes, /proc, files, signals, TCP sockets, and durations and sizes as text.

Knows nothing of jobs, engines or schedulers.
"""
