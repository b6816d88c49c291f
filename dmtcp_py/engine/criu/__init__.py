"""The CRIU engine. This package alone knows CRIU: where it is, its command lines, its namespaces, its failures.

A program runs in a PID namespace of its own, below a keeper that dies with us; images are taken and restored from
inside of that namespace, so that a restored process has its pid again, and is waited for as any child is. What an
image does not hold (the content of files, /dev/shm, our standard streams) is kept, put back and reconnected here.
"""
