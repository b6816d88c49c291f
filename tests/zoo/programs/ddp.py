"""Train one model in two processes with PyTorch's DDP over gloo: ddp.py [STEPS]."""

import os
import sys
import tempfile
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn


def work(rank, store, steps):
    """Train on this process's points."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
    torch.manual_seed(20)
    model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    torch.manual_seed(rank)
    for step in range(1, steps + 1):
        points = torch.randn(32, 8)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(points), points.sum(dim=1, keepdim=True))
        loss.backward()
        optimizer.step()
        if rank == 0:
            print(step, repr(sum(weights.sum().item() for weights in model.parameters())), flush=True)
        time.sleep(0.1)
    if rank == 0:
        print("done", steps)
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, (folder + "/store", int(sys.argv[1]) if len(sys.argv) > 1 else 100), nprocs=2)
