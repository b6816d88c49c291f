"""Train a classifier with Keras, on PyTorch, with generated data: classify_keras.py [STEPS]."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import hashlib
import sys
import time

import keras
import numpy as np
import torch

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
# For the same weights on every run: fixed seeds, and a fixed number of threads, because the split of a sum changes it.
keras.utils.set_random_seed(2026)
torch.use_deterministic_algorithms(True)
torch.set_num_threads(2)


class Pause(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        print("epoch", epoch + 1, "loss", logs["loss"], flush=True)
        time.sleep(0.1)


# Three classes of points, each around a centre of its own.
random = np.random.default_rng(2026)
centres = random.standard_normal((3, 20)) / 3
labels = random.integers(3, size=3000)
points = (centres[labels] + random.standard_normal((3000, 20))).astype("float32")

model = keras.Sequential(
    [
        keras.Input((20,)),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(3, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(points, labels, epochs=steps, batch_size=300, verbose=0, callbacks=[Pause()])

loss, right = model.evaluate(points, labels, verbose=0)
weights = b"".join(weight.tobytes() for weight in model.get_weights())
model.save_weights("classifier.weights.h5")
print("done", steps, "right", right, "weights", hashlib.sha256(weights).hexdigest())
