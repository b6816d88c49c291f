"""Train a classifier on generated points with PyTorch, on the CPU: train.py WORKERS [STEPS].

The weights go to weights.bin. With WORKERS the points come from a DataLoader with that many processes.
"""

import sys
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def main():
    """Train."""
    workers = int(sys.argv[1])
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    torch.manual_seed(20)
    torch.use_deterministic_algorithms(True)
    points = torch.randn(640, 8)
    labels = (points.prod(dim=1) > 0).long()
    loader = DataLoader(TensorDataset(points, labels), batch_size=64, shuffle=True, num_workers=workers)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    step = 0
    while step < steps:
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), wanted)
            loss.backward()
            optimizer.step()
            step += 1
            print(step, repr(loss.item()), flush=True)
            time.sleep(0.1)
            if step == steps:
                break
    with open("weights.bin", "wb") as file:
        for weights in model.state_dict().values():
            file.write(weights.numpy().tobytes())
    print("done", steps)


if __name__ == "__main__":
    main()
