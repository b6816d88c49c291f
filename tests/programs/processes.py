"""Share each step among worker processes: processes.py METHOD WAY [STEPS].

METHOD is fork, spawn or forkserver; WAY is process, pool or futures.
"""

import concurrent.futures
import multiprocessing
import sys
import time


def work(x):
    """Iterate a random number generator from x, then rest."""
    for _ in range(1000):
        x = (1103515245 * x + 12345) % 2**31
    time.sleep(0.05)
    return x


def serve(jobs, results):
    """Work on numbers until None comes."""
    for index, x in iter(jobs.get, None):
        results.put((index, work(x)))


def with_processes(context, values, steps):
    """Yield the values after each step, which two processes take from queues."""
    jobs, results = context.Queue(), context.Queue()
    workers = [context.Process(target=serve, args=(jobs, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for _ in range(steps):
        for job in enumerate(values):
            jobs.put(job)
        values = [x for _, x in sorted(results.get(timeout=100) for _ in values)]
        yield values
    for _ in workers:
        jobs.put(None)
    for worker in workers:
        worker.join()
    print([worker.exitcode for worker in workers])


def with_pool(context, values, steps):
    """Yield the values after each step, which a pool takes."""
    with context.Pool(2) as pool:
        for _ in range(steps):
            values = pool.map(work, values, chunksize=1)
            yield values


def with_futures(context, values, steps):
    """Yield the values after each step, which an executor takes."""
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        for _ in range(steps):
            values = list(pool.map(work, values))
            yield values


def main():
    """Let two workers turn four numbers into the next four."""
    method, way = sys.argv[1:3]
    steps = int(sys.argv[3]) if len(sys.argv) > 3 else 300
    context = multiprocessing.get_context(method)
    ways = {"process": with_processes, "pool": with_pool, "futures": with_futures}
    for step, values in enumerate(ways[way](context, [1, 2, 3, 4], steps), 1):
        print(step, sum(values), flush=True)
    print("done", steps, *values)


if __name__ == "__main__":
    main()
