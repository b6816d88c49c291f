"""Engines that another package brings: a small real one, made here of one of ours, registered or named on the line."""

from __future__ import annotations

import shutil
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

SITE = """
import sys
from dmtcp_py.engine.{family}.engine import {base}

class SiteEngine({base}):
    name = "site"

    def version(self):
        return "1.0 with " + super().version()

    def refusal(self, program):
        return "the site does not want it" if program.name == "false" else super().refusal(program)

    def refusal_of_nodes(self):
        return "it takes one node"

    def launch(self, launch):
        print("site engine: launch", file=sys.stderr)
        return super().launch(launch)

    def restart(self, restart):
        print("site engine: restart", file=sys.stderr)
        return super().restart(restart)

class NoEngine:
    @classmethod
    def find(cls):
        return cls()

class Absent(SiteEngine):
    @classmethod
    def find(cls):
        raise FileNotFoundError("/opt/site/bin/tool")

class Ours(SiteEngine):
    name = "criu"
"""
BASE = {"dmtcp": "DmtcpEngine", "criu": "CriuEngine"}


@dataclass(frozen=True)
class Site:
    """A folder with the package of a site, and how its lines are typed."""

    folder: Path
    bench: Workbench

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a line that finds the package."""
        return {**self.bench.environ, "PYTHONPATH": str(self.folder)}

    def register(self, package: str, **engines: str) -> None:
        """Install PACKAGE, with ENGINES by name, as pip leaves it behind."""
        info = self.folder / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in engines.items()]
        (info / "entry_points.txt").write_text("\n".join(["[dmtcp_py.engines]", *lines, ""]))

    def refused(self, status: int, *words: str) -> str:
        """Return what is said of a line that starts nothing."""
        done = self.bench.run(*words, "touch", "started", env=self.environ)
        assert done.returncode == status, done.stderr
        assert not (self.bench.folder / "started").exists()
        assert len(done.stderr.splitlines()) == 1, done.stderr
        return done.stderr


def make_site(bench: Workbench, engine: EngineHere) -> Site:
    folder = bench.folder.parent / "site"
    folder.mkdir()
    (folder / "site_engine.py").write_text(SITE.format(family=engine.name, base=BASE[engine.name]))
    # what asks for the engine is the test's own matter
    bench.engine = replace(engine, options=())
    return Site(folder, bench)


@pytest.fixture
def site(bench: Workbench, engine: EngineHere) -> Site:
    return make_site(bench, engine)


@pytest.fixture
def one_site(bench: Workbench, one_engine: EngineHere) -> Site:
    return make_site(bench, one_engine)


def is_killed_and_finishes(site: Site, *asks: str) -> None:
    """Stop a program under the site's engine, go on with the same line, compare with an uninterrupted run."""
    bench = site.bench
    program = bench.counting(40)
    plain = bench.start_plain(*program)
    line = [*asks, "--job", "job", "--stdout", "out.txt", "-i", "0", *program]
    first = bench.start(*line, env=site.environ)
    bench.wait_lines(8, first)
    first.send_signal(signal.SIGTERM)
    assert first.wait(120) == 85
    assert bench.manifest["engine"] == "site"
    assert bench.manifest["engine_version"].startswith("1.0 with ")
    assert bench.run(*line, env=site.environ, stderr=None).returncode == 0
    assert plain.wait(120) == 0
    bench.assert_same("out.txt")
    assert bench.events.count("resumed") == 1


def test_a_registered_engine_is_asked_for_by_its_name_and_resumes_what_it_made(site: Site) -> None:
    site.register("site-engine", site="site_engine:SiteEngine")
    is_killed_and_finishes(site, "--engine", "site")


def test_an_engine_that_is_not_installed_is_named_on_the_line(one_site: Site) -> None:
    is_killed_and_finishes(one_site, "--engine-plugin", "site_engine:SiteEngine")


def test_it_is_the_plugin_that_starts_the_program_and_brings_it_up(one_site: Site) -> None:
    one_site.register("site-engine", site="site_engine:SiteEngine")
    bench = one_site.bench
    line = ["--engine", "site", "--stdout", "out.txt", "-i", "0", *bench.counting(30)]
    first = bench.start(*line, env=one_site.environ)
    bench.wait_lines(3, first)
    first.send_signal(signal.SIGTERM)
    assert first.wait(120) == 85
    assert "site engine: launch" in (bench.folder / "stderr.txt").read_text()
    again = bench.run(*line, env=one_site.environ)
    assert again.returncode == 0
    assert "site engine: restart" in again.stderr
    assert "with site 1.0 with" in again.stderr


