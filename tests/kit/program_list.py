"""The programs that tests kill and resume, and that the zoo measures."""

from __future__ import annotations

from kit.places import PROGRAM_FILES
from kit.programs import Program

FORKS, UNDO, PIPES = "plugin forks", "plugin files", "plugin openmpi"
HWLOC, SINGLETON = "HWLOC_COMPONENTS", "OMPI_MCA_ess_singleton_isolated"
UCX_HOOKS, UCX_TLS = "UCX_MEM_MMAP_HOOK_MODE", "UCX_TLS"
_AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def _example(name: str, group: str, target: str, *needs: str, **more: object) -> Program:
    return Program(
        name,
        group,
        ("{built}/" + target, "{steps}"),
        needs=("make", *needs),
        made_by=(("make", "-C", "{examples}", "BUILD={built}", "{built}/" + target),),
        **more,  # type: ignore[arg-type]
    )


def _python(
    name: str,
    group: str,
    file: str,
    *words: str,
    needs: tuple[str, ...] = (),
    environ: tuple[tuple[str, str], ...] = (),
    **more: object,
) -> Program:
    folder = "{programs}/" if (PROGRAM_FILES / file).exists() else "{examples}/"
    return Program(
        name,
        group,
        ("{python}", folder + file, *words, "{steps}"),
        needs=tuple(f"python:{module}" for module in needs),
        environ=(("PYTHONUNBUFFERED", "1"), *environ),
        **more,  # type: ignore[arg-type]
    )


def _c(name: str, group: str, file: str, *words: str, flags: tuple[str, ...] = (), **more: object) -> Program:
    built = "{built}/" + file.removesuffix(".c")
    return Program(
        name,
        group,
        (built, *words, "{steps}"),
        needs=("cc",),
        made_by=(("cc", "-O2", *flags, "-o", built, "{programs}/" + file),),
        **more,  # type: ignore[arg-type]
    )


def _go(name: str, with_c: str) -> Program:
    built = "{built}/go-cgo-" + with_c
    return Program(
        name,
        COMPILED,
        (built, "{steps}"),
        needs=("go", "cc"),
        made_by=(("sh", "{programs}/tally.sh", with_c, built),),
        quick=True,
    )


def _mpi(kind: str, name: str, *words: str, **more: object) -> Program:
    is_open = kind == "openmpi"
    return Program(
        name,
        "MPI, on one machine",
        (f"mpirun.{kind}", "-n", "2", *words),
        environ=tuple(_AS_ROOT.items()) if is_open else (),
        quirks=(HWLOC, PIPES) if is_open else (UCX_HOOKS, UCX_TLS),
        **more,  # type: ignore[arg-type]
    )


def _ring(kind: str, name: str) -> Program:
    built = "{built}/ring-" + kind
    return _mpi(
        kind,
        name,
        built,
        "{steps}",
        needs=(f"mpirun.{kind}", f"mpicc.{kind}"),
        made_by=((f"mpicc.{kind}", "-O2", "-o", built, "{examples}/ring.c"),),
    )


def _mdrun(name: str, steps: int, *threads: str) -> Program:
    return Program(
        name,
        SCIENCE,
        ("gmx", "-quiet", "mdrun", "-s", "{built}/water.tpr", *threads, "-reprod", "-nsteps", "{steps}00"),
        steps=steps,
        needs=("gmx", "make"),
        is_silent=True,
        made_by=(("make", "-C", "{examples}", "BUILD={built}", "{built}/water.tpr"),),
        # the log and stderr hold times; state.cpt the name of the host
        ignored=("md.log", "err.txt", "state.cpt"),
        quirks=(HWLOC,),
    )


COMPILED = "Compiled programs"
LANGUAGES = "Interpreters and virtual machines"
PYTHON = "Python"
LEARNING = "Machine learning, on the CPU"
SHELL = "Shell"
SCIENCE = "Simulation"
FILES = "Files"
SYSTEM = "Signals, timers and connections of their own"
_TORCH_NEEDS = ("torch", "numpy")
_SHORT_TMP = (("TMPDIR", "{folder}"),)
_LAMMPS = ("-var", "steps", "{steps}000", "-screen", "none", "-log", "none", "-in", "{programs}/melt.lammps")

