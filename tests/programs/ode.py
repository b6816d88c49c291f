"""Integrate the Lorenz equations and solve a sparse system each step, with scipy: ode.py [STEPS]."""

import sys
import time

import numpy as np
from scipy.integrate import solve_ivp
from scipy.sparse import diags
from scipy.sparse.linalg import spsolve

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
state = np.array([1.0, 1.0, 1.0])
matrix = diags([-1.0, 4.0, -1.0], [-1, 0, 1], shape=(500, 500), format="csc")
x = np.ones(500)


def lorenz(_, point):
    """Return the derivatives."""
    a, b, c = point
    return [10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c]


for step in range(1, steps + 1):
    state = solve_ivp(lorenz, (0, 0.1), state, rtol=1e-8).y[:, -1]
    x = spsolve(matrix, x + state[0])
    print(step, repr(float(state.sum())), repr(float(x.sum())), flush=True)
    time.sleep(0.08)
print("done", steps, repr(float(state[0])))
