"""MANA as an engine of dmtcp-run, for MPI programs: dmtcp-run --engine-plugin mana_engine:ManaEngine \\
     mpirun -np 4 mana_launch ./model

Every rank runs under MANA, and mpirun does not: each attempt has an mpirun of its own. MANA_ROOT is the directory in
which MANA was built. The output of the ranks goes to dmtcp-run's own streams. --stdin, --stdout and --stderr are
refused: an image contains only files that the program itself opened.
"""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

from dmtcp_py.engine.protocol import EndKind, ProgramEnd
from dmtcp_py.engine.dmtcp.coordinator import Coordinator
from dmtcp_py.engine.dmtcp.installation import Installation, clean
from dmtcp_py.errors import CheckpointFailedError, EngineError, RestartFailedError
from dmtcp_py.system.files import make_private_dir, remove_tree
from dmtcp_py.system.timeout import Timeout
from dmtcp_py.system.child import Child, Guard
from dmtcp_py.system.reaping import LEFTOVER_GRACE_S, end_descendants, end_group
from dmtcp_py.store.staged import stage

MARK = "mana_launch"
TYPE = "type mpirun -np N mana_launch PROGRAM ARGS"
MISSING = b"_Z17MPI_Test_internalPiS_P10MPI_Statusb"
"""A symbol that libmana.so of 1.3.0 and 1.4.0, as released, needs and that nothing defines."""
LAUNCHER = "mana_launcher"
RESTART_S = 120.0
READY_S = 60.0
STOP_S = 60.0
LOOK_S = 0.25


class ManaEngine:
    """MANA, as it was built in one directory."""

    name = "mana"

    def __init__(self, root: Path) -> None:
        self._root = root

    @classmethod
    def find(cls):
        root = os.environ.get("MANA_ROOT")
        if root is None or not (Path(root) / "bin/lower-half").is_file():
            raise EngineError(f"there is no MANA in MANA_ROOT ({root or 'not set'})", "export MANA_ROOT=DIRECTORY")
        if MISSING in (Path(root) / "lib/dmtcp/libmana.so").read_bytes():
            raise EngineError(
                f"the MANA in {root} dies at a checkpoint if the program waits for a message (an undefined symbol)",
                "change the declaration that docs/mana.md names, and build MANA again",
            )
        return cls(Path(root).absolute())

    def version(self):
        return (self._root / "VERSION").read_text().strip()

    def refusal(self, program):
        return None if program.name.startswith(("mpirun", "mpiexec", "srun")) else f"it runs MPI programs: {TYPE}"

    def refusal_of_nodes(self):
        return "this plug-in was tested on one node only; use --nodes 1"

    def doubt(self, program):
        return None

    def launch(self, launch):
        _refuse_files(launch.stdio)
        if MARK not in launch.command:
            raise EngineError(f"no {MARK} in the command, which marks the program", TYPE)
        at = launch.command.index(MARK)
        launcher, (program, *words) = launch.command[:at], launch.command[at + 1 :] or ("",)
        path = shutil.which(program)
        if path is None:
            raise EngineError(f"{program or 'the program'} is not found", TYPE)
        place = _Place(self._root, launch)
        tool = [place.tool("dmtcp_launch"), "--kernel-loader", "--no-gzip", "--disable-dl-plugin", "--join-coordinator"]
        plugin = ["--with-plugin", str(self._root / "lib/dmtcp/libmana.so")]
        images = ["--ckptdir", str(launch.staging)]
        half = [place.tool("lower-half"), str(Path(path).absolute()), *words]
        return place.run(launcher, [*tool, *plugin, *images, *place.coordinator.address, "-q", "-q", *half])

    def restart(self, restart):
        made_by = restart.manifest.engine_version
        if made_by != self.version():
            raise EngineError(f"the images were made by MANA {made_by}, and this is {self.version()}")
        _refuse_files(restart.stdio)
        place = _Place(self._root, restart)
        # MANA replaces --restartdir with the path of an image, so it must be the last option
        images = ["--ckptdir", str(restart.staging), "--restartdir", str(restart.folder.absolute())]
        half = [place.tool("lower-half"), "-j", "--restore", *place.coordinator.address, "-q", "-q", *images]
        computation = place.run(restart.manifest.engine_data[LAUNCHER].split("\n"), half)
        try:
            if _await_ranks(computation, restart):
                return computation
        except BaseException:
            computation.kill()
            computation.close()
            raise
        computation.kill()
        computation.close()
        return None


def _await_ranks(computation, restart):
    """Wait until all ranks run; return whether they do: False if the wait was cancelled."""
    patience = Timeout(RESTART_S + restart.manifest.size / 20e6)
    while not computation.is_running(restart.manifest.processes):
        end = computation.poll()
        if end is not None:
            raise RestartFailedError(f"MANA's restart failed: {end}")
        if patience.is_over():
            raise RestartFailedError("MANA's restart failed: not all ranks came up in time")
        if restart.is_cancelled():
            return False
        computation.rest()
    return True


class _Place:
    """The coordinator, guard and directories of one computation."""

    def __init__(self, root, order):
        self.root, self.folder, self.staging = root, order.temporary, order.staging
        self.environ = clean(order.environ)
        # UCX's hook on mmap() crashes with MANA's two copies of libmpich
        self.environ.setdefault("UCX_MEM_MMAP_HOOK_MODE", "none")
        self.guard = Guard(self.folder, self.environ)
        try:
            self.coordinator = Coordinator(Installation(root / "bin"), self.environ, self.folder, self.staging)
        except BaseException:
            self.guard.dismiss()
            raise

    def tool(self, name):
        return str(self.root / "bin" / name)

    def run(self, launcher, rank):
        environ = {**self.environ, "DMTCP_TMPDIR": str(self.folder), "JALIB_STDERR_PATH": f"{self.folder}/messages"}
        try:
            root = Child([*launcher, *rank], env=environ, own_session=True)
        except BaseException:
            self.close()
            raise
        self.guard.watch(root.pid)
        return ManaComputation(self, root, launcher)

    def close(self):
        self.coordinator.stop()
        self.guard.dismiss()
        remove_tree(self.folder)


