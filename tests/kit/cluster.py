"""A private Slurm cluster: real daemons, several nodes on this host, no privileges needed.

Knows how Slurm is configured, started, asked and broken. Each daemon runs below a keeper, ``node_keeper.py``, which
owns all processes that come of it, jobs included: a node that loses power is a keeper that ends, and so is everything
when the tests are killed. Nothing here knows dmtcp-run.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from kit.places import RUN, TESTS
from kit.processes import descendants, is_alive
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kit.hosts import Hosts

CALL_S = 30.0
"""How long a client command may take; with a slurm.conf that Slurm does not like, it never ends by itself."""
DAEMONS = ("munged", "slurmctld", "slurmd")
PARTITIONS = {
    "low": "Default=YES MaxTime=INFINITE PriorityTier=1 PreemptMode=REQUEUE GraceTime=0",
    "high": "MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF",
}
ENDED = frozenset(
    [
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    ]
)
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_LONGEST_FOLDER = 70
_GUESTS = ("home", "tmp")
"""The folders that belong to who uses a cluster."""
_PORTS = range(20000, 32000, 40)
# replace a private folder by an empty one with nothing but Python in it, for this process and those below it
_UNCOVER = ["unshare", "--mount", "--propagation", "private", "sh", "-ec"]
_UNCOVER += [
    """python=$1 private=$2; shift 2
