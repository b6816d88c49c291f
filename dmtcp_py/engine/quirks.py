"""Settings that some programs need under an engine, and that are harmless to all others.

Nobody knows what a program loads before it runs, so a setting applies to every program of its engine, unless the caller
has set the variable already. Each entry names the versions for which it was found to be necessary. A value may name the
job's own folder, which has the same path in every attempt and is empty when an attempt starts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.native import built

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


_FOLDER = "{folder}"
_TASKS = "{tasks}"
_TASK_VARIABLES = ("SLURM_TASKS_PER_NODE", "NSLOTS", "PBS_NP")
"""The variables in which schedulers give the number of MPI processes on the first node."""
_ELSEWHERE = (
    "has the scheduler start its processes, outside the engine, if the scheduler's name for the node is not the host's"
)
_FILES = "changes that a program makes to files by name survive a crash, and a resumed program would make them again"
_NOT_SRUN = "processes that srun starts do not run under DMTCP"
_ONLY_TCP = "DMTCP can checkpoint TCP connections, and those of no other network"
_SAME_PID = "mpirun, whose pid is the same in every job under DMTCP, derives from it the name of its"
_JOB_VARIABLES = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")


class Quirk(Struct, frozen=True):
    """One setting: an environment VARIABLE and its VALUE, or a PLUGIN of this package to load into the program."""

    engine: str
    reason: str
    holds_for: str
    """The versions of the engine and of the library for which it was found to be necessary."""
    variable: str = ""
    value: str = ""
    plugin: str = ""
    several_nodes: bool | None = None
    """True: only for computations on several nodes; False: only for those on one node; None: for all."""
    in_batch_job: bool = False
    """Whether it is needed in a batch job only."""

    @property
    def setting(self) -> str:
        """The setting as it is printed."""
        return f"{self.variable}={self.value}" if self.variable else f"plugin {self.plugin}"

    def value_in(self, folder: Path | None, environ: Mapping[str, str]) -> str | None:
        """Return the value for a job whose own folder is FOLDER; None if it needs something that is missing."""
        if _TASKS in self.value:
            return _tasks(environ)
        if _FOLDER not in self.value:
            return self.value
        return None if folder is None else self.value.replace(_FOLDER, str(folder))


QUIRKS = (
    Quirk(
        "dmtcp",
        "libraries that start threads when they are loaded, such as OpenBLAS, do so before DMTCP can record them",
        "DMTCP 3.2, 4.2, 5.0 with OpenBLAS 0.3, R 4.2, Octave 7.3",
        plugin="first",
    ),
    Quirk(
        "dmtcp",
        "OpenBLAS joins its threads in fork(), and DMTCP's lock blocks them; Python's subprocess closes DMTCP's files",
        "DMTCP 3.2, 4.2, 5.0 with OpenBLAS 0.3 (fork); 3.2 (descriptors)",
        plugin="forks",
    ),
    Quirk(
        "dmtcp",
        "DMTCP suspends threads with SIGUSR2, which programs use too; the plugin gives it another signal",
        "DMTCP 3.2, 4.2, 5.0",
        plugin="signals",
    ),
    Quirk(
        "dmtcp",
        "DMTCP makes sockets of pipes, which have no names and hold another amount, and unshares anonymous memory",
        "DMTCP 3.2, 4.2, 5.0",
        plugin="shared",
    ),
    Quirk(
        "dmtcp",
        "mpirun's processes print to pseudo-terminals that DMTCP does not see; after a restart that would go elsewhere",
        "DMTCP 3.2, 4.2, 5.0 with Open MPI 4.1",
        plugin="openmpi",
    ),
    Quirk(
        "dmtcp",
        "after an exec DMTCP warns on the program's stderr; if that is a pipe, a checkpoint can kill the program",
        "DMTCP 5.0",
        plugin="messages",
    ),
    Quirk(
        "dmtcp",
        _FILES,
        "DMTCP 3.2, 4.2, 5.0",
        plugin="files",
        several_nodes=False,
    ),
    Quirk(
        "dmtcp",
        "DMTCP forgets interval timers, priorities, limits, queued signals and more; the plugin restores them",
        "DMTCP 3.2, 4.2, 5.0",
        plugin="state",
    ),
    Quirk("criu", _FILES, "CRIU 4.1, 4.2", plugin="files"),
    Quirk(
        "criu",
        "libuv (torchrun) uses io_uring, which CRIU cannot checkpoint; without io_uring it falls back to other calls",
        "CRIU 4.1, 4.2 with PyTorch 2.13",
        plugin="uring",
    ),
    Quirk(
        "dmtcp",
        "hwloc, which MPI, GROMACS and LAMMPS load, keeps a directory of devices open, which DMTCP cannot checkpoint",
        "DMTCP 3.2, 4.2, 5.0 with hwloc 2.9",
        variable="HWLOC_COMPONENTS",
        value="-linux:io",
    ),
    Quirk(
        "dmtcp",
        "an MPI program started without mpirun would start a daemon that DMTCP cannot restart",
        "DMTCP 5.0 with OpenMPI 4.1",
        variable="OMPI_MCA_ess_singleton_isolated",
        value="1",
    ),
    *(
        Quirk("dmtcp", reason, "DMTCP 3.2, 4.2, 5.0 with Open MPI 4.1", variable=variable, value=_FOLDER)
        for variable, reason in (
            ("OMPI_MCA_orte_tmpdir_base", f"{_SAME_PID} temporary folder"),
            ("OMPI_MCA_btl_vader_backing_directory", f"{_SAME_PID} shared memory"),
        )
    ),
    Quirk(
        "dmtcp",
        "mpirun's shared file with the machine's topology is not in the images",
        "DMTCP 3.2, 4.2, 5.0 with Open MPI 4.1",
        variable="OMPI_MCA_rtc_hwloc_vmhole",
        value="none",
    ),
    Quirk(
        "dmtcp",
        "UCX, which MPICH uses, hooks mmap() while the loader is locked, and deadlocks with DMTCP",
        "DMTCP 3.2, 4.2, 5.0 with UCX 1.13",
        variable="UCX_MEM_MMAP_HOOK_MODE",
        value="none",
    ),
    Quirk(
        "dmtcp",
        "UCX queries System V shared memory by an identifier that DMTCP does not know",
        "DMTCP 3.2, 4.2, 5.0 with UCX 1.13",
        variable="UCX_TLS",
        value="tcp,self",
    ),
    *(
        Quirk(
            engine=engine,
            reason=reason,
            holds_for=holds_for,
            variable=variable,
            value=value,
            several_nodes=False,
            in_batch_job=engine == "criu",
        )
        for engine in ("dmtcp", "criu")
        for variable, value, reason, holds_for in (
            (
                "OMPI_MCA_ras",
                "^slurm,tm,lsf,gridengine,alps",
                f"mpirun {_ELSEWHERE}",
                "Open MPI 4.1 with Slurm 22.05",
            ),
            (
                "OMPI_MCA_orte_set_default_slots",
                _TASKS,
                "the number of processes that mpirun would have read from the scheduler",
                "Open MPI 4.1",
            ),
            ("HYDRA_LAUNCHER", "fork", f"mpiexec {_ELSEWHERE}", "MPICH 4.0 with Slurm 22.05"),
        )
    ),
    Quirk(
        "dmtcp",
        "the restart of a TCP connection hangs if megabytes are in flight both ways, or if it is between nodes",
        "DMTCP 3.2, 4.2, 5.0",
        plugin="hosts",
    ),
    *(
        Quirk("dmtcp", reason, "Open MPI 4, MPICH 4", variable=variable, value=value, several_nodes=True)
        for variable, value, reason in (
            ("OMPI_MCA_plm", "rsh", _NOT_SRUN),
            ("OMPI_MCA_plm_rsh_agent", "dmtcp-run-rsh", _NOT_SRUN),
            ("OMPI_MCA_plm_rsh_no_tree_spawn", "1", "mpirun has to start the daemons of all nodes from the first one"),
            ("HYDRA_LAUNCHER", "rsh", _NOT_SRUN),
            ("HYDRA_LAUNCHER_EXEC", "dmtcp-run-rsh", _NOT_SRUN),
            ("OMPI_MCA_pml", "ob1", _ONLY_TCP),
            ("OMPI_MCA_btl", "tcp,self", _ONLY_TCP),
            ("OMPI_MCA_hwloc_base_binding_policy", "none", "the nodes of the next attempt may have other processors"),
        )
    ),
)


class Applied(Struct, frozen=True):
    """The quirks of one launch: the environment that includes them, the PLUGINS to load, and a NOTE for each."""

    environ: dict[str, str]
    plugins: tuple[Path, ...]
    folders: tuple[Path, ...]
    """The job's own folder, if a setting names it."""
    notes: tuple[str, ...]