class ManaComputation:
    """The ranks, below an mpirun that is not under MANA."""

    def __init__(self, place, root, launcher):
        self._place, self._root, self._launcher = place, root, launcher
        self._coordinator = place.coordinator
        self._killed = None
        self._is_in_checkpoint = False
        self.pid, self.temporary = root.pid, place.folder

    def known_pids(self):
        return [self.pid, self._coordinator.pid, self._place.guard.pid]

    def is_running(self, ranks):
        with suppress(EngineError):
            status = self._coordinator.status()
            return status.is_running and status.peers == ranks
        return False

    def rest(self):
        self._coordinator.wait_for(lambda told: False, LOOK_S)

    def poll(self):
        ending = self._root.poll()
        if self._is_in_checkpoint:
            # the checkpoint decides what an end during it means
            return None
        if ending is None:
            if not self._coordinator.is_alive() and self._killed is None:
                self._killed = "its coordinator died"
                self.kill()
            return None
        if self._killed is not None:
            return ProgramEnd(EndKind.ENGINE_FAILED, detail=self._killed)
        if self._coordinator.log_state.kill_command is not None:
            return ProgramEnd(EndKind.KILLED_BY_COMMAND, detail=self._coordinator.log_state.kill_command)
        if ending.signum is not None:
            return ProgramEnd(EndKind.SIGNALLED, signum=ending.signum)
        return ProgramEnd(EndKind.EXITED, status=ending.status or 0)

    def checkpoint(self, *, then_stop, timeout_s):
        self._is_in_checkpoint = True
        try:
            return self._checkpoint(then_stop=then_stop, timeout_s=timeout_s)
        except CheckpointFailedError:
            ending = self._root.poll()
            if ending is not None and ending.shell_status:
                # mpirun does not say whether the program or MANA ended a rank: the job resumes from the last generation
                self._killed = self._killed or f"mpirun ended with status {ending.shell_status} in a checkpoint"
            raise
        finally:
            self._is_in_checkpoint = False

    def _checkpoint(self, *, then_stop, timeout_s):
        ranks = self._ranks()
        remove_tree(self._place.staging)
        make_private_dir(self._place.staging)
        complete, begun = (
            self._coordinator.log_state.checkpoints_complete,
            self._coordinator.log_state.checkpoints_begun,
        )
        self._coordinator.command("--kcheckpoint" if then_stop else "--checkpoint")
        # if the ranks are killed at once, the log may not report the checkpoint as complete; the images show it
        self._await(lambda: self._coordinator.log_state.checkpoints_complete > complete, timeout_s, may_end=then_stop)
        if self._coordinator.log_state.checkpoints_begun == begun:
            raise CheckpointFailedError("the ranks ended before it", program_lives=False)
        if then_stop and self._root.wait(STOP_S) is None:
            self._fail("its ranks did not end after the last checkpoint")
        images = sorted(str(path.relative_to(self._place.staging)) for path in self._place.staging.glob("*/*.dmtcp"))
        if len(images) != ranks or list(self._place.staging.rglob("*.temp")):
            raise CheckpointFailedError(f"{len(images)} images of {ranks} ranks", program_lives=not then_stop)
        for path in self._place.staging.glob("dmtcp_restart_script*"):
            path.unlink()
        staged = stage(self._place.staging, images, ranks)
        staged.engine_data[LAUNCHER] = "\n".join(self._launcher)
        return staged

    def _ranks(self):
        patience = Timeout(READY_S)
        while self._root.poll() is None and not patience.is_over():
            with suppress(EngineError):
                status = self._coordinator.status()
                if status.is_running and status.peers:
                    return status.peers
            self.rest()
        raise CheckpointFailedError("the ranks are not under MANA", program_lives=self._root.poll() is None)

    def _await(self, is_done, timeout_s, *, may_end):
        patience, size = Timeout(timeout_s), -1
        while not self._coordinator.wait_for(lambda told: is_done(), LOOK_S):
            if self._root.poll() is not None:
                if self._coordinator.wait_for(lambda told: is_done(), LOOK_S) or may_end:
                    return
                raise CheckpointFailedError("the ranks ended in it", program_lives=False)
            written = sum(path.stat().st_size for path in self._place.staging.glob("*/*.dmtcp*") if path.exists())
            if written != size:
                size = written
                patience.renew()
            if patience.is_over():
                self._fail(f"a checkpoint hung: nothing was written for {timeout_s:.0f} s")

    def _fail(self, why):
        self._killed = why
        self.kill()
        raise CheckpointFailedError(why, program_lives=False)

    def signal(self, signum):
        self._root.signal_group(signum)

    def kill(self):
        self._root.signal_group(signal.SIGKILL)

    def close(self):
        had_to = end_group(self.pid, grace_s=LEFTOVER_GRACE_S)
        self._place.close()
        end_descendants()
        return had_to


def _refuse_files(stdio):
    if any(stdio.paths):
        raise EngineError("mpirun is not in MANA's images, and files of standard streams would not be exact", "use >>")
