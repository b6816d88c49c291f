"""What kind of file a program is, as far as an engine has to know: found by reading it, not by running it."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

from dmtcp_py.errors import CannotExecuteError, ProgramNotFoundError

_ELF = b"\x7fELF"
_ELF64 = 2
_ELF_HEADER_BYTES = 64
_PT_INTERP = 3
_MOST_HOPS = 4


def find_program(name: str, cwd: Path, search: str | None) -> Path:
    """Return the path of program NAME as a shell in CWD with the PATH value SEARCH would find it.

    Raises ProgramNotFoundError (127) or CannotExecuteError (126), as env(1) does.
    """
    if "/" not in name:
        found = shutil.which(name, path=search) if name else None
        if found is not None:
            _refuse_broken(Path(found))
            return Path(found).absolute()
        here = f"'./{name}' names the one in this folder" if name and (cwd / name).exists() else "look at PATH"
        raise ProgramNotFoundError(f"'{name}' is not in PATH", here)
    path = cwd / name
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise ProgramNotFoundError(f"there is no file {path}", "check the spelling and the working directory") from None
    except OSError as error:
        raise CannotExecuteError(f"{path} cannot be executed: {error.strerror}", "look at the path to it") from error
    if path.is_dir():
        raise CannotExecuteError(f"{path} is a directory", "name the program in it")
    if not os.access(path, os.X_OK):
        raise CannotExecuteError(f"{path} is not executable", f"chmod +x '{path}'")
    _refuse_broken(path)
    return path


def is_static(program: Path) -> bool:
    """Return whether PROGRAM, or the interpreter that its #! line names, is an ELF file without a dynamic loader."""
    for _ in range(_MOST_HOPS):
        try:
            with program.open("rb") as file:
                head = file.read(4096)
                if head.startswith(_ELF):
                    return not _has_interpreter(head, file.read(1 << 20))
        except OSError:
            return False
        interpreter = _shebang(head)
        if interpreter is None:
            return False
        program = interpreter
    return False


def _refuse_broken(path: Path) -> None:
    """Refuse what the kernel would: under an engine its refusal is hard to tell from the program's own end."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return
    if not head:
        raise CannotExecuteError(f"{path} is empty", "build it again")
    if head.startswith(_ELF) and len(head) < _ELF_HEADER_BYTES:
        raise CannotExecuteError(f"{path} is cut off within its ELF header", "build or copy it again")
    interpreter = _shebang(head)
    if interpreter is not None and not os.access(interpreter, os.X_OK):
        raise CannotExecuteError(f"{path} names the interpreter {interpreter}, which cannot be executed", "mend line 1")


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


def _has_interpreter(head: bytes, rest: bytes) -> bool:
    """Look for PT_INTERP among the program headers (ELF specification, figures 1-3 and 2-1)."""
    data = (head + rest).ljust(_ELF_HEADER_BYTES, b"\0")
    wide = data[4] == _ELF64
    order = "<" if data[5] == 1 else ">"
    offset = struct.unpack_from(order + ("Q" if wide else "I"), data, 32 if wide else 28)[0]
    size, count = struct.unpack_from(order + "HH", data, 54 if wide else 42)
    places = (offset + index * size for index in range(count))
    return _PT_INTERP in (struct.unpack_from(order + "I", data, at)[0] for at in places if at + 4 <= len(data))
