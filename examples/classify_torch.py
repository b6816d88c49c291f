"""Train a classifier with PyTorch on generated data: classify_torch.py [STEPS]."""

import hashlib
import sys
import time

import torch
from torch import nn

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
# For the same weights on every run: fixed seeds, and a fixed number of threads, because the split of a sum changes it.
torch.manual_seed(2026)
torch.use_deterministic_algorithms(True)
torch.set_num_threads(2)

# Three classes of points, each around a centre of its own.
centres = torch.randn(3, 20) / 3
labels = torch.randint(3, (3000,))
points = centres[labels] + torch.randn(3000, 20)

model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 3))
optimizer = torch.optim.Adam(model.parameters())
loss_of = nn.CrossEntropyLoss()

for step in range(1, steps + 1):
    for batch in torch.randperm(len(points)).split(300):
        optimizer.zero_grad()
        loss = loss_of(model(points[batch]), labels[batch])
        loss.backward()
        optimizer.step()
    print("epoch", step, "loss", loss.item(), flush=True)
    time.sleep(0.1)

model.eval()
right = (model(points).argmax(1) == labels).float().mean().item()
weights = b"".join(weight.detach().numpy().tobytes() for weight in model.state_dict().values())
torch.save(model.state_dict(), "weights.pt")
print("done", steps, "right", right, "weights", hashlib.sha256(weights).hexdigest())
