"""Train a classifier in two processes, PyTorch's DistributedDataParallel over gloo: classify_ddp.py [STEPS].

Alone, it starts both processes. Under torchrun (torchrun --standalone --nproc-per-node 2 classify_ddp.py) it is one
of them.
"""

import hashlib
import os
import sys
import tempfile
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


def train(rank, size, meeting_place, steps):
    dist.init_process_group("gloo", init_method=meeting_place, rank=rank, world_size=size)
    # For the same weights on every run: fixed seeds, and a fixed number of threads, because the split of a sum changes it.
    torch.manual_seed(2026)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)

    # Three classes of points, each around a centre of its own; each process trains on its share of them.
    centres = torch.randn(3, 20) / 3
    labels = torch.randint(3, (3000,))
    points = centres[labels] + torch.randn(3000, 20)
    sampler = DistributedSampler(points)
    batches = DataLoader(TensorDataset(points, labels), batch_size=150, sampler=sampler)

    model = DistributedDataParallel(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3)))
    optimizer = torch.optim.Adam(model.parameters())
    loss_of = nn.CrossEntropyLoss()

    for step in range(1, steps + 1):
        sampler.set_epoch(step)
        for some, theirs in batches:
            optimizer.zero_grad()
            loss = loss_of(model(some), theirs)
            loss.backward()
            optimizer.step()
        if rank == 0:
            print("epoch", step, "loss", loss.item(), flush=True)
        time.sleep(0.1)

    if rank == 0:
        right = (model.module(points).argmax(1) == labels).float().mean().item()
        weights = b"".join(weight.numpy().tobytes() for weight in model.module.state_dict().values())
        torch.save(model.module.state_dict(), "weights.pt")
        print("done", steps, "right", right, "weights", hashlib.sha256(weights).hexdigest(), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    if "RANK" in os.environ:
        train(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), "env://", steps)
    else:
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(train, (2, f"file://{folder}/meet", steps), nprocs=2)
