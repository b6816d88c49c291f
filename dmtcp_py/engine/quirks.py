"""What makes programs work that otherwise would not: a table of settings, each harmless to all others.

What a program loads cannot be known before it runs, so a setting is given to every program of the engine, and only
where the caller has not set it. Each names the versions that it was seen to be needed for. A value may name the job's
own folder, which has the same path in every attempt and is empty when one begins.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmtcp_py.native import built

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


_FOLDER = "{folder}"
_TASKS = "{tasks}"
_TOLD_TASKS = ("SLURM_TASKS_PER_NODE", "NSLOTS", "PBS_NP")
"""Where schedulers say how many processes an MPI job has on its first node."""


@dataclass(frozen=True)
class Quirk:
    """One setting: an environment VARIABLE and its VALUE, or a PLUGIN of ours that is loaded into the program."""

    engine: str
    reason: str
    holds_for: str
    """The versions of engine and library that it was seen with."""
    variable: str = ""
    value: str = ""
    plugin: str = ""
    several_nodes: bool | None = None
    """Whether only computations over several nodes get it, or those on one alone; None for all."""

    @property
    def setting(self) -> str:
        """The setting as people read it."""
        return f"{self.variable}={self.value}" if self.variable else f"plugin {self.plugin}"

    def value_in(self, folder: Path | None, environ: Mapping[str, str]) -> str | None:
        """Return the value for a job with this own folder; None where it wants what there is not."""
        if _TASKS in self.value:
            return _tasks(environ)
        if _FOLDER not in self.value:
            return self.value
        return None if folder is None else self.value.replace(_FOLDER, str(folder))


QUIRKS = (
    Quirk(
        "dmtcp",
        "libraries that start threads when they are loaded, such as OpenBLAS, do so before DMTCP knows of threads",
        "DMTCP 3.2, 4.2, 5.0 with OpenBLAS 0.3, R 4.2, Octave 7.3",
        plugin="first",
    ),
    Quirk(
        "dmtcp",
        "OpenBLAS joins its threads in fork(), which DMTCP's lock forbids; Python's subprocess closes DMTCP's files",
        "DMTCP 3.2, 4.2, 5.0 with OpenBLAS 0.3 (fork); 3.2 (descriptors)",
        plugin="forks",
    ),
    Quirk(
        "dmtcp",
        "mpirun gives its processes pseudo-terminals that DMTCP does not see, and what they print would go elsewhere",
        "DMTCP 3.2, 4.2, 5.0 with Open MPI 4.1",
        plugin="openmpi",
    ),
    Quirk(
        "dmtcp",
        "after an exec DMTCP warns on the program's standard error, and dies of it where that is a pipe of its own",
        "DMTCP 5.0",
        plugin="messages",
    ),
    Quirk(
        "dmtcp",
        "what is done to files by their names after a checkpoint stays after a crash, and would be done twice",
        "DMTCP 3.2, 4.2, 5.0",
        plugin="files",
        several_nodes=False,
    ),
    Quirk("criu", "the same", "CRIU 4.1, 4.2", plugin="files"),
    Quirk(
        "criu",
        "libuv (torchrun) makes rings of io_uring, which CRIU cannot take, and does without where it gets none",
        "CRIU 4.1, 4.2 with PyTorch 2.13",
        plugin="uring",
    ),
    Quirk(
        "dmtcp",
        "hwloc, which MPI, GROMACS and LAMMPS load, keeps a directory of devices open that DMTCP cannot take",
        "DMTCP 3.2, 4.2, 5.0 with hwloc 2.9",
        variable="HWLOC_COMPONENTS",
        value="-linux:io",
    ),
    Quirk(
        "dmtcp",
        "an MPI program started without mpirun would start a daemon that DMTCP cannot bring up again",
        "DMTCP 5.0 with OpenMPI 4.1",
        variable="OMPI_MCA_ess_singleton_isolated",
        value="1",
    ),
    *(
        Quirk("dmtcp", reason, "DMTCP 3.2, 4.2, 5.0 with Open MPI 4.1", variable=variable, value=_FOLDER)
        for variable, reason in (
            ("OMPI_MCA_orte_tmpdir_base", "each mpirun has the same pid under DMTCP, and from it its folder's name"),
            ("OMPI_MCA_btl_vader_backing_directory", "as above, the name of its shared memory"),
        )
    ),
    Quirk(
        "dmtcp",
        "mpirun's file of the machine's topology is not in the images",
        "DMTCP 3.2, 4.2, 5.0 with Open MPI 4.1",
        variable="OMPI_MCA_rtc_hwloc_vmhole",
        value="none",
    ),
    Quirk(
        "dmtcp",
        "UCX, which MPICH uses, looks for mmap() with the loader locked, as DMTCP does",
        "DMTCP 3.2, 4.2, 5.0 with UCX 1.13",
        variable="UCX_MEM_MMAP_HOOK_MODE",
        value="none",
    ),
    Quirk(
        "dmtcp",
        "UCX asks for what System V shared memory there is, by an identifier that DMTCP does not know",
        "DMTCP 3.2, 4.2, 5.0 with UCX 1.13",
        variable="UCX_TLS",
        value="tcp,self",
    ),
    *(
        Quirk("dmtcp", reason, holds_for, variable=variable, value=value, several_nodes=False)
        for variable, value, reason, holds_for in (
            (
                "OMPI_MCA_ras",
                "^slurm,tm,lsf,gridengine,alps",
                "where its node goes by another name than its host, mpirun has the scheduler start what it runs",
                "Open MPI 4.1 with Slurm 22.05",
            ),
            ("OMPI_MCA_orte_set_default_slots", _TASKS, "so many the scheduler would have told", "Open MPI 4.1"),
            ("HYDRA_LAUNCHER", "fork", "as above, of mpiexec", "MPICH 4.0 with Slurm 22.05"),
        )
    ),
    Quirk(
        "dmtcp",
        "where both ends of a connection have megabytes on their way, or it is between nodes, its restart hangs",
        "DMTCP 3.2, 4.2, 5.0",
        plugin="hosts",
    ),
    *(
        Quirk("dmtcp", reason, "Open MPI 4, MPICH 4", variable=variable, value=value, several_nodes=True)
        for variable, value, reason in (
            ("OMPI_MCA_plm", "rsh", "what srun starts is not in DMTCP's hands"),
            ("OMPI_MCA_plm_rsh_agent", "dmtcp-run-rsh", "as above"),
            ("OMPI_MCA_plm_rsh_no_tree_spawn", "1", "as above, from the first node"),
            ("HYDRA_LAUNCHER", "rsh", "as above"),
            ("HYDRA_LAUNCHER_EXEC", "dmtcp-run-rsh", "as above"),
            ("OMPI_MCA_pml", "ob1", "DMTCP takes TCP and no other network"),
            ("OMPI_MCA_btl", "tcp,self", "as above"),
            ("OMPI_MCA_hwloc_base_binding_policy", "none", "the processors of the next nodes may be others"),
        )
    ),
)


@dataclass(frozen=True)
class Applied:
    """The quirks of one launch: the ENVIRONMENT with them, the PLUGINS to load, and a line for each."""

    environ: dict[str, str]
    plugins: tuple[Path, ...]
    folders: tuple[Path, ...]
    """The own folder of the job, where a setting names it."""
    notes: tuple[str, ...]


def apply(
    engine: str, environ: Mapping[str, str], *, several_nodes: bool = False, folder: Path | None = None
) -> Applied:
    """Return what to launch a program of ENGINE with, in place of ENVIRON; what the caller has set stays.

    FOLDER is the job's own, where it can have one.
    """
    with_quirks, plugins, notes = dict(environ), [], []
    folders: set[Path] = set()
    for quirk in QUIRKS:
        if quirk.engine != engine or quirk.variable in with_quirks or quirk.several_nodes is (not several_nodes):
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
    return Applied(with_quirks, tuple(plugins), tuple(folders), tuple(notes))


def _tasks(environ: Mapping[str, str]) -> str | None:
    """Return how many processes the scheduler wants here: Slurm writes ``2(x3),1``."""
    told = next((environ[name] for name in _TOLD_TASKS if name in environ), "")
    found = re.match(r"\d+", told)
    return found[0] if found else None
