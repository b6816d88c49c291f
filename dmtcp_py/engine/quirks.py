"""What makes programs work that otherwise would not: a table of settings, each harmless to all others.

What a program loads cannot be known before it runs, so a setting is given to every program of the engine, and only
where the caller has not set it. Each names the versions that it was seen to be needed for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmtcp_py.native import built

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


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
    several_nodes: bool = False
    """Whether only computations over several nodes get it."""

    @property
    def setting(self) -> str:
        """The setting as people read it."""
        return f"{self.variable}={self.value}" if self.variable else f"plugin {self.plugin}"


QUIRKS = (
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
        "DMTCP's warnings after an exec go to the program's standard error, and kill it where that is a pipe of its own",
        "DMTCP 5.0",
        plugin="messages",
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
    Quirk(
        "dmtcp",
        "connections between nodes are drained and found again",
        "DMTCP 3.2, 4.2, 5.0",
        plugin="hosts",
        several_nodes=True,
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
            ("OMPI_MCA_btl_tcp_sndbuf", "32768", "much data on its way may hang a restart"),
            ("OMPI_MCA_btl_tcp_rcvbuf", "32768", "as above"),
            ("OMPI_MCA_hwloc_base_binding_policy", "none", "the processors of the next nodes may be others"),
        )
    ),
)


@dataclass(frozen=True)
class Applied:
    """The quirks of one launch: the ENVIRONMENT with them, the PLUGINS to load, and a line for each."""

    environ: dict[str, str]
    plugins: tuple[Path, ...]
    notes: tuple[str, ...]


def apply(engine: str, environ: Mapping[str, str], *, several_nodes: bool = False) -> Applied:
    """Return what to launch a program of ENGINE with, in place of ENVIRON; what the caller has set stays."""
    with_quirks, plugins, notes = dict(environ), [], []
    for quirk in QUIRKS:
        if quirk.engine != engine or quirk.variable in with_quirks or (quirk.several_nodes and not several_nodes):
            continue
        if quirk.plugin:
            path = built(quirk.plugin)
            if path is None:
                continue
            plugins.append(path)
        else:
            with_quirks[quirk.variable] = quirk.value
        notes.append(f"{quirk.setting}: {quirk.reason}")
    return Applied(with_quirks, tuple(plugins), tuple(notes))
