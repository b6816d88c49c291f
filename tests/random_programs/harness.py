"""What every random Python program begins with: it does steps, and after each it checks the kernel against its model.

Words: PAUSE_US KEY HOLD GO, as in C. Ends with RIGHT, or with DIFFERS after the first line that says what differs.
"""

import array
import contextlib
import ctypes
import errno
import fcntl
import gc
import io
import itertools
import mmap
import multiprocessing
import multiprocessing.shared_memory
import os
import queue
import random
import re
import resource
import select
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types

RIGHT, DIFFERS, PATIENCE_S = 42, 13, 20
CHECK, QUIT = -1, -2
NAMES = ("main", "child 1", "child 2", "thread 1", "thread 2")
BASE = os.getcwd()
_own = threading.local()
_others = {}
_differences = []


def me():
    """Return the number of the actor that runs."""
    return getattr(_own, "number", 0)


def in_base(name):
    """Return the path of NAME in the folder in which the program began."""
    return os.path.join(BASE, name)


def say(line):
    """Print LINE in one go."""
    os.write(1, f"{line}\n".encode())


def differ(text):
    """Say what differs."""
    _differences.append(text)
    say(f"DIFFERS {NAMES[me()]}: {_own.checked}: {text}")


def same(what, found, wanted):
    """Check that what was FOUND is what is WANTED."""
    if found != wanted:
        found, wanted = (repr(value)[:60] for value in (found, wanted))
        differ(f"{what} is {found}, not {wanted}")


def wait_until(condition, what):
    """Wait for a CONDITION, with a bound."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until:
            differ(f"{what}: waited in vain")
            return
        time.sleep(0.001)


def data_of(n, size):
    """Return SIZE bytes that N decides."""
    return random.Random(n).randbytes(size)


class Actor:
    """One who does steps: it has a model for each kind."""

    def __init__(self, kinds, steps):
        self.kinds, self.steps, self.models = kinds, steps, {}

    def obey(self, order):
        """Do step ORDER, or check all that was done; return the number of differences."""
        before = len(_differences)
        if order >= 0:
            name, _, n = self.steps[order]
            _own.checked = name
            owner = self.kinds[name][3] or name
            model = self.models.setdefault(owner, types.SimpleNamespace())
            self.models[name] = model
            self.kinds[name][0](n, model)
        else:
            for name, model in self.models.items():
                _own.checked = name
                self.kinds[name][1](model)
                if order == QUIT:
                    self.kinds[name][2](model)
        return len(_differences) - before


class Child:
    """An actor that is a forked process."""

    def __init__(self, number, kinds, steps):
        reading, self._orders = os.pipe()
        self._answers, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._orders)
            os.close(self._answers)
            for other in _others.values():
                other.close()
            _own.number = number
            self._serve(Actor(kinds, steps), reading, writing)
        os.close(reading)
        os.close(writing)

    @staticmethod
    def _serve(actor, reading, writing):
        status = 1
        try:
            order = None
            while order != QUIT and (data := os.read(reading, 8)):
                (order,) = struct.unpack("q", data)
                os.write(writing, struct.pack("q", actor.obey(order)))
            status = 0
        finally:
            os._exit(status)

    def obey(self, order):
        """Pass ORDER on."""
        os.write(self._orders, struct.pack("q", order))
        answer = os.read(self._answers, 8)
        if not answer:
            say("DIFFERS a child is gone")
        return struct.unpack("q", answer)[0] if answer else 1

    def close(self):
        """Close what another child inherited."""
        os.close(self._orders)
        os.close(self._answers)

    def join(self):
        """Wait for its end."""
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


class Thread(threading.Thread):
    """An actor that is a thread."""

    def __init__(self, number, kinds, steps):
        super().__init__()
        self._number, self._actor = number, Actor(kinds, steps)
        self._orders, self._answers = queue.Queue(), queue.Queue()
        self.start()

    def run(self):
        """Do what is ordered."""
        _own.number = self._number
        order = None
        while order != QUIT:
            order = self._orders.get()
            self._answers.put(self._actor.obey(order))

    def obey(self, order):
        """Pass ORDER on."""
        self._orders.put(order)
        return self._answers.get()

    def close(self):
        """Have nothing to close."""

    def join(self):
        """Wait for its end."""
        super().join()
        return 0


def run(kinds, steps):
    """Do all STEPS; end at once if one fails, though threads and children wait for orders."""
    try:
        do_all(kinds, steps)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def do_all(kinds, steps):
    """Do them, check after each, and end with what was found."""
    pause_us, _, hold, go = sys.argv[1:]
    _others[0] = Main(kinds, steps)
    for index, (name, number, _) in enumerate([*steps, ("", 0, 0)]):
        time.sleep(int(pause_us) / 1e6)
        while not may_pass(index, int(hold), go):
            time.sleep(0.01)
        found = sum(actor.obey(CHECK) for actor in _others.values())
        if found == 0 and index < len(steps):
            say(f"step {index} {NAMES[number]} {name}")
            if number not in _others:
                _others[number] = (Child if NAMES[number].startswith("child") else Thread)(number, kinds, steps)
            found = _others[number].obey(index)
        if found:
            break
    found += sum(actor.obey(QUIT) for actor in _others.values())
    found += sum(actor.join() != 0 for actor in _others.values())
    if not found:
        say("right")
    sys.stdout.flush()
    os._exit(DIFFERS if found else RIGHT)


def may_pass(index, hold, go):
    """Whether step INDEX may be done now: file GO has to be there from step HOLD on, and may name a later step."""
    if not 0 <= hold <= index:
        return True
    with contextlib.suppress(FileNotFoundError), open(go) as file:
        return index < int(file.read() or index + 1)
    return False


class Main(Actor):
    """The program itself."""

    def close(self):
        """Have nothing to close."""

    def join(self):
        """Go on."""
        return 0
