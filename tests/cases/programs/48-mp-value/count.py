import multiprocessing as mp, sys, time


def work(number, total, rows):
    for step in range(36):
        with total.get_lock():
            total.value += 1
        rows[number] += step
        time.sleep(0.25)


if __name__ == "__main__":
    mp.set_start_method("fork")
    total, rows = mp.Value("l", 0), mp.RawArray("l", 2)
    workers = [mp.Process(target=work, args=(i, total, rows)) for i in range(2)]
    for one in workers:
        one.start()
    for step in range(38):
        print("step", step, flush=True)
        time.sleep(0.25)
    for one in workers:
        one.join()
    print("total", total.value, "rows", list(rows), "exit codes", [one.exitcode for one in workers], flush=True)
    sys.exit(67)
