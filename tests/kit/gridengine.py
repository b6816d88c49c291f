"""A private Grid Engine: a master and one execution host on this machine, with ports and folders of its own."""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kit.batch_server import call, environment
from kit.cluster import Daemon
from kit.waits import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kit.batch_server import BatchServer

_PROGRAMS = Path("/usr/lib/gridengine")
_SHARE = Path("/usr/share/gridengine")
_EXIT_STATUS, _JOB, _TASK = 12, 5, 35
"""Fields of accounting(5)."""


@dataclass
class GridEngine:
    """Grid Engine in FOLDER, run and used by who runs the tests, who has to be root."""

    folder: Path
    name: str = "Grid Engine"
    script: str = "gridengine.sh"
    array: tuple[str, ...] = ("-t", "1-2")
    _daemons: list[Daemon] = field(default_factory=list)
    _ports: tuple[int, int] = (0, 0)

    @property
    def environ(self) -> dict[str, str]:
        """What its commands need: this cell, and daemons that stay in the foreground."""
        ports = {"SGE_QMASTER_PORT": str(self._ports[0]), "SGE_EXECD_PORT": str(self._ports[1])}
        return environment({"SGE_ROOT": str(self.folder), "SGE_CELL": "default", "SGE_ND": "1", **ports})

    def start(self) -> None:
        """Configure the cell and start it; returns when its queue takes jobs."""
        self._ports = _free_port(), _free_port()
        common, spool = self.folder / "default/common", self.folder / "spool"
        for folder in (common, spool / "qmaster/job_scripts", spool / "execd"):
            folder.mkdir(parents=True)
        (self.folder / "util").symlink_to(_SHARE / "util")
        (common / "act_qmaster").write_text("localhost\n")
        # this machine has one address, and so it may have one name
        (common / "host_aliases").write_text(f"localhost {socket.gethostname()}\n")
        (common / "bootstrap").write_text(_BOOTSTRAP.format(spool=spool, common=common))
        (self.folder / "configuration").write_text(_configuration(spool))
        for words in (
            ["spoolinit", "classic", "libspoolc", f"{common};{spool}/qmaster", "init"],
            ["spooldefaults", "configuration", self.folder / "configuration"],
            ["spooldefaults", "complexes", _SHARE / "util/resources/centry"],
            ["spooldefaults", "usersets", _SHARE / "util/resources/usersets"],
            ["spooldefaults", "managers", "root"],
        ):
            self._call(_PROGRAMS / str(words[0]), *words[1:])
        self._start("sge_qmaster")
        wait_until(lambda: self._works("qconf", "-sm"), 30)
        self._call("qconf", "-as", "localhost")
        self._start("sge_execd")
        wait_until(lambda: "localhost" in self._output("qhost"), 30)
        self._add("-Ap", (_SHARE / "util/resources/pe/smp").read_text())
        self._add("-Aq", _QUEUE)
        plain = self._call("qconf", "-ssconf").splitlines()
        self._add("-Msconf", "".join(f"{_quick(line)}\n" for line in plain))
        wait_until(lambda: "lx" in self._output("qstat", "-f"), 30)

    def close(self) -> None:
        """End it, with all jobs."""
        for daemon in reversed(self._daemons):
            daemon.end()

    def limit(self, seconds: int) -> tuple[str, ...]:
        """Return the options of a job that may run for SECONDS."""
        return ("-l", f"h_rt={seconds}")

    def submit(self, script: Path, *arguments: str, options: tuple[str, ...], cwd: Path, env: Mapping[str, str]) -> str:
        """Submit SCRIPT with ARGUMENTS; return the job's id."""
        passed = ["-v", ",".join(f"{name}={value}" for name, value in {"PATH": self.environ["PATH"], **env}.items())]
        words = ["qsub", "-terse", *passed, *options, script, *arguments]
        return call(*words, cwd=cwd, env=self.environ).strip().partition(".")[0]

    def is_known(self, job: str) -> bool:
        """Whether JOB waits, runs or ends."""
        return any(line.split()[:1] == [job] for line in self._output("qstat", "-u", "*").splitlines())

    def cancel(self, job: str) -> None:
        """Cancel JOB."""
        self._call("qdel", job)

    def exit_status(self, job: str) -> int:
        """Return the exit status of JOB's last run."""
        number, _, task = job.partition(".")
        path = self.folder / "default/common/accounting"
        found: list[str] = []

        def is_written() -> bool:
            lines = path.read_text().splitlines() if path.exists() else []
            fields = [line.split(":") for line in lines if not line.startswith("#")]
            mine = [one for one in fields if one[_JOB] == number and task in ("", one[_TASK])]
            found[:] = mine[-1] if mine else []
            return bool(found)

        wait_until(is_written, 60)
        return int(found[_EXIT_STATUS])

    def _start(self, program: str) -> None:
        self._daemons.append(Daemon([f"/usr/sbin/{program}"], self.environ, self.folder / f"{program}.log"))
        self._daemons[-1].start()

    def _add(self, option: str, text: str) -> None:
        path = self.folder / "added"
        path.write_text(text)
        self._call("qconf", option, path)

    def _call(self, *words: str | Path) -> str:
        return call(*words, cwd=self.folder, env=self.environ)

    def _output(self, *words: str) -> str:
        try:
            return self._call(*words)
        except AssertionError:
            return ""

    def _works(self, *words: str) -> bool:
        return bool(self._output(*words))


