"""Multiply matrices with numpy and its threaded BLAS: blas.py [STEPS]."""

import hashlib
import sys
import time

import numpy as np

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
n, prime = 400, 1009
a = np.arange(n * n).reshape(n, n) ** 2 % prime
a = a.astype(float)
x = np.eye(n)

# Whole numbers below 2**53: exact in any order, so for any number of threads.
for step in range(1, steps + 1):
    x = (a @ x + step) % prime
    print(step, hashlib.sha256(x.tobytes()).hexdigest()[:16], int(x.trace()))
    time.sleep(0.09)

print("done", steps, hashlib.sha256(x.tobytes()).hexdigest())
