"""The CRIU engine: the only package that knows CRIU's installation, command lines, namespaces and failures.

A program runs in a PID namespace of its own, below a keeper that dies with the supervisor. criu dumps and restores it
inside that namespace, so that a restored process gets its pid again, and can be reaped as any child. What an image does
not contain (the content of files, /dev/shm, our standard streams) this package copies, restores and reconnects.
"""
