"""Train a classifier with two PyTorch processes, DistributedDataParallel over gloo: torchrun runs both."""

import hashlib
import sys
import time

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
dist.init_process_group("gloo")
rank = dist.get_rank()
# The same weights on every run: fixed seeds, and a fixed number of threads, as sums depend on how they are split.
torch.manual_seed(2026)
torch.use_deterministic_algorithms(True)
torch.set_num_threads(1)

# Three classes of points, each around a centre of its own; each process takes its share of them.
centres = torch.randn(3, 20) / 3
labels = torch.randint(3, (3000,))
points = centres[labels] + torch.randn(3000, 20)
data = TensorDataset(points, labels)
sampler = DistributedSampler(data)
batches = DataLoader(data, batch_size=150, sampler=sampler)

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

weights = b"".join(weight.detach().numpy().tobytes() for weight in model.state_dict().values())
if rank == 0:
    torch.save(model.module.state_dict(), "weights.pt")
    print("done", steps, "weights", hashlib.sha256(weights).hexdigest(), flush=True)
dist.destroy_process_group()
