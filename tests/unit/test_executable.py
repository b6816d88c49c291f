"""What kind of file a program is: real ones of this machine, and the smallest made ones."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from dmtcp_py.engine.executable import find_program, is_static
from dmtcp_py.errors import CannotExecuteError, DmtcpRunError, ProgramNotFoundError

PT_LOAD, PT_INTERP = 1, 3


def elf(*types: int, bits: int = 64, order: str = "<") -> bytes:
    """Return an ELF file with program headers of TYPES (ELF specification, figures 1-3 and 2-1)."""
    ident = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    size, header, word = (56, 64, "Q") if bits == 64 else (32, 52, "I")
    fields = struct.pack(f"{order}HHI{word * 3}IHHHHHH", 2, 62, 1, 0, header, 0, 0, header, size, len(types), 0, 0, 0)
    return ident + fields + b"".join(struct.pack(f"{order}I", kind).ljust(size, b"\0") for kind in types)


def put(path: Path, content: bytes | str, mode: int = 0o755) -> Path:
    """Write an executable file."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


class TestStatic:
    """Whether an engine that works through the dynamic loader can take it."""

    @pytest.mark.parametrize("program", [sys.executable, "/bin/sh", "/usr/bin/env"])
    def test_programs_of_this_machine_are_dynamic(self, program: str) -> None:
        assert not is_static(Path(program))

    @pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no compiler here")
    @pytest.mark.parametrize(("option", "expected"), [("-static", True), ("-static-pie", True), ("-pie", False)])
    def test_what_a_compiler_links_is_told_apart(self, tmp_path: Path, option: str, expected: bool) -> None:  # noqa: FBT001
        build = ["gcc", option, "-nostdlib", "-ffreestanding", "-fPIE", "-x", "c", "-", "-o", tmp_path / "program"]
        subprocess.run(build, input=b"void _start(void) { for (;;) ; }", check=True, timeout=60)
        assert is_static(tmp_path / "program") is expected

    @pytest.mark.parametrize("bits", [32, 64])
    @pytest.mark.parametrize("order", ["<", ">"])
    def test_width_and_byte_order_do_not_matter(self, tmp_path: Path, bits: int, order: str) -> None:
        assert is_static(put(tmp_path / "static", elf(PT_LOAD, PT_LOAD, bits=bits, order=order)))
        assert not is_static(put(tmp_path / "dynamic", elf(PT_LOAD, PT_INTERP, bits=bits, order=order)))

    def test_a_script_is_what_its_interpreter_is(self, tmp_path: Path) -> None:
        static = put(tmp_path / "static", elf(PT_LOAD))
        assert is_static(put(tmp_path / "one", f"#!{static}\n"))
        assert is_static(put(tmp_path / "two", f"#! {static} -x -y\nbody\n"))
        assert not is_static(put(tmp_path / "three", "#!/bin/sh\n"))

    def test_env_is_looked_through(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put(tmp_path / "static", elf(PT_LOAD))
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        for line in ("#!/usr/bin/env static", "#!/usr/bin/env -S static -u", "#!/usr/bin/env -S X=1 static"):
            assert is_static(put(tmp_path / "script", f"{line}\n")), line
        assert not is_static(put(tmp_path / "script", "#!/usr/bin/env sh\n"))

    def test_a_script_of_a_script_is_followed(self, tmp_path: Path) -> None:
        static = put(tmp_path / "static", elf(PT_LOAD))
        inner = put(tmp_path / "inner", f"#!{static}\n")
        assert is_static(put(tmp_path / "outer", f"#!{inner}\n"))

    def test_scripts_that_name_each_other_come_to_an_end(self, tmp_path: Path) -> None:
        put(tmp_path / "one", f"#!{tmp_path / 'two'}\n")
        assert not is_static(put(tmp_path / "two", f"#!{tmp_path / 'one'}\n"))

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"echo hello\n",
            b"#!",
            b"#!\n",
            b"#!   \n",
            b"#!/usr/bin/env\n",
            b"#!/usr/bin/env -i\n",
            b"#!/no/such/interpreter\n",
            b"#!/tmp\n",
            b"#!\xff\xfe\n",
            b"#!/a\0b\n",
            b"\x7fEL",
            b"PK\3\4",
        ],
    )
    def test_anything_else_is_not_static(self, tmp_path: Path, content: bytes) -> None:
        assert not is_static(put(tmp_path / "file", content))

    @pytest.mark.parametrize("length", [4, 5, 6, 20, 40, 63, 64, 70])
    def test_a_file_that_is_cut_off_raises_nothing(self, tmp_path: Path, length: int) -> None:
        assert is_static(put(tmp_path / "file", elf(PT_LOAD, PT_INTERP)[:length])) in (True, False)

    def test_headers_that_point_beyond_the_file_raise_nothing(self, tmp_path: Path) -> None:
        content = bytearray(elf(PT_LOAD))
        content[32:40] = b"\xff" * 8
        assert is_static(put(tmp_path / "file", bytes(content))) in (True, False)

    def test_a_file_that_is_not_there_is_not_static(self, tmp_path: Path) -> None:
        assert not is_static(tmp_path / "nothing")