def apply(
    engine: str, environ: Mapping[str, str], *, several_nodes: bool = False, folder: Path | None = None
) -> Applied:
    """Return the quirks of ENGINE with ENVIRON, in which variables that are set already stay as they are.

    FOLDER is the job's own folder, if it can have one.
    """
    with_quirks, plugins, notes = dict(environ), [], []
    folders: set[Path] = set()
    for quirk in QUIRKS:
        if quirk.engine != engine or quirk.variable in with_quirks or quirk.several_nodes is (not several_nodes):
            continue
        if quirk.in_batch_job and not any(environ.get(name) for name in _JOB_VARIABLES):
            continue
        if quirk.plugin:
            path = built(quirk.plugin)
            if path is None:
                continue
            plugins.append(path)
            notes.append(f"plugin {quirk.plugin}: {quirk.reason}")
        elif (value := quirk.value_in(folder, environ)) is not None:
            with_quirks[quirk.variable] = value
            notes.append(f"{quirk.variable}={value}: {quirk.reason}")
            if folder is not None and _FOLDER in quirk.value:
                folders.add(folder)
    return Applied(environ=with_quirks, plugins=tuple(plugins), folders=tuple(folders), notes=tuple(notes))


def _tasks(environ: Mapping[str, str]) -> str | None:
    """Return how many processes the scheduler wants on this node, which is the 2 in Slurm's ``2(x3),1``."""
    value = next((environ[name] for name in _TASK_VARIABLES if name in environ), "")
    found = re.match(r"\d+", value)
    return found[0] if found else None
