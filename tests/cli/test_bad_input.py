"""Bad input: one line with a next step, the right status, and nothing is touched."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kit.bench import Workbench
from kit.engines import find_dmtcp
from kit.places import RUN
from kit.waits import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from kit.engines import EngineHere

HOSTILE_NAMES = ("two words", "it's", '"q"', "new\nline", "$(touch x)", "\udcff\udcfe", "-leading", "a;b&c|d")
HOSTILE_WORDS = (*HOSTILE_NAMES, "", "--", "-i", "*", "~", "\\", "`touch x`", "\t", "'\"'", "--stdout", "\x1b[31m")
WRITE_WORDS = ("sh", "-c", 'printf "%s\\0" "$@" >words', "sh")
"""A program that writes its words down as it got them."""

Tree = dict[str, bytes | str | None]
Row = tuple[tuple[str, ...], int, str]


def contents(folder: Path) -> Tree:
    """Return all that lies below FOLDER: the content of files, the targets of symlinks."""
    found: Tree = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
    return found


def complaint(done: subprocess.CompletedProcess[str], status: int) -> str:
    """Return the one line by which dmtcp-run refused with STATUS."""
    assert done.returncode == status, done.stderr
    assert not done.stdout
    assert done.stderr.count("\n") == 1, f"not one line:\n{done.stderr}"
    line = done.stderr.removesuffix("\n")
    assert re.fullmatch(r"dmtcp-run: .+(; .+|See 'dmtcp-run --help'\.)", line), f"no next step: {line}"
    return line


def refused(bench: Workbench, status: int, *words: str | Path, **popen: Any) -> str:
    """Check that ``dmtcp-run WORDS`` is refused with STATUS and leaves everything as it was; return its line."""
    before = contents(bench.folder)
    line = complaint(bench.run(*words, **popen), status)
    assert contents(bench.folder) == before
    return line


def needs_dmtcp(engine: EngineHere) -> None:
    """Skip a test of what only DMTCP refuses where another engine is all that there is."""
    if engine.name != "dmtcp":
        pytest.skip("takes DMTCP")


@pytest.fixture
def kept(bench: Workbench) -> str:
    """Return the name of an output file that is there already and must stay as it is."""
    (bench.folder / "out.txt").write_text("of an earlier run\n")
    return "out.txt"


# ---------------------------------------------------------------------------------------------------- the program


@pytest.mark.parametrize(
    ("program", "status", "says"),
    [
        ("./missing", 127, "there is no file"),
        ("missing-program", 127, "not in PATH"),
        ("", 127, "not in PATH"),
        ("./no\nsuch\nprogram", 127, "there is no file"),
        ("./\udcff", 127, "there is no file"),
        ("./folder", 126, "is a directory"),
        ("./plain.txt", 126, "chmod +x"),
        ("./plain.txt/program", 127, "there is no file"),
    ],
)
def test_a_program_that_cannot_be_run_is_refused_as_env_does(
    bench: Workbench, kept: str, program: str, status: int, says: str
) -> None:
    (bench.folder / "folder").mkdir()
    (bench.folder / "plain.txt").write_text("text\n")
    assert says in refused(bench, status, "--stdout", kept, program)


def test_a_program_of_this_folder_that_is_not_in_path_is_pointed_at(bench: Workbench) -> None:
    shutil.copy(shutil.which("true") or "", bench.folder / "our-program")
    assert "./our-program" in refused(bench, 127, "our-program")


@pytest.mark.parametrize("line", ["sh job.sh", "/bin/sh job.sh"])
def test_a_line_in_quotes_is_answered_with_how_to_type_it(bench: Workbench, line: str) -> None:
    assert refused(bench, 127, "--keep", "3", line).endswith(f"leave the quotes out: dmtcp-run --keep 3 {line}")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["sh job.sh | sort"], "bash -c 'sh job.sh | sort'"),
        (["for i in 1 2; do sh job.sh; done"], "bash -c 'for i in 1 2; do sh job.sh; done'"),
        (["A=1 sh job.sh"], "bash -c 'A=1 sh job.sh'"),
        (["A=1", "sh", "my job.sh"], "env A=1 sh 'my job.sh'"),
        (["cd", "a b"], """bash -c 'cd '"'"'a b'"'"'; …'"""),
    ],
)
def test_what_only_a_shell_understands_is_answered_with_the_whole_line(
    bench: Workbench, words: list[str], hint: str
) -> None:
    assert refused(bench, 127, "--stdout", "my out", *words).endswith(f": dmtcp-run --stdout 'my out' {hint}")


@pytest.mark.parametrize("name", ["./loop.py", "loop.py"])
def test_a_script_that_is_not_executable_is_answered_with_the_whole_line(bench: Workbench, name: str) -> None:
    (bench.folder / "loop.py").write_text("print(1)\n")
    line = refused(bench, 126, "--stdout", "out", name, "a b")
    assert line.endswith("is not executable; type: dmtcp-run --stdout out python3 ./loop.py 'a b'")


def test_a_folder_is_not_offered_as_a_program(bench: Workbench) -> None:
    (bench.folder / "folder").mkdir()
    for name in (".", "folder"):
        assert "is a directory; name the program in it" in refused(bench, 126, name)


def test_an_option_with_one_dash_is_answered_with_two(bench: Workbench) -> None:
    assert "'-stdout'. Did you mean '--stdout'?" in refused(bench, 2, "-stdout", "out", "true")


@pytest.mark.parametrize("script", ["#!/no/such/interpreter\n", "#!/no/such\x1b[31m\n"])
def test_a_script_whose_interpreter_is_missing_is_refused(
    bench: Workbench, one_engine: EngineHere, kept: str, script: str
) -> None:
    assert one_engine
    program = bench.folder / "script"
    program.write_text(script)
    program.chmod(0o755)
    assert "/no/such" in refused(bench, 126, "--stdout", kept, "./script")


@pytest.mark.parametrize("size", [6, 20, 200])
def test_an_executable_that_was_cut_off_is_refused(
    bench: Workbench, one_engine: EngineHere, kept: str, size: int
) -> None:
    assert one_engine
    program = bench.folder / "cut"
    program.write_bytes(Path(shutil.which("true") or "").read_bytes()[:size])
    program.chmod(0o755)
    refused(bench, 126, "--stdout", kept, "./cut")


@pytest.fixture
def static_program(bench: Workbench) -> Path:
    """Build a statically linked program that would leave a trace."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    source = bench.folder / "static.c"
    source.write_text('#include <stdio.h>\nint main(void) { fclose(fopen("trace", "w")); return 0; }\n')
    program = bench.folder / "static"
    built = subprocess.run([compiler, "-static", source, "-o", program], capture_output=True, check=False, timeout=60)
    if built.returncode:
        pytest.skip("this compiler has no static C library")
    return program


