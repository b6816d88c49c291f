"""Share memory with a child in the ways that programs do, and answer each other through it: memory.py STEPS.

A map, one of 256 MB with little in it, a Value and an Array of multiprocessing with their locks; later children write too.
"""

import mmap
import multiprocessing
import os
import sys
import time

steps = int(sys.argv[1])
words = mmap.mmap(-1, 3 * mmap.PAGESIZE)
large = mmap.mmap(-1, 1 << 28)
middle = len(large) // 2
number = multiprocessing.Value("i", 0)
numbers = multiprocessing.Array("d", [0.0] * 100)


def await_word(at, word):
    """Wait until the other process has written WORD."""
    while words[at] != word:
        time.sleep(0.002)


def answer():
    """Add to all of it in each step, as soon as the parent asks."""
    for step in range(1, steps + 1):
        await_word(0, step % 250)
        with number.get_lock():
            number.value += 1
        with numbers.get_lock():
            numbers[step % 100] += step
        large[middle + step] = step * 3 % 251
        words[1] = step % 250


if (child := os.fork()) == 0:
    answer()
    os._exit(0)
for step in range(1, steps + 1):
    words[0] = step % 250
    await_word(1, step % 250)
    if step % 10 == 0:
        if (later := os.fork()) == 0:
            words[2] += 1
            os._exit(0)
        os.waitpid(later, 0)
    with number.get_lock():
        number.value += 1
    print(step, number.value, sum(numbers), large[middle + step], words[2], flush=True)
    time.sleep(0.1)
print(os.waitpid(child, 0)[1])