def test_a_generation_whose_engine_is_no_longer_installed_is_kept_and_refused(one_site: Site) -> None:
    one_site.register("site-engine", site="site_engine:SiteEngine")
    bench = one_site.bench
    line = ["--stdout", "out.txt", "-i", "0", *bench.counting(300)]
    first = bench.start("--engine", "site", *line, env=one_site.environ)
    bench.wait_lines(3, first)
    first.send_signal(signal.SIGTERM)
    assert first.wait(120) == 85
    shutil.rmtree(one_site.folder)
    refused = bench.run(*line)
    assert refused.returncode == 125
    assert "there is no engine 'site' here" in refused.stderr
    assert "--engine-plugin" in refused.stderr
    assert bench.generations == [1]


def test_auto_takes_no_plugin(one_site: Site) -> None:
    one_site.register("site-engine", site="site_engine:SiteEngine")
    done = one_site.bench.run("-i", "0", "true", env=one_site.environ)
    assert done.returncode == 0
    assert "site" not in done.stderr


def test_what_the_plugin_refuses_is_refused(one_site: Site) -> None:
    one_site.register("site-engine", site="site_engine:SiteEngine")
    done = one_site.bench.run("--engine", "site", "false", env=one_site.environ)
    assert done.returncode == 125
    assert "the site does not want it" in done.stderr


def test_an_unknown_engine_is_wrong_usage_and_the_known_are_listed(one_site: Site) -> None:
    one_site.register("site-engine", site="site_engine:SiteEngine")
    said = one_site.refused(2, "--engine", "teleport", "--allow-unprotected")
    assert "auto, dmtcp, criu, site" in said


def test_a_plugin_that_is_not_written_as_module_and_class_is_wrong_usage(one_site: Site) -> None:
    for text in ("site_engine", "site_engine:", ":SiteEngine", "./site_engine.py:SiteEngine", "a b:c"):
        assert "MODULE:CLASS" in one_site.refused(2, "--engine-plugin", text)


def test_an_engine_and_another_plugin_are_wrong_usage(one_site: Site) -> None:
    said = one_site.refused(2, "--engine", "dmtcp", "--engine-plugin", "site_engine:SiteEngine")
    assert "two engines" in said


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        ("nowhere:Engine", "No module named 'nowhere'"),
        ("site_engine:Nothing", "has no attribute 'Nothing'"),
        ("site_engine:NoEngine", "it has no name, doubt, launch, refusal, refusal_of_nodes, restart, version"),
        ("site_engine:Absent", "/opt/site/bin/tool"),
        ("site_engine:Ours", "calls itself 'criu'"),
    ],
)
def test_a_plugin_that_is_no_engine_says_why(one_site: Site, plugin: str, reason: str) -> None:
    said = one_site.refused(125, "--engine-plugin", plugin)
    assert plugin in said
    assert reason in said


def test_an_engine_registered_under_another_name_than_its_own_is_refused(one_site: Site) -> None:
    one_site.register("site-engine", elsewhere="site_engine:SiteEngine")
    assert "registered as 'elsewhere'" in one_site.refused(125, "--engine", "elsewhere")


def test_two_packages_with_one_name_are_both_told(one_site: Site) -> None:
    one_site.register("site-engine", site="site_engine:SiteEngine")
    one_site.register("other-engine", site="site_engine:Absent")
    said = one_site.refused(125, "--engine", "site")
    assert "site_engine:SiteEngine" in said
    assert "site_engine:Absent" in said


def test_our_own_names_stay_ours(one_site: Site) -> None:
    one_site.register("site-engine", dmtcp="site_engine:Absent", criu="site_engine:Absent", auto="site_engine:Absent")
    done = one_site.bench.run("-i", "0", "true", env=one_site.environ)
    assert done.returncode == 0


def test_srun_is_a_plugins_own_matter(one_site: Site) -> None:
    one_site.register("site-engine", site="site_engine:SiteEngine")
    srun = one_site.folder / "srun"
    srun.write_text("#!/bin/sh\necho was started\n")
    srun.chmod(0o755)
    bench = one_site.bench
    assert bench.run("-i", "0", str(srun), env=one_site.environ).returncode == 125
    done = bench.run("--engine", "site", "-i", "0", str(srun), env=one_site.environ)
    assert (done.returncode, done.stdout) == (0, "was started\n")