def test_a_static_program_is_refused(bench: Workbench, one_engine: EngineHere, kept: str, static_program: Path) -> None:
    needs_dmtcp(one_engine)
    line = refused(bench, 125, "--engine", "dmtcp", "--stdout", kept, static_program)
    assert "statically linked" in line
    assert str(static_program) in line


def test_a_script_for_a_static_interpreter_is_refused(
    bench: Workbench, one_engine: EngineHere, static_program: Path
) -> None:
    needs_dmtcp(one_engine)
    script = bench.folder / "script"
    script.write_text(f"#!{static_program}\n")
    script.chmod(0o755)
    assert "statically linked" in refused(bench, 125, "--engine", "dmtcp", "./script")


# ---------------------------------------------------------------------------------------------------- the options


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "PROGRAM"),
        (("-i", "2"), "PROGRAM"),
        (("--",), "PROGRAM"),
        (("--nonsense", "true"), "--nonsense"),
        (("-i", "-5", "true"), "'-5'"),
        (("-i", "10parsecs", "true"), "'10parsecs'"),
        (("-i", "", "true"), "''"),
        (("-i", "1\n2", "true"), "not a duration"),
        (("-i", "nan", "true"), "'nan'"),
        (("-i", "inf", "true"), "'inf'"),
        (("-i", "1e400", "true"), "'1e400'"),
        (("-i", "9" * 400, "true"), "--interval"),
        (("--keep", "0", "true"), "--keep"),
        (("--keep", "two", "true"), "--keep"),
        (("--generation", "0", "true"), "--generation"),
        (("--checkpointed-status", "256", "true"), "--checkpointed-status"),
        (("--fresh", "--resume-only", "true"), "--fresh"),
        (("--fresh", "--generation", "1", "true"), "--fresh"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(bench: Workbench, kept: str, words: Any, says: str) -> None:
    assert says in refused(bench, 2, "--stdout", kept, *words)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "-x", ".hidden", "a\nb", "x" * 200, "\udcff"])
