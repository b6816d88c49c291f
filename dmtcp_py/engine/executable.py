"""The kind of an executable, as far as engines depend on it. The file is read, never run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.errors import CannotExecuteError, ProgramNotFoundError, UnusableProgramError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

_ELF = b"\x7fELF"
_ELF64 = 2
_ELF_HEADER_BYTES = 64
_PT_INTERP = 3
_MOST_INTERPRETERS = 4
_GO_SECTIONS = {b".go.buildinfo", b".note.go.buildid"}
"""Go's linker writes at least the first (since Go 1.13), and strip(1) keeps both."""
_MPI_LAUNCHER = r"(?:mpirun|mpiexec|orterun|prterun)(?:[._-].*)?"
"""The names that Open MPI, MPICH, and Debian, which packages both, use."""
SCHEDULER_LAUNCHERS = ("srun", "aprun", "jsrun")
LAUNCHES_ELSEWHERE = "has the scheduler's daemons start the program's processes, which no engine can then checkpoint"
"""Why they are refused; follows the launcher's name in a message."""
OPEN_MPI, MPICH = "Open MPI", "MPICH"
_MPIS = ((OPEN_MPI, b"orte_", b""), (MPICH, b"HYDRA build details", b"I_MPI_"))
"""For each MPI a text in its launchers (Open MPI before 5, MPICH), and one that must not be there.

Intel's launcher is much like MPICH's, but has the latter.
"""
_INTERPRETERS = {".py": "python3", ".R": "Rscript", ".r": "Rscript", ".jl": "julia", ".m": "octave", ".pl": "perl"}
"""What runs the scripts whose names end so."""
_COMPILED = (".c", ".cc", ".cpp", ".cxx", ".f", ".f90", ".F90", ".go", ".rs", ".java")
_OF_THE_SHELL = (
    *("[[", "alias", "case", "cd", "command", "declare", "eval", "exec", "export", "for", "function", "if", "local"),
    *("popd", "pushd", "read", "select", "set", "shopt", "source", "time", "trap", "ulimit", "umask", "unset"),
    *("until", "while"),
)
"""Words with which a line of bash begins that are no programs."""
_SHELL_SYNTAX = re.compile(r"[|<>;&$*?`(){}\[\]~\n]")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_FOR_A_SHELL = "have a shell run that line"
_MOST_LAUNCHER_BYTES = 8 << 20
_MOST_NAMES_BYTES = 1 << 20


def find_program(name: str, cwd: Path, search: str | None, arguments: Sequence[str] = ()) -> Path:
    """Return the path of program NAME as a shell in CWD with the PATH value SEARCH would find it.

    Raises ProgramNotFoundError (127) or CannotExecuteError (126), as env(1) does; they say what to run instead, with
    ARGUMENTS.
    """
    if "/" not in name:
        found = shutil.which(name, path=search) if name else None
        if found is None:
            raise _not_in_path(name, cwd, search, arguments)
        _refuse_broken(Path(found), found, arguments)
        return Path(found).absolute()
    path = cwd / name
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        hint = "check the spelling and the working directory"
        raise _not_found(f"there is no file {path}", hint, name, search, arguments) from None
    except OSError as error:
        raise CannotExecuteError(f"{path} cannot be executed: {error.strerror}", "check the path to it") from error
    if path.is_dir():
        raise CannotExecuteError(f"{path} is a directory", "name the program in it")
    if not os.access(path, os.X_OK):
        raise _no_program(f"{path} is not executable", name, arguments) or CannotExecuteError(
            f"{path} is not executable", f"run chmod +x {shlex.quote(str(path))}"
        )
    _refuse_broken(path, name, arguments)
    return path


def _not_in_path(name: str, cwd: Path, search: str | None, arguments: Sequence[str]) -> UnusableProgramError:
    """Return the error for a NAME that is no program on the PATH value SEARCH."""
    what = f"'{name}' is not in PATH"
    # a long line in quotes is no name of a file, of which Path.exists() complains
    if not name or not os.path.exists(cwd / name):  # noqa: PTH110
        return _not_found(what, _like(name, search), name, search, arguments)
    try:
        find_program(f"./{name}", cwd, search, arguments)
    except UnusableProgramError as error:
        return error
    return ProgramNotFoundError(what, instead=(f"./{name}", *arguments), advice="for the one in this folder type")


