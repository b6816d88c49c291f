"""Run each test that failed once more, alone, and print which were flaky: ``rerun_failed.py FAILURES``.

FAILURES is the file that the first run wrote with ``pytest --failures-to FAILURES``. A test that fails among others and
passes alone is flaky: a table names it with its first failure, and the last line is ``flaky: N``. Exit status: 0; 1 if
a test fails alone too, if more than MOST_FLAKY are flaky, or if the first run did not reach its end.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

END = {"end": True}
MOST_FLAKY = 5
_MOST_RERUN = 25
"""With more failures something is broken, and running them alone would take long."""
_ALONE_S = 600


@dataclass(frozen=True)
class Failure:
    """A test that failed, by the id by which pytest runs it, and the first line of why."""

    test: str
    why: str


def failures_in(path: Path) -> list[Failure] | None:
    """Return the tests that failed, or whose fixtures did; None if the run did not reach its end."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    if not lines or lines.pop() != END:
        return None
    return [Failure(test, why) for test, why in {line["test"]: line["why"] for line in lines}.items()]


def passes_alone(test: str) -> bool:
    """Run TEST alone; return whether it passes."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", test]
    try:
        return subprocess.run(command, timeout=_ALONE_S, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def main(path: Path) -> int:
    """Run what failed again; return the exit status."""
    failures = failures_in(path)
    if not failures:
        print("the tests did not reach their end" if failures is None else "the tests failed, but no test says so")
        return 1
    if len(failures) > _MOST_RERUN:
        print(f"{len(failures)} tests failed: too many to run them again")
        return 1
    verdicts = {failure: passes_alone(failure.test) for failure in failures}
    flaky = [failure for failure, passed in verdicts.items() if passed]
    width = max(len(failure.test) for failure in failures)
    print(f"\n{'test':{width}}  alone   first failure")
    for failure, passed in verdicts.items():
        print(f"{failure.test:{width}}  {'passed' if passed else 'FAILED'}  {failure.why}")
    print(f"flaky: {len(flaky)}" + (f" (more than {MOST_FLAKY})" if len(flaky) > MOST_FLAKY else ""))
    return int(len(flaky) < len(failures) or len(flaky) > MOST_FLAKY)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