def test_a_job_name_that_could_lead_elsewhere_is_refused(
    bench: Workbench, one_engine: EngineHere, kept: str, name: str
) -> None:
    assert one_engine
    assert "is not a valid job name" in refused(bench, 2, "--stdout", kept, "--job", name, "true")


@pytest.mark.parametrize("option", ["--stdout", "--stderr"])
@pytest.mark.parametrize("target", ["no/such/out.txt", "folder", "plain.txt/out.txt", "no\nsuch/out.txt", ""])
def test_an_output_file_that_cannot_be_written_is_refused(
    bench: Workbench, one_engine: EngineHere, option: str, target: str
) -> None:
    assert one_engine
    (bench.folder / "folder").mkdir()
    (bench.folder / "plain.txt").write_text("text\n")
    assert option in refused(bench, 2, option, target, "true")


@pytest.mark.parametrize("target", ["missing", "folder", "mis\nsing", ""])
def test_an_input_file_that_cannot_be_read_is_refused(
    bench: Workbench, one_engine: EngineHere, kept: str, target: str
) -> None:
    assert one_engine
    (bench.folder / "folder").mkdir()
    assert "--stdin" in refused(bench, 2, "--stdout", kept, "--stdin", target, "true")


@pytest.mark.parametrize("option", ["--stdin", "--stdout", "--stderr"])
def test_a_named_pipe_is_refused_and_not_waited_for(bench: Workbench, one_engine: EngineHere, option: str) -> None:
    assert one_engine
    os.mkfifo(bench.folder / "pipe")
    assert option in refused(bench, 2, option, "pipe", "true", timeout_s=20)


@pytest.mark.parametrize("option", ["--stdout", "--stderr"])
@pytest.mark.parametrize("name", ["in", "./in", "symlink", "hardlink"])
def test_an_output_that_is_the_input_is_refused(
    bench: Workbench, one_engine: EngineHere, option: str, name: str
) -> None:
    assert one_engine
    (bench.folder / "in").write_text("text\n")
    (bench.folder / "symlink").symlink_to("in")
    (bench.folder / "hardlink").hardlink_to(bench.folder / "in")
    assert option in refused(bench, 2, "--stdin", "in", option, name, "cat")


def test_resume_only_without_anything_to_resume_is_refused(bench: Workbench, one_engine: EngineHere, kept: str) -> None:
    assert one_engine
    line = complaint(bench.run("--stdout", kept, "--resume-only", "true"), 125)
    assert "no generation to resume" in line
    assert (bench.folder / kept).read_text() == "of an earlier run\n"


# ---------------------------------------------------------------------------------------------- the job directory


def without_privilege(line: list[str]) -> list[str]:
    """Return LINE so that permissions hold for it even where root runs the tests."""
    if os.geteuid() != 0:
        return line
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root without setpriv: permissions do not hold")
    caps = "-dac_override,-dac_read_search"
    probe = subprocess.run([setpriv, f"--bounding-set={caps}", "true"], capture_output=True, check=False, timeout=20)
    if probe.returncode:
        pytest.skip("root that cannot give up its capabilities")
    return [setpriv, f"--bounding-set={caps}", f"--inh-caps={caps}", *line]


