"""Spawned workers write into shared memory with a name: segments.py METHOD [STEPS]."""

import multiprocessing
import sys
import time
from multiprocessing import shared_memory


def work(name, jobs, results):
    """Write what is asked for."""
    block = shared_memory.SharedMemory(name)
    for number in iter(jobs.get, None):
        time.sleep(0.1)
        block.buf[number] = number * 7 % 251
        results.put(number)
    block.close()


def main():
    """Let two workers fill the memory."""
    context = multiprocessing.get_context(sys.argv[1])
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    jobs, results = context.Queue(), context.Queue()
    block = shared_memory.SharedMemory(create=True, size=2 * steps)
    workers = [context.Process(target=work, args=(block.name, jobs, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for number in range(2 * steps):
        jobs.put(number)
    for _ in workers:
        jobs.put(None)
    for done in range(2 * steps):
        results.get(timeout=100)
        print(done, flush=True)
    for worker in workers:
        worker.join()
    print("done", sum(block.buf), [worker.exitcode for worker in workers], flush=True)
    block.close()
    block.unlink()


if __name__ == "__main__":
    main()