class TestFindProgram:
    """Which file a name means, and why it cannot be run."""

    def test_a_name_is_looked_for_in_path(self, tmp_path: Path) -> None:
        (tmp_path / "bin").mkdir()
        program = put(tmp_path / "bin" / "count", "#!/bin/sh\n")
        assert find_program("count", tmp_path, f"/nowhere:{tmp_path / 'bin'}") == program

    def test_a_path_is_taken_from_the_working_directory(self, tmp_path: Path) -> None:
        program = put(tmp_path / "count", "#!/bin/sh\n")
        assert find_program("./count", tmp_path, None) == program
        assert find_program(str(program), Path("/"), "") == program

    @pytest.mark.parametrize("name", ["no-such-program", "", " ", "-x"])
    def test_a_name_that_is_not_in_path_is_127(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ProgramNotFoundError, match="is not in PATH") as refused:
            find_program(name, tmp_path, "/usr/bin:/bin")
        assert refused.value.status == 127
        assert "PATH" in refused.value.hint

    def test_a_program_in_this_folder_is_offered(self, tmp_path: Path) -> None:
        put(tmp_path / "count", "#!/bin/sh\n")
        with pytest.raises(ProgramNotFoundError) as refused:
            find_program("count", tmp_path, "/usr/bin")
        assert "./count" in refused.value.hint

    def test_a_program_of_a_like_name_is_offered(self, tmp_path: Path) -> None:
        put(tmp_path / "simulate", "#!/bin/sh\n")
        with pytest.raises(ProgramNotFoundError) as refused:
            find_program("simluate", Path("/"), f"/nowhere:{tmp_path}")
        assert refused.value.hint == "did you mean 'simulate'?"

    def test_one_that_has_only_some_letters_in_common_is_not_suggested(self, tmp_path: Path) -> None:
        put(tmp_path / "open", "#!/bin/sh\n")
        with pytest.raises(ProgramNotFoundError) as refused:
            find_program("nope", Path("/"), str(tmp_path))
        assert refused.value.hint == "check its spelling, and PATH"

    @pytest.mark.parametrize(
        ("name", "mode", "hint"),
        [
            ("model.py", 0o755, "type: python3 {}"),
            ("model.R", 0o644, "type: Rscript {}"),
            ("model.c", 0o644, "compile it, and name the program that comes of it"),
        ],
    )
    def test_what_is_no_program_by_itself_is_126_with_what_to_type(
        self, tmp_path: Path, name: str, mode: int, hint: str
    ) -> None:
        path = put(tmp_path / name, "print(1)\n", mode=mode)
        with pytest.raises(CannotExecuteError) as refused:
            find_program(str(path), Path("/"), "/usr/bin")
        assert refused.value.hint == hint.format(path)

    @pytest.mark.parametrize("name", ["./nothing", "/no/such/file", "./a/b", "./dangling"])
    def test_a_path_that_leads_nowhere_is_127(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "dangling").symlink_to("nothing")
        with pytest.raises(ProgramNotFoundError, match="there is no file") as refused:
            find_program(name, tmp_path, "/usr/bin")
        assert refused.value.status == 127

    @pytest.mark.parametrize("name", ["./" + "x" * 300, "./loop", "./file/below"])
    def test_a_path_that_cannot_be_followed_is_refused_in_one_line(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "loop").symlink_to("loop")
        (tmp_path / "file").touch()
        with pytest.raises(DmtcpRunError) as refused:
            find_program(name, tmp_path, "/usr/bin")
        assert refused.value.status in (126, 127)

    def test_a_directory_is_126(self, tmp_path: Path) -> None:
        with pytest.raises(CannotExecuteError, match="is a directory") as refused:
            find_program("./", tmp_path, "/usr/bin")
        assert refused.value.status == 126

    def test_a_file_that_is_not_executable_is_126_with_what_to_type(self, tmp_path: Path) -> None:
        program = put(tmp_path / "my count", "#!/bin/sh\n", mode=0o644)
        with pytest.raises(CannotExecuteError, match="is not executable") as refused:
            find_program("./my count", tmp_path, "/usr/bin")
        assert refused.value.hint == f"run chmod +x '{program}'"

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "is empty"),
            (elf(PT_LOAD)[:20], "is shorter than its ELF header says"),
            (elf(PT_LOAD, PT_LOAD)[:80], "is shorter than its ELF header says"),
            (b"#!/no/such/interpreter\n", "names the interpreter /no/such/interpreter"),
        ],
    )
    def test_what_the_kernel_would_refuse_is_126(self, tmp_path: Path, content: bytes, words: str) -> None:
        put(tmp_path / "program", content)
        with pytest.raises(CannotExecuteError, match=words) as refused:
            find_program("./program", tmp_path, "/usr/bin")
        assert refused.value.status == 126

    @pytest.mark.parametrize("content", ["#!/bin/sh\n", "#!/usr/bin/env sh\n", "#!/usr/bin/env -S sh -e\n", "echo\n"])
    def test_scripts_are_taken(self, tmp_path: Path, content: str) -> None:
        program = put(tmp_path / "script", content)
        assert find_program("./script", tmp_path, os.environ["PATH"]) == program

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
    def test_a_path_through_a_closed_folder_is_refused_in_one_line(self, tmp_path: Path) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        put(closed / "count", "#!/bin/sh\n")
        for parent in [tmp_path, *tmp_path.parents][:4]:
            assert parent.exists()
        os.seteuid(65534)
        try:
            with pytest.raises(DmtcpRunError) as refused:
                find_program(str(closed / "count"), Path("/"), "/usr/bin")
        finally:
            os.seteuid(0)
        assert refused.value.status in (126, 127)