def ended(bench: Workbench, argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Run ARGV in the folder to its end."""
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=bench.folder,
        env=bench.environ,
    )


@pytest.mark.parametrize(("mode", "status"), [(0o555, 125), (0o000, 2)])
def test_a_directory_without_permission_is_refused(
    bench: Workbench, one_engine: EngineHere, kept: str, mode: int, status: int
) -> None:
    assert one_engine
    jobs = bench.folder / "jobs"
    jobs.mkdir()
    argv = without_privilege(bench.line("--dir", "jobs", "--stdout", kept, "true"))
    jobs.chmod(mode)
    try:
        line = complaint(ended(bench, argv), status)
    finally:
        jobs.chmod(0o755)
    assert "jobs" in line
    assert "--dir" in line
    assert contents(bench.folder) == {"jobs": None, kept: b"of an earlier run\n"}


def test_an_output_file_without_write_permission_is_refused(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    out = bench.folder / "out.txt"
    out.write_text("of an earlier run\n")
    out.chmod(0o444)
    assert "--stdout" in complaint(ended(bench, without_privilege(bench.line("--stdout", "out.txt", "true"))), 2)
    assert contents(bench.folder) == {"out.txt": b"of an earlier run\n"}


def test_an_input_file_without_read_permission_is_refused(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    (bench.folder / "secret").write_text("text\n")
    (bench.folder / "secret").chmod(0)
    assert "--stdin" in complaint(ended(bench, without_privilege(bench.line("--stdin", "secret", "true"))), 2)
    assert not bench.jobs.exists()


def test_a_file_in_place_of_the_directory_is_refused(bench: Workbench, one_engine: EngineHere, kept: str) -> None:
    assert one_engine
    (bench.folder / "jobs").write_text("mine\n")
    assert "--dir" in refused(bench, 125, "--dir", "jobs", "--stdout", kept, "true")
    assert "--dir" in refused(bench, 125, "--dir", "jobs/below", "--stdout", kept, "true")


def on_small_disk(bench: Workbench, free_pages: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``dmtcp-run --dir disk/jobs WORDS`` where ``disk`` has so many pages free; stdout lists what it made."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("mounting a small disk takes root")
    (bench.folder / "disk").mkdir()
    page = os.sysconf("SC_PAGE_SIZE")
    script = (
        "mount -t tmpfs -o size=64k none disk || exit 99\n"
        f"head -c {65536 - free_pages * page} /dev/zero >disk/filler\n"
        '"$@"; status=$?; ls -A disk/jobs/*/ 2>/dev/null; exit $status'
    )
    line = bench.line("--dir", "disk/jobs", *words)
    done = ended(bench, ["unshare", "--mount", "sh", "-c", script, "sh", *line])
    if done.returncode == 99:
        pytest.skip("no tmpfs can be mounted here")
    return done


def test_a_full_disk_is_refused(bench: Workbench, one_engine: EngineHere, kept: str) -> None:
    assert one_engine
    line = complaint(on_small_disk(bench, 0, "--stdout", kept, "touch", "ran"), 125)
    assert "only 0 Bytes are free" in line
    assert contents(bench.folder) == {kept: b"of an earlier run\n", "disk": None}


@pytest.mark.parametrize("free_pages", [1, 2, 3, 4, 5])
def test_a_disk_that_gets_full_at_the_start_is_one_line_before_and_no_harm_after(
    bench: Workbench, one_engine: EngineHere, free_pages: int
) -> None:
    assert one_engine
    done = on_small_disk(bench, free_pages, "sh", "-c", "touch ran; exit 7")
    assert "Traceback" not in done.stderr
    assert all(line.startswith("dmtcp-run: ") for line in done.stderr.splitlines())
    if (bench.folder / "ran").exists():
        assert done.returncode == 7
    else:
        assert done.returncode == 125
        assert done.stderr.count("\n") == 1


# ----------------------------------------------------------------------------------------------- what lies on disk


@pytest.fixture(scope="module")
def _made() -> dict[str, Path]:
    """Keep the stopped job of each engine, made once."""
    return {}


@pytest.fixture
def stopped(bench: Workbench, tmp_path_factory: pytest.TempPathFactory, _made: dict[str, Path]) -> Workbench:
    """Give a workbench whose only job, ``job``, was checkpointed and stopped; ``sleep 300`` would resume it."""
    engine = str(bench.engine)
    if engine not in _made:
        folder = tmp_path_factory.mktemp("stopped") / "work"
        folder.mkdir()
        _made[engine] = folder
        first = Workbench(folder, bench.engine)
        stop_a_job(first)
        shutil.copytree(first.jobs, folder.parent / "pristine", symlinks=True)
        shutil.rmtree(first.temporary)
    bench.folder = _made[engine]
    for path in bench.folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(bench.folder.parent / "pristine", bench.jobs, symlinks=True)
    return bench


def stop_a_job(bench: Workbench) -> None:
    """Start ``sleep 300`` as ``job``, and have it checkpointed and stopped."""
    process = bench.start("--job", "job", "-i", "0", "sleep", "300")
    wait_until(lambda: (bench.jobs / "job" / "history.jsonl").exists() or process.poll() is not None)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 85, (bench.folder / "stderr.txt").read_text()
    assert bench.generations == [1]


def refused_resume(bench: Workbench, status: int = 125) -> str:
    """Check that the line of `stopped` is refused with its generations untouched; return what it said."""
    generations = contents(bench.job / "generations")
    line = complaint(bench.run("--job", "job", "-i", "0", "sleep", "300"), status)
    assert contents(bench.job / "generations") == generations
    return line


def test_a_job_of_a_newer_version_is_refused(stopped: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    record = stopped.job / "job.json"
    record.write_text(json.dumps({"format": 99, "of": "the future"}))
    line = refused_resume(stopped)
    assert "format 99" in line
    assert "newer" in line
    assert json.loads(record.read_text())["format"] == 99


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", "\0" * 64, '{"format": 1}', '{"format": "x"}'])
@pytest.mark.parametrize("name", ["job.json", "generations/000001/manifest.json"])
def test_a_record_that_is_no_json_or_lacks_fields_is_refused(
    stopped: Workbench, one_engine: EngineHere, name: str, damage: str
) -> None:
    assert one_engine
    (stopped.job / name).write_text(damage)
    assert Path(name).name in refused_resume(stopped)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "../000001/ckpt.dmtcp", "", ".", "a/../b", "a\0b", "./a"]
)
def test_a_manifest_that_names_a_file_elsewhere_is_refused(
    stopped: Workbench, one_engine: EngineHere, name: str
) -> None:
    assert one_engine
    edit_manifest(stopped, lambda manifest: manifest["images"][0].update(name=name))
    edit_manifest(stopped, lambda manifest: manifest.update(restart_images=[name]))
    assert "outside its generation" in refused_resume(stopped)


def edit_manifest(bench: Workbench, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest of generation 1 by EDIT."""
    path = bench.job / "generations" / "000001" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest.pop("check", None)
    edit(manifest)
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize("what", ["image", "generation", "manifest"])
def test_a_symlink_in_place_of_what_was_committed_is_refused(
    stopped: Workbench, one_engine: EngineHere, tmp_path: Path, what: str
) -> None:
    assert one_engine
    generation = stopped.job / "generations" / "000001"
    image = json.loads((generation / "manifest.json").read_text())["images"][0]["name"]
    path = {"image": generation / image, "generation": generation, "manifest": generation / "manifest.json"}[what]
    elsewhere = tmp_path / "elsewhere"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)
    assert "generation 1" in refused_resume(stopped)


