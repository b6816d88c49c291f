"""Fit a Keras model to generated points, an epoch a step: fit.py [STEPS]. KERAS_BACKEND chooses what computes."""

import sys
import time

import keras
import numpy as np

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 100
keras.utils.set_random_seed(20)
points = np.random.default_rng(20).normal(size=(256, 8)).astype("float32")
labels = (points.prod(axis=1) > 0).astype("float32")
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(1, "sigmoid")])
model.compile("adam", "binary_crossentropy")
for step in range(1, steps + 1):
    history = model.fit(points, labels, epochs=1, batch_size=64, verbose=0)
    print(step, repr(float(history.history["loss"][0])), flush=True)
    time.sleep(0.08)
with open("weights.bin", "wb") as file:
    for weights in model.get_weights():
        file.write(weights.tobytes())
print("done", steps)