def _not_found(what: str, hint: str, name: str, search: str | None, arguments: Sequence[str]) -> ProgramNotFoundError:
    """Return the error for a NAME that is no file: WHAT, and HINT unless it is a line in quotes, or the shell's."""
    words = name.split()
    if len(words) == 1:
        if _ASSIGNMENT.match(name) and arguments:
            return ProgramNotFoundError(what, instead=("env", name, *arguments))
        if name in _OF_THE_SHELL:
            line = f"{shlex.join((name, *arguments))}; …"
            return ProgramNotFoundError(what, instead=("bash", "-c", line), advice=_FOR_A_SHELL)
        return ProgramNotFoundError(what, hint)
    is_of_shell = bool(words) and (words[0] in _OF_THE_SHELL or _ASSIGNMENT.match(words[0]) is not None)
    if not is_of_shell and (not words or shutil.which(words[0], path=search) is None):
        return ProgramNotFoundError(what, hint)
    if is_of_shell or _SHELL_SYNTAX.search(name):
        return ProgramNotFoundError(what, instead=("bash", "-c", name, *arguments), advice=_FOR_A_SHELL)
    try:
        return ProgramNotFoundError(what, instead=(*shlex.split(name), *arguments), advice="leave the quotes out")
    except ValueError:
        # a quotation mark without its partner
        return ProgramNotFoundError(what, hint)


def _like(name: str, search: str | None) -> str:
    """Return what to type where there is no program NAME on the PATH value SEARCH."""
    import difflib  # noqa: PLC0415 - only after a mistake

    found: set[str] = set()
    for folder in (search or "").split(":"):
        with suppress(OSError):
            found.update(path.name for path in Path(folder or ".").iterdir())
    near = difflib.get_close_matches(name, sorted(found), n=1, cutoff=0.81)
    return f"did you mean '{near[0]}'?" if near else "check its spelling, and PATH"


def _no_program(what: str, name: str, arguments: Sequence[str]) -> CannotExecuteError | None:
    """Return error WHAT for a file NAME that is not made to be executed, by its ending; None for any other."""
    ending = Path(name).suffix
    if ending in _COMPILED:
        return CannotExecuteError(what, "compile it, and name the program that comes of it")
    if ending in _INTERPRETERS:
        return CannotExecuteError(what, instead=(_INTERPRETERS[ending], name, *arguments))
    return None


def is_static(program: Path) -> bool:
    """Return whether PROGRAM, or the interpreter that its #! line names, is an ELF file without a dynamic loader."""
    found = _elf_of(program)
    return found is not None and _PT_INTERP not in [kind for kind, _ in _segments(found[1])]


def is_go(program: Path) -> bool:
    """Return whether PROGRAM, or the interpreter that its #! line names, was linked by Go, with cgo or without."""
    found = _elf_of(program)
    if found is None:
        return False
    try:
        with found[0].open("rb") as file:
            return not _GO_SECTIONS.isdisjoint(_section_names(file, found[1]))
    except (OSError, struct.error):
        return False


def is_mpi_launcher(program: Path) -> bool:
    """Return whether PROGRAM, or the file that it is a link to, has the name of an MPI launcher."""
    return any(re.fullmatch(_MPI_LAUNCHER, path.name) for path in (program, program.resolve()))


def is_setuid(program: Path) -> bool:
    """Return whether PROGRAM runs as another user or group than its caller (setuid or setgid)."""
    found = program.stat()
    is_other_user = bool(found.st_mode & stat.S_ISUID) and found.st_uid != os.geteuid()
    return is_other_user or (bool(found.st_mode & stat.S_ISGID) and found.st_gid != os.getegid())


def mpi_implementation(launcher: Path) -> str | None:
    """Return the MPI to which LAUNCHER belongs, by texts in its file; None if it is another MPI."""
    found = _elf_of(launcher)
    if found is None:
        return None
    try:
        with found[0].open("rb") as file:
            content = file.read(_MOST_LAUNCHER_BYTES)
    except OSError:
        return None
    for name, text, text_of_others in _MPIS:
        if text in content and not (text_of_others and text_of_others in content):
            return name
    return None