def why_not() -> str:
    """Return why there can be no Grid Engine here; an empty text if there can."""
    if os.geteuid() != 0:
        return "Grid Engine needs root"
    names = ("sge_qmaster", "sge_execd", "qsub", "qconf")
    missing = [name for name in names if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")]
    return f"not installed: {', '.join(missing)}" if missing else ""


def make(folder: Path) -> BatchServer:
    """Return a Grid Engine in FOLDER, not started."""
    return GridEngine(folder)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _quick(line: str) -> str:
    """Return a LINE of the scheduler's settings so that a job starts at once."""
    quick = {"schedule_interval": "0:0:1", "flush_submit_sec": "1", "flush_finish_sec": "1"}
    name = line.split(maxsplit=1)[0]
    return f"{name} {quick[name]}" if name in quick else line


def _configuration(spool: Path) -> str:
    changed = {"execd_spool_dir": f"{spool}/execd", "min_uid": "0", "min_gid": "0", "load_report_time": "00:00:01"}
    # how a job ended is written at once
    flushed = "flush_time=00:00:01 accounting_flush_time=00:00:00"
    changed["reporting_params"] = f"accounting=true reporting=false {flushed} joblog=false sharelog=00:00:00"
    lines = (_SHARE / "default-configuration").read_text().splitlines()
    kept = [line for line in lines if line.strip() and line.split()[0] not in changed]
    return "\n".join([*kept, *(f"{name} {value}" for name, value in changed.items()), ""])


_BOOTSTRAP = """admin_user root
default_domain none
ignore_fqdn true
spooling_method classic
spooling_lib libspoolc
spooling_params {common};{spool}/qmaster
binary_path /usr/sbin
qmaster_spool_dir {spool}/qmaster
security_mode none
listener_threads 2
worker_threads 2
scheduler_threads 1
"""
_QUEUE = """qname all.q
hostlist localhost
seq_no 0
load_thresholds NONE
suspend_thresholds NONE
nsuspend 1
suspend_interval 00:05:00
priority 0
min_cpu_interval 00:05:00
processors UNDEFINED
qtype BATCH
ckpt_list NONE
pe_list smp
rerun FALSE
slots 16
tmpdir /tmp
shell /bin/sh
prolog NONE
epilog NONE
shell_start_mode unix_behavior
starter_method NONE
suspend_method NONE
resume_method NONE
terminate_method NONE
notify 00:00:20
owner_list NONE
user_lists NONE
xuser_lists NONE
subordinate_list NONE
complex_values NONE
projects NONE
xprojects NONE
calendar NONE
initial_state default
s_rt INFINITY
h_rt 48:00:00
s_cpu INFINITY
h_cpu INFINITY
s_fsize INFINITY
h_fsize INFINITY
s_data INFINITY
h_data INFINITY
s_stack INFINITY
h_stack INFINITY
s_core INFINITY
h_core INFINITY
s_rss INFINITY
h_rss INFINITY
s_vmem INFINITY
h_vmem INFINITY
"""