PROGRAMS = (
    _example("C", COMPILED, "grow", "cc", is_silent=True, every_engine=70),
    _example("C++, a loop", COMPILED, "exercise", "c++", is_silent=True, every_engine=70),
    _example("C++, threads", COMPILED, "threads", "c++", is_silent=True, every_engine=70),
    _example("C, OpenMP", COMPILED, "openmp", "cc", is_silent=True, every_engine=70),
    _example("Fortran", COMPILED, "series", "gfortran", is_silent=True, every_engine=70),
    _c("C, statically linked", COMPILED, "static.c", flags=("-static",), quick=True),
    _go("Go, static", "0"),
    _go("Go with C (cgo)", "1"),
    Program(
        "Java",
        LANGUAGES,
        ("java", "-XX:-UsePerfData", "-cp", "{built}", "Steps", "{steps}"),
        needs=("java", "javac"),
        made_by=(("make", "-C", "{examples}", "BUILD={built}", "{built}/Steps.class"),),
        every_engine=70,
        note="`-XX:-UsePerfData`: without this option, two jobs under DMTCP share a file in `/tmp`.",
    ),
    Program("node.js", LANGUAGES, ("node", "{programs}/steps.js", "{steps}"), needs=("node",)),
    Program(
        "Perl", LANGUAGES, ("perl", "{examples}/sum.pl", "{steps}"), needs=("perl",), is_silent=True, every_engine=70
    ),
    Program(
        "R", LANGUAGES, ("Rscript", "{examples}/walk.R", "{steps}"), needs=("Rscript",), is_silent=True, every_engine=70
    ),
    Program(
        "R, parallel::mclapply",
        LANGUAGES,
        ("Rscript", "{programs}/mclapply.R", "{steps}"),
        needs=("Rscript",),
        is_silent=True,
        quirks=(FORKS,),
        steps=16,
    ),
    Program(
        "GNU Octave",
        LANGUAGES,
        ("octave-cli", "{examples}/iterate.m", "{steps}"),
        needs=("octave-cli",),
        is_silent=True,
        quirks=(FORKS, HWLOC),
        every_engine=70,
        note="In place of MATLAB, which was not run; DMTCP advises `matlab -nodisplay -nojvm`.",
    ),
    _python("CPython", PYTHON, "counter.py", every_engine=70),
    _python("threads, concurrent.futures", PYTHON, "threads.py"),
    _python("numpy, threaded BLAS", PYTHON, "blas.py", needs=("numpy",), every_engine=70),
    _python("scipy", PYTHON, "ode.py", needs=("numpy", "scipy"), quirks=(FORKS,)),
    _python("pandas", PYTHON, "groups.py", needs=("numpy", "pandas"), quirks=(FORKS, UNDO)),
    _python("multiprocessing, fork", PYTHON, "processes.py", "fork", "process"),
    _python("multiprocessing, spawn", PYTHON, "processes.py", "spawn", "process", steps=130),
    _python("multiprocessing, forkserver", PYTHON, "processes.py", "forkserver", "process", steps=130),
    _python("multiprocessing.Pool", PYTHON, "workers.py", every_engine=70),
    _python("concurrent.futures, fork", PYTHON, "processes.py", "fork", "futures"),
    _python("concurrent.futures, spawn", PYTHON, "processes.py", "spawn", "futures"),
    _python("shared memory with a name, fork", PYTHON, "segments.py", "fork", quirks=(FORKS,)),
    _python("shared memory with a name, spawn", PYTHON, "segments.py", "spawn", quick=True),
    _python("subprocess", PYTHON, "children.py", "subprocess", steps=14, quirks=(FORKS,)),
    _python("os.system", PYTHON, "children.py", "system", steps=14, quirks=(FORKS,)),
    _python(
        "subprocess beside threaded BLAS", PYTHON, "children.py", "blas", steps=14, needs=("numpy",), quirks=(FORKS,)
    ),
    _python("PyTorch, training", LEARNING, "classify_torch.py", steps=90, needs=_TORCH_NEEDS, quirks=(FORKS,)),
    _python(
        "PyTorch, DataLoader with 2 workers",
        LEARNING,
        "train.py",
        "2",
        steps=90,
        needs=_TORCH_NEEDS,
        environ=_SHORT_TMP,
        quirks=(FORKS,),
        quick=True,
    ),
    _python(
        "PyTorch, DDP over gloo, 2 processes",
        LEARNING,
        "classify_ddp.py",
        steps=90,
        needs=_TORCH_NEEDS,
        environ=_SHORT_TMP,
    ),
    _python(
        "Keras on PyTorch",
        LEARNING,
        "classify_keras.py",
        needs=("keras", *_TORCH_NEEDS),
        environ=(("KERAS_BACKEND", "torch"), ("KERAS_HOME", "{folder}")),
        quirks=(FORKS,),
    ),
    Program(
        "bash, a lasting pipeline",
        SHELL,
        ("bash", "{examples}/stages.sh", "{steps}"),
        needs=("bash",),
        steps=18,
        every_engine=12,
        is_silent=True,
    ),
    Program(
        "bash, a hundred children a second",
        SHELL,
        ("bash", "{examples}/pipeline.sh", "{steps}"),
        needs=("bash",),
        is_silent=True,
    ),
    Program(
        "awk with a pipe",
        SHELL,
        ("awk", "-f", "{programs}/steps.awk", "{steps}"),
        needs=("awk",),
        steps=18,
    ),
    Program(
        "make -j2",
        SHELL,
        ("make", "-j2", "-f", "{programs}/parts.mk", "STEPS={steps}"),
        steps=26,
        needs=("make",),
    ),
    _mdrun("GROMACS mdrun, one thread", 150, "-nt", "1"),
    _mdrun("GROMACS mdrun, two OpenMP threads", 200, "-ntmpi", "1", "-ntomp", "2"),
    Program(
        "LAMMPS melt",
        SCIENCE,
        ("lmp", *_LAMMPS),
        needs=("lmp",),
        is_silent=True,
        environ=tuple(_AS_ROOT.items()),
        steps=40,
        quirks=(HWLOC, SINGLETON),
    ),
    _ring("openmpi", "Open MPI 4.1"),
    _ring("mpich", "MPICH 4.0"),
    _mpi(
        "openmpi",
        "mpi4py with Open MPI",
        "{python}",
        "{examples}/ring.py",
        "{steps}",
        needs=("mpirun.openmpi", "python:mpi4py"),
    ),
    _mpi(
        "openmpi",
        "LAMMPS melt with Open MPI",
        "lmp",
        *_LAMMPS,
        needs=("mpirun.openmpi", "lmp"),
        steps=60,
        is_silent=True,
    ),
    _example("reads stdin", FILES, "lines", "cc", reads_lines=True, is_silent=True),
    _python("sqlite, rollback journal", FILES, "database.py", "delete", quirks=(UNDO,), quick=True),
    _python("sqlite, WAL", FILES, "database.py", "wal", quirks=(UNDO,)),
    _python("several files that stay open", FILES, "files.py"),
    _python("a file that is overwritten in place", FILES, "ledger.py"),
    _python("a file open for append", FILES, "keeps.py", "append"),
    _python("a file opened anew for each write", FILES, "keeps.py", "reopen", quirks=(UNDO,)),
    _python("a file replaced at each write", FILES, "keeps.py", "rewrite", quirks=(UNDO,)),
    _python("a file mapped as shared memory", FILES, "keeps.py", "mapped", quick=True),
    _python("a temporary file", FILES, "keeps.py", "temporary"),
    _python("a deleted file", FILES, "keeps.py", "deleted", quirks=(UNDO,)),
    _python("a locked file", FILES, "keeps.py", "locked", quirks=(UNDO,)),
    _python("handles SIGUSR1 and SIGTERM", SYSTEM, "handlers.py", quick=True),
    *(
        _c(name, SYSTEM, "waits.c", name, flags=("-pthread",))
        for name in ("setitimer", "timer_create", "timerfd", "signalfd", "eventfd", "epoll")
    ),
    _python("pipe", SYSTEM, "sockets.py", "pipe"),
    _python("FIFO", SYSTEM, "sockets.py", "fifo", quick=True),
    _python("pseudo-terminal", SYSTEM, "sockets.py", "pty"),
    _python("socketpair", SYSTEM, "sockets.py", "socketpair"),
    _python("TCP on localhost", SYSTEM, "sockets.py", "tcp", quick=True),
    _python("UDP on localhost", SYSTEM, "sockets.py", "udp"),
    _python("Unix socket with a name", SYSTEM, "sockets.py", "unix"),
    _c("System V memory and semaphores", SYSTEM, "sysv.c"),
    _python("looks itself up under /proc", SYSTEM, "own_proc.py", quick=True),
)
BY_NAME = {program.name: program for program in PROGRAMS}