def test_a_generation_of_a_newer_version_is_refused(stopped: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    edit_manifest(stopped, lambda manifest: manifest.update(format=99))
    assert "newer" in refused_resume(stopped)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's files become another user's on NFS")
def test_root_whose_directory_has_become_nobodys_learns_of_root_squash(
    bench: Workbench, one_engine: EngineHere
) -> None:
    del one_engine
    bench.jobs.mkdir(mode=0o700)
    nobody = int(Path("/proc/sys/kernel/overflowuid").read_text())
    os.chown(bench.jobs, nobody, nobody)
    line = refused(bench, 125, "true")
    assert f"{bench.jobs} belongs to user {nobody}" in line
    assert "on NFS with root_squash" in line


def test_a_generation_of_an_unknown_engine_is_refused(stopped: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    edit_manifest(stopped, lambda manifest: manifest.update(engine="teleport"))
    assert "'teleport'" in refused_resume(stopped)


def test_a_generation_that_does_not_exist_is_refused(stopped: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    generations = contents(stopped.job / "generations")
    line = complaint(stopped.run("--job", "job", "--generation", "7", "sleep", "300"), 125)
    assert "no generation 7" in line
    assert contents(stopped.job / "generations") == generations


def test_another_command_under_the_name_of_a_job_is_refused(stopped: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    before = contents(stopped.job / "generations")
    assert "command" in complaint(stopped.run("--job", "job", "true"), 125)
    line = complaint(stopped.run("--job", "job", "--stdout", "another.txt", "sleep", "300"), 125)
    assert "was started without --stdout, and this line is with --stdout" in line
    assert contents(stopped.job / "generations") == before


def test_a_new_job_of_nearly_the_same_line_is_named(stopped: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    record = json.loads((stopped.job / "job.json").read_text())
    (stopped.job / "job.json").write_text(json.dumps({**record, "command": ["true"], "stdin": "/some/numbers.txt"}))
    near = stopped.run(shutil.which("true") or "")
    assert near.returncode == 0
    assert "this is a new job; job job, started by 'true < /some/numbers.txt', is unfinished" in near.stderr
    assert "this is a new job" not in stopped.run("true", "--another").stderr


def test_generations_without_their_job_are_not_started_over(stopped: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    (stopped.job / "job.json").unlink()
    assert "--fresh" in refused_resume(stopped)


# -------------------------------------------------------------------------------------------------- the engine


@pytest.fixture
def no_dmtcp(bench: Workbench, tmp_path: Path) -> dict[str, str]:
    """Return an environment in which there is no DMTCP, but a shell and ``true``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "true"):
        (folder / name).symlink_to(shutil.which(name) or "")
    environ = {name: value for name, value in bench.environ.items() if name != "DMTCP_PREFIX"}
    return {**environ, "PATH": str(folder)}


def test_a_machine_without_dmtcp_is_told_where_to_get_it(bench: Workbench, kept: str, no_dmtcp: dict[str, str]) -> None:
    line = refused(bench, 125, "--engine", "dmtcp", "--stdout", kept, "true", env=no_dmtcp)
    assert all(word in line for word in ("dnf", "zypper", "pacman", "spack", "module load dmtcp", "https://"))


def test_a_prefix_without_dmtcp_is_named(bench: Workbench, kept: str, no_dmtcp: dict[str, str]) -> None:
    environ = {**no_dmtcp, "DMTCP_PREFIX": "/no/such/prefix"}
    line = refused(bench, 125, "--engine", "dmtcp", "--stdout", kept, "true", env=environ)
    assert "/no/such/prefix" in line
    assert "DMTCP_PREFIX" in line


@pytest.mark.parametrize("text", ["echo something else", "exit 1", "echo '(DMTCP) unknown'"])
def test_something_else_in_place_of_dmtcp_is_refused(
    bench: Workbench, kept: str, no_dmtcp: dict[str, str], tmp_path: Path, text: str
) -> None:
    environ = {**no_dmtcp, "DMTCP_PREFIX": str(tmp_path)}
    tools = [tmp_path / "bin" / f"dmtcp_{name}" for name in ("launch", "restart", "command", "coordinator")]
    for tool in tools:
        tool.write_text(f"#!/bin/sh\n{text}\n")
        tool.chmod(0o755)
    words = ["--engine", "dmtcp", "--stdout", kept, "true"]
    assert str(tools[0]) in refused(bench, 125, *words, env=environ)
    tools[0].write_text("#!/bin/sh\necho 'dmtcp_launch (DMTCP) 4.2.0'\n")
    tools[1].unlink()
    assert "dmtcp_restart" in refused(bench, 125, *words, env=environ)
    shutil.copy(tools[0], tools[1])
    assert "is incomplete: it has no mtcp_restart" in refused(bench, 125, *words, env=environ)


def test_a_dmtcp_of_another_image_format_is_refused(stopped: Workbench, one_engine: EngineHere) -> None:
    others = [engine for engine in find_dmtcp() if engine.version.split(".")[:2] != one_engine.version.split(".")[:2]]
    needs_dmtcp(one_engine)
    if not others:
        pytest.skip("takes two versions of DMTCP")
    stopped.engine = others[0]
    line = refused_resume(stopped)
    assert one_engine.version in line
    assert others[0].version in line
    assert "--fresh" in line


# ---------------------------------------------------------------------------------- what is not bad, only unusual


def test_the_null_device_is_a_file_like_others(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    streams = [word for name in ("stdin", "stdout", "stderr") for word in (f"--{name}", os.devnull)]
    done = bench.run("-q", *streams, "sh", "-c", "cat; echo answer; echo oops >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")


def test_options_after_the_program_are_the_programs(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    done = bench.run("-q", "ls", "--nonsense")
    assert done.returncode == 2
    assert done.stderr.startswith("ls: ")
    done = bench.run("-q", "sh", "-c", 'echo "$@"', "sh", "--help", "--version", "-i", "x", "--", "--job")
    assert (done.returncode, done.stdout) == (0, "--help --version -i x -- --job\n")


def test_an_option_of_ours_after_the_program_is_named(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    done = bench.run("sh", "-c", 'echo "$@"', "sh", "--stdout", "out.txt")
    assert (done.returncode, done.stdout) == (0, "--stdout out.txt\n")
    assert "--stdout stands after the program and is passed to it" in done.stderr
    assert "stands after" not in bench.run("sh", "-c", 'echo "$@"', "sh", "--", "--stdout").stderr


def test_two_dashes_end_our_options(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    done = bench.run("-q", "--", "sh", "-c", 'echo "$@"; exit 3', "sh", "--", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (3, "-- -q\n", "")


@pytest.mark.parametrize("streams", [(), ("--stdout", "out"), ("--stdin", "in", "--stdout", "out", "--stderr", "err")])
def test_hostile_words_reach_the_program_unchanged(
    bench: Workbench, one_engine: EngineHere, streams: tuple[str, ...]
) -> None:
    assert one_engine
    (bench.folder / "in").write_text("text\n")
    done = bench.run(*streams, *WRITE_WORDS, *HOSTILE_WORDS)
    assert done.returncode == 0, done.stderr
    expected = b"".join(os.fsencode(word) + b"\0" for word in HOSTILE_WORDS)
    assert (bench.folder / "words").read_bytes() == expected
    assert not (bench.folder / "x").exists()


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_program_with_a_hostile_name_runs(bench: Workbench, one_engine: EngineHere, name: str) -> None:
    assert one_engine
    program = bench.folder / name
    program.write_text("#!/bin/sh\nexit 6\n")
    program.chmod(0o755)
    assert bench.run(f"./{name}").returncode == 6
    environ = {**bench.environ, "PATH": f"{bench.folder}:{bench.environ['PATH']}"}
    assert bench.run("--stdout", "out", "--", name, env=environ).returncode == 6


TWO_LINES = """
import os, sys, time
print(sys.stdin.readline(), end="", flush=True)
while not os.path.exists("go"):
    time.sleep(0.1)
print(sys.stdin.readline(), end="", flush=True)
"""
"""A program that hands on a line, and another one once there is a file ``go``."""


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_job_in_a_folder_with_a_hostile_name_resumes(bench: Workbench, one_engine: EngineHere, name: str) -> None:
    assert one_engine
    program = bench.python("two_lines.py", TWO_LINES)
    plain, bench.folder = bench.folder, bench.folder / name / "below"
    bench.folder.mkdir(parents=True)
    (bench.folder / "in").write_text("first\nsecond\n")
    out = bench.folder / "out\n$(touch x)"
    words = ["-i", "0", "--stdin", "in", "--stdout", out.name, *program]
    process = bench.start(*words)
    wait_until(lambda: process.poll() is not None or (out.exists() and out.read_text() == "first\n"))
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 85, (bench.folder / "stderr.txt").read_text()
    (bench.folder / "go").touch()
    done = bench.run(*words)
    assert done.returncode == 0, done.stderr
    assert out.read_text() == "first\nsecond\n"
    assert not (bench.folder / "x").exists()
    assert not list(bench.temporary.iterdir())
    shutil.rmtree(bench.temporary)
    bench.folder = plain


def test_a_deleted_working_directory_is_refused(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    gone = bench.folder / "gone"
    gone.mkdir()
    line = ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", *bench.line("true")]
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=60, check=False, cwd=gone, env=bench.environ, stdin=0
    )
    assert "working directory" in complaint(done, 125)
    assert contents(bench.folder) == {}


def test_no_traceback_ever_reaches_a_person(bench: Workbench) -> None:
    done = subprocess.run([RUN, "\udcff" * 3, "\n"], capture_output=True, timeout=60, check=False, cwd=bench.folder)
    assert done.returncode == 127
    assert b"Traceback" not in done.stderr


@pytest.mark.usefixtures("one_engine")
def test_a_mirror_in_the_directory_of_the_jobs_is_refused(bench: Workbench) -> None:
    line = ["--job", "job", "true"]
    for place in (bench.jobs, bench.jobs / "job" / "mirror"):
        done = bench.run("--mirror", f"file:{place}", *line)
        assert done.returncode == 2
        assert f"--mirror file:{place} is where the job itself is" in done.stderr
    assert bench.run("--mirror", f"file:{bench.folder / 'mirror'}", *line).returncode == 0
