import signal, sys, time

ticks = {signal.SIGALRM: 0, signal.SIGVTALRM: 0}


def tick(number, frame):
    ticks[number] += 1


for number in ticks:
    signal.signal(number, tick)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
signal.setitimer(signal.ITIMER_VIRTUAL, 0.02, 0.02)
for step in range(36):
    ticks = dict.fromkeys(ticks, 0)
    until = time.monotonic() + 60
    while min(ticks.values()) < 2 and time.monotonic() < until:
        sum(range(1000))
    print("step", step, *("fires" if count >= 2 else "is dead" for count in ticks.values()), flush=True)
    end = time.monotonic() + 0.15
    while (left := end - time.monotonic()) > 0:
        time.sleep(left)
# at its end Python gives up its handlers, and a signal would kill it
for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL):
    signal.setitimer(timer, 0)
sys.exit(29)
