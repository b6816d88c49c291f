"""Help, manual pages and completion, which are all made from the commands themselves."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import click
import pytest

from dmtcp_py.cli import man
from dmtcp_py.cli.ctl.main import command as ctl
from dmtcp_py.cli.run import command as run
from dmtcp_py.cli.sections import SectionedCommand, SectionedGroup
from kit.places import CTL, REPOSITORY, RUN

if TYPE_CHECKING:
    from kit.bench import Workbench

_EXAMPLES = 3


def test_each_option_and_command_has_its_section() -> None:
    assert isinstance(run, SectionedCommand)
    assert isinstance(ctl, SectionedGroup)
    named = {name for _, names in run.sections for name in names} | {"version"}
    assert {one.name for one in run.params if isinstance(one, click.Option) and not one.hidden} == named
    assert sorted(name for _, names in ctl.sections for name in names) == sorted(ctl.commands)


@pytest.mark.parametrize("command", [run, ctl, *ctl.commands.values()], ids=lambda command: str(command.name))
def test_each_help_has_three_examples(command: click.Command) -> None:
    _, found, examples = (command.epilog or "").partition("Examples:\n")
    assert found
    lines = examples.partition("\n\n")[0].splitlines()
    assert len([line for line in lines if "dmtcp-" in line]) == _EXAMPLES


def test_without_a_command_the_help_is_printed_in_its_lines() -> None:
    asked = subprocess.run([CTL, "--help"], capture_output=True, text=True, check=True, timeout=60)
    done = subprocess.run([CTL], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (2, asked.stdout)


@pytest.mark.parametrize("name", man.COMMANDS)
def test_the_manual_page_is_that_of_the_command(name: str) -> None:
    """``make man`` writes it."""
    found = (REPOSITORY / "share/man/man1" / f"{name}.1").read_text(encoding="utf-8")
    assert found == man.page(name, man.COMMANDS[name])


@pytest.mark.parametrize("name", man.COMMANDS)
def test_a_manual_page_is_shown_without_a_warning(name: str) -> None:
    if shutil.which("groff") is None:
        pytest.skip("there is no groff here")
    line = ["groff", "-man", "-Tutf8", "-ww", REPOSITORY / "share/man/man1" / f"{name}.1"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""


def completed(bench: Workbench, line: str) -> list[str]:
    """Return what bash completes at the end of LINE."""
    words = line.split(" ")
    script = (
        f'eval "$({CTL} completion bash)"; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; '
        f"_{words[0].replace('-', '_')}_completion {words[0]} 2>/dev/null; "
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    environ = {**bench.environ, "PATH": f"{RUN.rpartition('/')[0]}:{bench.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], env=environ, cwd=bench.folder, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout.split()


def test_bash_completes_jobs_options_and_programs(bench: Workbench) -> None:
    for name in ("simulate-1", "sweep-2", "other"):
        (bench.jobs / name).mkdir(parents=True)
        (bench.jobs / name / "job.json").touch()
    assert completed(bench, "dmtcp-ctl stop s") == ["simulate-1", "sweep-2"]
    assert completed(bench, "dmtcp-ctl --dir .dmtcp-run status o") == ["other"]
    assert completed(bench, "dmtcp-ctl reh") == ["rehearse"]
    assert completed(bench, "dmtcp-run --accept-changed-f") == ["--accept-changed-files"]
    assert "python3" in completed(bench, "dmtcp-run pytho")