def is_scheduler_launcher(program: Path) -> bool:
    """Return whether PROGRAM has the scheduler's daemons start processes, which no engine can then checkpoint."""
    return program.name in SCHEDULER_LAUNCHERS


def _elf_of(program: Path) -> tuple[Path, bytes] | None:
    """Return the ELF file that runs when PROGRAM is executed, and its first bytes; None if there is none."""
    for _ in range(_MOST_INTERPRETERS):
        try:
            with program.open("rb") as file:
                head = file.read(4096)
        except OSError:
            return None
        if head.startswith(_ELF) and len(head) >= _ELF_HEADER_BYTES:
            return program, head
        interpreter = _shebang(head)
        if interpreter is None:
            return None
        program = interpreter
    return None


def _refuse_broken(path: Path, name: str, arguments: Sequence[str]) -> None:
    """Refuse a file that the kernel would not run: under an engine that is hard to tell from a program that fails."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return
    if not head:
        raise CannotExecuteError(f"{path} is empty", "build it again")
    is_elf = head.startswith(_ELF)
    if is_elf and (len(head) < _ELF_HEADER_BYTES or any(end > path.stat().st_size for _, end in _segments(head))):
        raise CannotExecuteError(f"{path} is shorter than its ELF header says", "build or copy it again")
    interpreter = _shebang(head)
    if interpreter is None and not is_elf:
        # others run as shell scripts, as in a shell
        error = _no_program(f"{path} names no interpreter in its first line (#!)", name, arguments)
        if error is not None:
            raise error
    if interpreter is not None and not os.access(interpreter, os.X_OK):
        raise CannotExecuteError(
            f"{path} names the interpreter {interpreter}, which cannot be executed", "fix the first line"
        )


def _shebang(head: bytes) -> Path | None:
    if not head.startswith(b"#!"):
        return None
    words = head[2:].split(b"\n", 1)[0].split(b"\0", 1)[0].split()
    if not words:
        return None
    interpreter = Path(os.fsdecode(words[0]))
    if interpreter.name == "env":
        names = [word for word in words[1:] if not word.startswith(b"-") and b"=" not in word]
        found = shutil.which(os.fsdecode(names[0])) if names else None
        return Path(found) if found else None
    return interpreter


def _segments(head: bytes) -> list[tuple[int, int]]:
    """Return the type and the end in the file of each segment in HEAD (ELF specification, figures 1-3 and 2-1).

    A segment whose program header lies beyond HEAD is returned as type 0 with an end beyond any file.
    """
    wide = head[4] == _ELF64
    order = "<" if head[5] == 1 else ">"
    word = "Q" if wide else "I"
    (table,) = struct.unpack_from(order + word, head, 32 if wide else 28)
    size, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
    found = []
    for at in range(table, table + size * count, size or 1):
        if at + size > len(head) or size < (56 if wide else 32):
            found.append((0, 1 << 62))
            continue
        (kind,) = struct.unpack_from(order + "I", head, at)
        (offset,) = struct.unpack_from(order + word, head, at + (8 if wide else 4))
        (length,) = struct.unpack_from(order + word, head, at + (32 if wide else 16))
        found.append((kind, offset + length))
    return found


def _section_names(file: BinaryIO, head: bytes) -> set[bytes]:
    """Return the names of the sections of an ELF file (ELF specification, figures 1-3 and 1-8)."""
    wide = head[4] == _ELF64
    order = "<" if head[5] == 1 else ">"
    word = "Q" if wide else "I"
    (table,) = struct.unpack_from(order + word, head, 40 if wide else 32)
    size, count, names_at = struct.unpack_from(order + "HHH", head, 58 if wide else 46)
    if not table or size < (64 if wide else 40) or names_at >= count:
        return set()
    headers = _read_at(file, table, size * count)
    (offset,) = struct.unpack_from(order + word, headers, size * names_at + (24 if wide else 16))
    (length,) = struct.unpack_from(order + word, headers, size * names_at + (32 if wide else 20))
    return set(_read_at(file, offset, min(length, _MOST_NAMES_BYTES)).split(b"\0"))


def _read_at(file: BinaryIO, offset: int, length: int) -> bytes:
    """Return LENGTH bytes, or fewer if the file ends before."""
    try:
        return os.pread(file.fileno(), length, offset)
    except OverflowError:
        return b""