exec 9<"$python"
mount -t tmpfs -o mode=755,size=1m none "$private"
mkdir -p "$python"
mount --no-canonicalize --bind /proc/self/fd/9 "$python"
exec 9<&-
exec "$@"
""",
    "sh",
]
_KEY = re.compile(r"(?:^|\s)([A-Z][A-Za-z:/_]*)=")
_REST_OF_LINE = frozenset(
    ["AdminComment", "Command", "Comment", "JobName", "StdErr", "StdIn", "StdOut", "SystemComment", "WorkDir"]
)


class Daemon:
    """A daemon and the keeper above it."""

    def __init__(self, argv: list[str], environ: dict[str, str], log: Path) -> None:
        # where Slurm's proctrack/cgroup puts the jobs of a node
        group = f"/sys/fs/cgroup/freezer/slurm_{log.stem}"
        keeper = [sys.executable, "-IS", str(Path(__file__).with_name("node_keeper.py")), str(log), group, *argv]
        pipe = subprocess.PIPE
        self.keeper = subprocess.Popen(keeper, cwd="/", env=environ, text=True, bufsize=1, stdin=pipe, stdout=pipe)
        self.process: psutil.Process | None = None

    def start(self) -> None:
        """Start the daemon, for the first time or again."""
        assert self.keeper.stdin
        assert self.keeper.stdout
        self.keeper.stdin.write("\n")
        self.process = psutil.Process(int(self.keeper.stdout.readline()))

    def kill(self, signum: int = signal.SIGKILL) -> None:
        """Kill the daemon alone, and wait until it is gone."""
        if self.process:
            with suppress(psutil.NoSuchProcess):
                self.process.send_signal(signum)
                wait_until(lambda: not is_alive(self.process), CALL_S)

    def end(self) -> None:
        """SIGKILL the daemon and everything that ever came of it."""
        assert self.keeper.stdin
        assert self.keeper.stdout
        self.keeper.stdin.close()
        self.keeper.wait(CALL_S)
        self.keeper.stdout.close()

    @property
    def others(self) -> list[psutil.Process]:
        """The living processes that came of the daemon: slurmstepd, jobs, orphans."""
        return [one for one in descendants(self.keeper.pid) if one != self.process and is_alive(one)]


@dataclass
class Cluster:
    """A cluster of NODES nodes in FOLDER, run and used by USER (None: who runs the tests)."""

    folder: Path
    size: int = 2
    user: str | None = None
    guest: str | None = None
    """Who uses a cluster that root runs; its jobs can reach the folders `reached`."""
    reached: tuple[Path, ...] = ()
    options: dict[str, str] = field(default_factory=dict)
    """Lines of slurm.conf that replace or add to the usual ones; an empty value removes one."""
    partitions: dict[str, str] = field(default_factory=lambda: dict(PARTITIONS))
    hosts: Hosts | None = None
    """Hosts of their own for the nodes; the controller and the clients are on the first."""
    _daemons: dict[str, Daemon] = field(default_factory=dict)
    _held: list[socket.socket] = field(default_factory=list)
    _port: int = 0

    @property
    def nodes(self) -> list[str]:
        """The names of the nodes: by port, as two clusters on one host may not share the name of a control group."""
        if self.hosts is not None:
            return [host.name for host in self.hosts.hosts]
        return [f"n{self._port + 10 + number}" for number in range(self.size)]

    @property
    def conf(self) -> Path:
        """The file slurm.conf."""
        return self.folder / "etc" / "slurm.conf"

    @property
    def home(self) -> Path:
        """A folder that belongs to the user: home directory and default working directory of jobs."""
        return self.folder / "home"

    @property
    def account(self) -> pwd.struct_passwd:
        """The line in the password file of who uses it."""
        name = self.guest or self.user
        return pwd.getpwnam(name) if name else pwd.getpwuid(os.geteuid())

    @property
    def environ(self) -> dict[str, str]:
        """The environment of daemons and clients: nothing of a scheduler's but this cluster, no engine's."""
        schedulers = ("SLURM", "SBATCH_", "SRUN_", "SQUEUE_", "SCANCEL_", "PBS_", "LSB_", "SGE_", "DMTCP_")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(schedulers)}
        path = dict.fromkeys([str(Path(sys.executable).parent), *environ["PATH"].split(":"), *_SYSTEM_FOLDERS])
        environ |= {"PATH": ":".join(path), "SLURM_CONF": str(self.conf), "HOME": str(self.home)}
        environ |= {"TMPDIR": str(self.folder / "tmp"), "USER": self.account.pw_name, "LOGNAME": self.account.pw_name}
        return environ

    def start(self) -> None:
        """Configure the cluster and start it; returns when every node is idle."""
        assert len(str(self.folder)) < _LONGEST_FOLDER, f"names of sockets in {self.folder} would be too long"
        self._held, self._port = _hold_ports()
        self._make_folders()
        self._write("etc/slurm.conf", self._configuration())
        self._write("etc/cgroup.conf", "")
        (self.folder / "etc/munge.key").touch(mode=0o600)
        (self.folder / "etc/munge.key").write_bytes(secrets.token_bytes(1024))
        self._give("etc/munge.key")
        self._start("munged", "munged", "--foreground", *self._munge_options())
        self._wait_for((self.folder / "run/munge.socket").exists, "munged")
        self._start("slurmctld", "slurmctld", "-D")
        for name in self.nodes:
            self._start(name, "slurmd", "-D", "-N", name)
        for name in self.nodes:
            self.wait_node(name, "IDLE")

    def close(self) -> None:
        """End everything that the cluster ever started, and nothing else."""
        for daemon in self._daemons.values():
            daemon.end()
        self._daemons.clear()
        for one in self._held:
            one.close()
        self._held.clear()

    def sbatch(
        self, script: Path | str, *options: str, cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> str:
        """Submit SCRIPT, a file with its arguments or the text of one, and return the job's id."""
        text = script if isinstance(script, str) and script.startswith("#!") else None
        words = [*options, *([] if text else [str(script)])]
        return self.call("sbatch", "--parsable", *words, cwd=cwd, env=env, stdin=text).strip().partition(";")[0]

    def call(
        self,
        *words: str | Path,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        stdin: str | None = None,
    ) -> str:
        """Run a client command as the user, and return its output; fail the test where it fails."""
        done = self.run(*words, cwd=cwd, env=env, stdin=stdin)
        assert done.returncode == 0, f"{shlex.join(done.args)}: status {done.returncode}: {done.stderr}{self.log()}"
        return done.stdout

    def run(
        self,
        *words: str | Path,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a client command as the user, whatever its status."""
        where = cwd or self.home
        argv = self._on(None, [*self._as_user(), *map(str, words)], where)
        environ = {**self.environ, **(env or {})}
        return subprocess.run(
            argv, cwd=where, env=environ, input=stdin or "", text=True, capture_output=True, timeout=CALL_S, check=False
        )

    def show(self, job: str) -> dict[str, str]:
        """Return what ``scontrol show job`` says of JOB; of an array, one task must be named."""
        found = self.show_all(job)
        assert len(found) == 1, f"{job} is {len(found)} jobs, not one"
        return found[0]

    def show_all(self, job: str) -> list[dict[str, str]]:
        """Return what ``scontrol show job`` says of JOB, or of each task of an array."""
        return [parse(record) for record in self.scontrol("show", "job", job).strip().split("\n\n")]

    def state(self, job: str) -> str:
        """Return the state of JOB: PENDING, RUNNING, COMPLETED..."""
        return self.show(job)["JobState"]

    def wait(self, job: str, *states: str, timeout_s: float = LONG_S) -> dict[str, str]:
        """Wait until JOB is in one of STATES, and return what Slurm says of it then."""
        until = time.monotonic() + timeout_s
        while (shown := self.show(job))["JobState"] not in states:
            assert time.monotonic() < until, f"waited {timeout_s} s for {job} to be {states}: {shown}{self.log()}"
            time.sleep(0.05)
        return shown

    def wait_ended(self, job: str, timeout_s: float = LONG_S) -> dict[str, str]:
        """Wait until JOB has ended for good, and return what Slurm says of it then."""
        return self.wait(job, *ENDED, timeout_s=timeout_s)

    def exit_status(self, job: str, timeout_s: float = LONG_S) -> tuple[int, int]:
        """Wait until JOB has ended, and return its exit status and the signal that ended it."""
        status, signum = self.wait_ended(job, timeout_s)["ExitCode"].split(":")
        return int(status), int(signum)

    def node_of(self, job: str) -> str:
        """Return the name of the first node on which JOB runs."""
        return self.show(job)["BatchHost"]

    def scancel(self, job: str, *options: str) -> None:
        """Cancel JOB, or with ``--signal=…`` signal it."""
        self.call("scancel", *options, job)

    def requeue(self, job: str) -> None:
        """Put JOB back into the queue, as its owner would."""
        self.scontrol("requeue", job)

    def administer(self, *words: str) -> None:
        """Run ``scontrol WORDS`` as who runs the cluster."""
        runner = be(self.user) if self.user else ["setpriv"]
        argv = self._on(None, [*runner, "scontrol", *words], self.home)
        done = subprocess.run(argv, env=self.environ, text=True, capture_output=True, timeout=CALL_S, check=False)
        assert done.returncode == 0, f"{argv}: status {done.returncode}: {done.stderr}{self.log()}"

    def scontrol(self, *words: str) -> str:
        """Run ``scontrol WORDS``, and return its output."""
        return self.call("scontrol", *words)

    def wait_node(self, name: str, *states: str) -> None:
        """Wait until node NAME is in one of STATES, such as IDLE, DOWN, ALLOCATED, or with a flag, IDLE+DRAIN."""

        def is_there() -> bool:
            done = self.run("scontrol", "show", "node", name)
            return done.returncode == 0 and parse(done.stdout)["State"] in states

        self._wait_for(is_there, f"{name} to be {states}")

    def kill_node(self, name: str) -> None:
        """SIGKILL the slurmd of node NAME; its jobs run on."""
        self._daemons[name].kill()

    def crash_node(self, name: str, *, is_noticed: bool = True) -> None:
        """End all processes of node NAME at once, as the loss of power does, and have the controller notice it."""
        self._daemons.pop(name).end()
        if is_noticed:
            self.mark_down(name)

    def mark_down(self, name: str) -> None:
        """Have the controller take node NAME for dead, as it does by itself after SlurmdTimeout seconds."""
        self.administer("update", f"NodeName={name}", "State=DOWN", "Reason=test")

    def start_node(self, name: str) -> None:
        """Start the slurmd of node NAME again, after either kind of death."""
        if name in self._daemons:
            self._daemons[name].start()
        else:
            self._start(name, "slurmd", "-D", "-N", name)
        self.wait_node(name, "IDLE", "ALLOCATED", "MIXED")

    def stop_controller(self) -> None:
        """Stop slurmctld, which saves its state; jobs run on, and clients wait 9 to 18 s before they fail."""
        self._daemons["slurmctld"].kill(signal.SIGTERM)

    def start_controller(self) -> None:
        """Start slurmctld again; it remembers the jobs."""
        self._daemons["slurmctld"].start()
        self._wait_for(lambda: self.run("scontrol", "ping").returncode == 0, "slurmctld")

    def cancel_all(self) -> list[str]:
        """Cancel all jobs and wait for their end; SIGKILL what they left behind, and return its command lines."""
        for name in self.nodes:
            if name not in self._daemons or not is_alive(self._daemons[name].process):
                self.start_node(name)
        self.call("scancel", "--user", self.account.pw_name)
        self._wait_for(lambda: not self.call("squeue", "--noheader"), "the jobs' end")
        with suppress(AssertionError):
            wait_until(lambda: not list(self._job_processes()), 5)
        left = [(one, " ".join(one.cmdline())) for one in self._job_processes()]
        for one, _ in left:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        return [line for _, line in left]

    def log(self, lines: int = 15) -> str:
        """Return the last lines of each log, for the message of an assertion."""
        paths = [
            self.folder / "log" / name for name in ("munged.out", "slurmctld.log", *(f"{n}.log" for n in self.nodes))
        ]
        paths = [path for path in paths if path.exists()]
        tails = [(path.name, path.read_text(errors="replace").splitlines()[-lines:]) for path in paths]
        return "".join(f"\n--- {name}\n" + "\n".join(tail) for name, tail in tails)

    def _wait_for(self, condition: Callable[[], object], what: str) -> None:
        try:
            wait_until(condition, CALL_S)
        except AssertionError as error:
            raise AssertionError(f"{error} for {what}{self.log()}") from None

    def _job_processes(self) -> Iterator[psutil.Process]:
        for name in self.nodes:
            if name in self._daemons:
                yield from self._daemons[name].others

    def _start(self, name: str, *argv: str | Path) -> None:
        words = self._on(name, [*self._as_runner(), *map(str, argv)])
        self._daemons[name] = Daemon(words, self.environ, self.folder / "log" / f"{name}.out")
        self._daemons[name].start()

    def _on(self, name: str | None, words: list[str], cwd: Path | None = None) -> list[str]:
        """Return the line that runs WORDS on the host of node NAME, or of the controller, in CWD."""
        if self.hosts is None:
            return words
        found = [host for host in self.hosts.hosts if host.name == name]
        return (found or self.hosts.hosts)[0].argv(words, cwd)

    def _as_runner(self) -> list[str]:
        if self.guest:
            stay = [sys.executable, "-I", "-S", str(TESTS / "as-user"), "--stay-root", str(self.account.pw_uid)]
            return [*stay, *map(str, self.reached), "--", "setpriv", "--pdeathsig", "KILL"]
        return [*self._as_user(), "--pdeathsig", "KILL"]

    def _as_user(self) -> list[str]:
        name = self.guest or self.user
        return be(name) if name else ["setpriv"]

    def _make_folders(self) -> None:
        names = ["", "etc", "run", "log", "state", "home", "tmp"]
        names += [f"{kind}.{name}" for kind in ("spool", "tmp") for name in self.nodes]
        for name in names:
            (self.folder / name).mkdir(exist_ok=True)
            (self.folder / name).chmod(0o755)
            self._give(name)

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        self._give(name)

    def _give(self, name: str) -> None:
        whose = (name in _GUESTS and self.guest) or self.user
        if whose:
            shutil.chown(self.folder / name, whose, pwd.getpwnam(whose).pw_gid)

    def _munge_options(self) -> list[str]:
        run = self.folder / "run"
        files = {"key": self.folder / "etc/munge.key", "pid": run / "munge.pid", "seed": run / "munge.seed"}
        files["log"] = self.folder / "log/munged.log"
        # by force, as a private folder above is no reason for it not to start
        return [
            "--force",
            *(f"--{kind}-file={path}" for kind, path in files.items()),
            f"--socket={run / 'munge.socket'}",
        ]

    def _configuration(self) -> str:
        settings = {key: value for key, value in {**self._settings(), **self.options}.items() if value}
        lines = [f"{key}={value}" for key, value in settings.items()]
        for number, name in enumerate(self.nodes):
            host, address = (name, self.hosts[number].address) if self.hosts else (_host(), "127.0.0.1")
            here = f"NodeHostname={host} NodeAddr={address} CPUs=16 RealMemory=4000"
            lines.append(f"NodeName={name} {here} Port={self._port + 10 + number}")
        lines += [f"PartitionName={name} Nodes=ALL {text}" for name, text in self.partitions.items()]
        return "\n".join(lines) + "\n"

    def _settings(self) -> dict[str, str]:
        folder = self.folder
        runner = pwd.getpwnam(self.user) if self.user else pwd.getpwuid(os.geteuid())
        controller = f"{self.hosts[0].name}({self.hosts[0].address})" if self.hosts else f"{_host()}(127.0.0.1)"
        is_tracked = runner.pw_uid == 0 and Path("/sys/fs/cgroup/freezer").is_dir()
        return {
            "ClusterName": "test",
            "SlurmctldHost": controller,
            "SlurmctldPort": f"{self._port}",
            "SlurmdPort": f"{self._port + 1}",
            "SlurmUser": runner.pw_name,
            "SlurmdUser": runner.pw_name,
            "AuthType": "auth/munge",
            # a job that was requeued is not started again before its old credential has expired
            "AuthInfo": f"socket={folder}/run/munge.socket,cred_expire=5",
            "CredType": "cred/munge",
            "StateSaveLocation": f"{folder}/state",
            "SlurmdSpoolDir": f"{folder}/spool.%n",
            "TmpFS": f"{folder}/tmp.%n",
            "SlurmctldPidFile": f"{folder}/run/slurmctld.pid",
            "SlurmdPidFile": f"{folder}/run/%n.pid",
            "SlurmctldLogFile": f"{folder}/log/slurmctld.log",
            "SlurmdLogFile": f"{folder}/log/%n.log",
            # only control groups keep hold of processes whose parents have died; they need root
            "ProctrackType": "proctrack/cgroup" if is_tracked else "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "JobAcctGatherType": "jobacct_gather/none",
            "AccountingStorageType": "accounting_storage/none",
            "JobCompType": "jobcomp/none",
            "MpiDefault": "none",
            "SwitchType": "switch/none",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_Core",
            "SchedulerType": "sched/backfill",
            "SchedulerParameters": "batch_sched_delay=0,bf_interval=1,sched_interval=1,sched_min_interval=0,"
            "bf_min_age_reserve=0",
            # a dead slurmd is not noticed by the clock, which a busy machine would be too slow for: see mark_down
            "SlurmdTimeout": "300",
            "ReturnToService": "2",
            "JobRequeue": "1",
            "KillWait": "2",
            "OverTimeLimit": "0",
            # without accounting, exit statuses are known for so long
            "MinJobAge": "300",
            "MessageTimeout": "10",
            "PreemptType": "preempt/partition_prio",
            "PreemptMode": "REQUEUE",
            "PreemptExemptTime": "0",
            "SlurmdParameters": "config_overrides",
        }


def parse(record: str) -> dict[str, str]:
    """Return the fields of a record of ``scontrol show``; some take the rest of their line, spaces and all."""
    fields = {}
    for line in record.splitlines():
        matches = list(_KEY.finditer(line))
        for number, match in enumerate(matches):
            if match[1] in _REST_OF_LINE:
                fields[match[1]] = line[match.end() :]
                break
            end = matches[number + 1].start() if number + 1 < len(matches) else len(line)
            fields[match[1]] = line[match.end() : end].strip()
    return fields


def why_not() -> str:
    """Return why there can be no cluster here; an empty text if there can."""
    path = os.environ["PATH"] + ":" + ":".join(_SYSTEM_FOLDERS)
    missing = [name for name in (*DAEMONS, "sbatch", "setpriv") if not shutil.which(name, path=path)]
    return f"not installed: {', '.join(missing)}" if missing else ""


def why_not_as(user: str) -> str:
    """Return why USER cannot run what these tests do; an empty text if they can."""
    if os.geteuid() != 0:
        return "only root can be another user"
    # a shell between, as setpriv itself may still look into private folders
    command = [*be(user), "sh", "-c", 'exec "$@"', "sh", RUN, "--help"]
    done = subprocess.run(command, capture_output=True, timeout=CALL_S, check=False, cwd="/")
    return "" if done.returncode == 0 else f"{user} cannot run {RUN}"


def be(user: str) -> list[str]:
    """Return what makes root run the rest of a line as USER, who sees this Python even below a private folder."""
    prefix = ["setpriv", "--reuid", user, "--regid", str(pwd.getpwnam(user).pw_gid), "--clear-groups"]
    python = Path(sys.base_prefix)
    private = [path for path in python.parents if not path.stat().st_mode & stat.S_IXOTH]
    return [*_UNCOVER, str(python), str(private[-1]), *prefix] if private else prefix


def _hold_ports() -> tuple[list[socket.socket], int]:
    """Take a block of ports that nobody listens on: its name is held as long as the cluster lives."""
    for base in _PORTS:
        holder = socket.socket(socket.AF_UNIX)
        try:
            holder.bind(f"\0dmtcp-py-tests-{base}")
            if all(_is_free(port) for port in range(base, base + _PORTS.step)):
                return [holder], base
        except OSError:
            pass
        holder.close()
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("", port))
        except OSError:
            return False
        return True


def _host() -> str:
    return socket.gethostname().partition(".")[0]
