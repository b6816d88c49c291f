import multiprocessing as mp, sys, time


def work(todo, done, limit):
    for number in iter(todo.get, None):
        with limit:
            time.sleep(0.25)
            done.put((number, number * number))


if __name__ == "__main__":
    mp.set_start_method("fork")
    todo, done, limit = mp.Queue(4), mp.Queue(), mp.BoundedSemaphore(2)
    workers = [mp.Process(target=work, args=(todo, done, limit)) for _ in range(3)]
    for one in workers:
        one.start()
    results = []
    for number in range(120):
        todo.put(number)
        if number >= 8:
            results.append(done.get(timeout=30))
            print("step", len(results), flush=True)
    for one in workers:
        todo.put(None)
    while len(results) < 120:
        results.append(done.get(timeout=30))
        print("step", len(results), flush=True)
    for one in workers:
        one.join()
    print(sorted(results) == [(n, n * n) for n in range(120)], [one.exitcode for one in workers], flush=True)
    sys.exit(49)
