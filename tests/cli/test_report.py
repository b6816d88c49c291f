"""``dmtcp-ctl report``: the page in a real browser, and its figures beside those of the history."""

from __future__ import annotations

import json
import os
import resource
from typing import TYPE_CHECKING, Any

import pytest

from kit.browser import NO_BROWSER, reading
from kit.past import BEGIN, Past, three_days
from kit.waits import LONG_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from kit.bench import Workbench
    from kit.browser import Reader

JOB = "simulate-1b0c7a52"
WIDTHS = (320, 820, 1400)
MANY = 1000
MOST_S = 2.0

_CONTRASTS = """() => {
  const light = text => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const back = node => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if (!color.endsWith(', 0)')) return color;
    }
  };
  const found = [];
  for (const node of document.querySelectorAll('header *, main *, footer *')) {
    const own = [...node.childNodes].some(one => one.nodeType === 3 && one.textContent.trim());
    if (!own || node.closest('title')) continue;
    const style = getComputedStyle(node), color = node.closest('svg') ? style.fill : style.color;
    const pair = [light(color), light(back(node))].sort((one, other) => other - one);
    found.push((pair[0] + 0.05) / (pair[1] + 0.05));
  }
  return found;
}"""


@pytest.fixture
def past(bench: Workbench) -> Past:
    """Return a job that finished after three days."""
    return three_days(bench.jobs / JOB).computes(900).ends("finished").write("finished", status=0)


@pytest.fixture
def reader() -> Iterator[Reader]:
    """Start a browser; at the end it must have had nothing to complain about, and asked for nothing but the pages."""
    with reading() as reader:
        yield reader
        assert reader.complaints == []
        assert all(url.startswith("file:///") and url.endswith(".html") for url in reader.requests)


def figures_of(bench: Workbench, *words: str) -> dict[str, Any]:
    """Return what ``report --json`` prints of a job."""
    done = bench.ctl("report", *words, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def written(bench: Workbench, *words: str) -> Path:
    """Write a page, and return where it is."""
    done = bench.ctl("report", *words, env={**bench.environ, "TZ": "UTC"})
    assert done.returncode == 0, done.stderr
    return bench.folder / done.stdout.splitlines()[-1].removesuffix(" is written")


def shown(page: Page) -> dict[str, float]:
    """Return the figures of the page, by what stands above them."""
    pairs = page.locator("dl.figures > div").evaluate_all(
        "all => all.map(one => [one.querySelector('dt').textContent, Number(one.querySelector('data').value)])"
    )
    return dict(pairs)


@NO_BROWSER
def test_the_figures_on_the_page_are_those_of_the_history(bench: Workbench, past: Past, reader: Reader) -> None:
    page = reader.open(written(bench, JOB))
    generations = [line for line in past.lines if "size" in line]
    pauses_s = sum(line["checkpoint_s"] for line in generations)
    lost_s = 1500 + 700 + 60
    computed_s = 41 * 1790 - 590 + 12 * 1800 + 1800 + 1800 + 20 * 1800 + 30 * 1800 + 900
    assert shown(page) == pytest.approx(
        {
            "Computed": computed_s,
            "Survived": computed_s / (computed_s + lost_s),
            "Lost": lost_s,
            "Checkpoints": len(generations),
            "Overhead": pauses_s / (computed_s + lost_s + pauses_s),
            "In the queue": 8 * 3600 + 2,
            "Attempts": 4,
            "On disk": 2 * past.size,
        },
        abs=0.01,
    )
    assert page.locator("#verdict > *").all_inner_texts() == [
        "✓ All is well",
        "The program exited with status 0.",
        "2d04h of 2d05h of computing survived 4 interruptions.",
    ]
    assert page.locator(".troubles li").all_inner_texts() == [
        "2026-03-03 20:47:08attempt 2 was killed; last heard of at 03-03 18:47:08",
        "2026-03-03 21:29:18engine failed: the coordinator is gone",
        "2026-03-03 21:59:36checkpoint failed: 1.2 GB are free in /scratch and the images take about 2 GB",
        "2026-03-04 08:04:36killed by SIGTERM",
    ]
    assert "--interval auto, --keep 2" in page.locator(".facts").inner_text()


@NO_BROWSER
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_at_any_width_and_in_print(bench: Workbench, past: Past, reader: Reader, scheme: str) -> None:
    assert past.generation > 100
    path = written(bench, JOB)
    for width in WIDTHS:
        page = reader.open(path, width=width, scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.evaluate(
            "[...document.querySelectorAll('.scroll')].every(one => one.scrollWidth <= one.clientWidth)"
        )
        assert min(page.evaluate(_CONTRASTS)) >= 4.5
        is_dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 27)"
        assert is_dark == (scheme == "dark")
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        page.close()


@NO_BROWSER
def test_it_is_used_by_keyboard_and_heard(bench: Workbench, past: Past, reader: Reader) -> None:
    page = reader.open(written(bench, JOB))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.locator("summary").focus()
    assert not page.get_by_role("row", name=str(past.generation)).first.is_visible()
    page.keyboard.press("Enter")
    assert page.get_by_role("row", name=str(past.generation)).first.is_visible()
    assert page.get_by_role("img", name="Timeline from 2026-03-02 08:00:00 to").is_visible()
    assert page.get_by_role("heading", level=1).inner_text() == JOB
    assert page.get_by_role("region", name="Attempts").get_by_role("row").count() == 1 + 5
    unnamed = "[...document.querySelectorAll('svg')].filter(one => !one.closest('[role=img], [aria-hidden]')).length"
    assert page.evaluate(unnamed) == 0


@NO_BROWSER
def test_names_and_words_of_a_job_are_text(bench: Workbench, reader: Reader) -> None:
    past = Past(bench.jobs / JOB)
    past.starts(host="<i>node</i>").computes(5).ends("signalled", status=143, detail="<script>alert(1)</script>&amp;")
    past.write("signalled", status=143)
    (past.folder / "job.json").write_text(
        json.dumps({**json.loads((past.folder / "job.json").read_text()), "command": ["./a", "</style><img src=x>"]})
    )
    page = reader.open(written(bench, JOB))
    assert page.locator("img, script, i").count() == 0
    assert "<script>alert(1)</script>&amp;" in page.locator(".troubles").inner_text()
    assert "</style><img src=x>" in page.locator(".facts").inner_text()


@NO_BROWSER
def test_a_page_on_all_jobs_begins_with_the_worst(bench: Workbench, past: Past, reader: Reader) -> None:
    three_days(bench.jobs / "killed").computes(900).write("running")
    os.utime(bench.jobs / "killed" / "lock", (BEGIN.timestamp(), BEGIN.timestamp()))
    full = three_days(bench.jobs / "full").ends("out-of-time", status=125, detail="no space left")
    full.write("out of time", status=125)
    page = reader.open(written(bench, "--all"), width=320)
    assert page.title() == "3 jobs in .dmtcp-run"
    assert page.locator("tbody th").all_inner_texts() == ["full", "killed", JOB]
    assert page.locator("#verdict > *").all_inner_texts() == ["✗ Problem", "1 well, 1 to look at, 1 with a problem."]
    assert page.locator("tbody td:nth-child(2)").all_inner_texts() == [
        "✗ out of time: no space left",
        "! not running: killed",
        "✓ finished",
    ]
    found = json.loads(bench.ctl("report", "--all", "--json").stdout)
    sums = {name: sum(one["figures"][name] for one in found) for name in ("computed_s", "lost_s", "size")}
    assert shown(page) == pytest.approx({**shown(page), "Computed": sums["computed_s"], "Lost": sums["lost_s"]})
    assert past.generation == found[2]["figures"]["checkpoints"]
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_what_a_crash_took_is_what_the_program_did_after_the_checkpoint(bench: Workbench, one_engine: object) -> None:
    """On a real job: killed beyond its second generation, resumed, and finished."""
    assert one_engine
    line = ["--job", JOB, "-i", "1", "--stdout", "out.txt", *bench.counting(60, pause=0.1)]
    bench.crash(line)
    dead = figures_of(bench, JOB)
    assert dead["level"] == "warning"
    assert dead["findings"][0]["finding"].startswith("not running: killed")
    assert bench.run(*line).returncode == 0
    found = figures_of(bench)
    started, resumed = [one for one in bench.history if one["event"] in ("started", "resumed")]
    figures, generations = found["figures"], [one for one in bench.history if "size" in one]
    (ended,) = [one for one in bench.history if one["event"] == "finished"]
    assert found["findings"] == [
        {"about": "job", "level": "ok", "finding": "the program exited with status 0", "hint": ""}
    ]
    assert (figures["interruptions"], figures["attempts"], figures["checkpoints"]) == (1, 2, len(generations))
    assert figures["checkpoints_s"] == pytest.approx(sum(one["checkpoint_s"] for one in generations))
    computed_s = _computed_s(generations, resumed, ended)
    assert figures["computed_s"] == pytest.approx(computed_s, abs=0.01)
    assert found["computed_s"] == pytest.approx(computed_s, abs=0.1)
    assert figures["lost_s"] == pytest.approx(dead["figures"]["lost_s"], abs=0.2)
    assert 0 < resumed["took_s"] < LONG_S
    assert started["options"] == resumed["options"] == found["options"]
    assert {"interval_s": 1.0, "keep": 2, "stdout": "out.txt"}.items() <= found["options"].items()
    assert [one["end"] for one in found["lives"]] == ["killed", "finished with status 0"]


def _computed_s(generations: list[dict[str, Any]], resumed: dict[str, Any], ended: dict[str, Any]) -> float:
    """Return how long the program computed until the generation that was resumed, and from there to its end."""
    (kept,) = [one for one in generations if one["generation"] == resumed["generation"]]
    before = [one for one in generations if one["epoch"] == 1 and one["generation"] < kept["generation"]]
    after = [one for one in generations if one["epoch"] == 2]
    return float(kept["ran_s"] + ended["ran_s"] - sum(one["checkpoint_s"] for one in before + after))


def test_a_thousand_jobs_take_less_than_two_seconds(bench: Workbench) -> None:
    past = three_days(bench.jobs / "job-0000").computes(900).ends("finished")
    for number in range(MANY):
        past.folder = bench.jobs / f"job-{number:04}"
        past.write("finished", status=0)
    # what else runs on the machine can only make it slower
    took_s = [_cpu_s(lambda: written(bench, "--all")) for _ in range(3)]
    assert min(took_s) < MOST_S
    text = (bench.folder / "report.html").read_text()
    assert text.count('<th scope="row">job-') == MANY


def _cpu_s(call: Callable[[], object]) -> float:
    """Return the time on processors that what CALL starts takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    call()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime


def test_it_says_where_it_was_written_and_where_it_cannot_be(bench: Workbench, past: Past) -> None:
    assert written(bench, JOB[:3]).name == f"report-{past.folder.name}.html"
    assert written(bench, "-o", "here.html") == bench.folder / "here.html"
    assert bench.ctl("report", "-o", "-").stdout.startswith("<!DOCTYPE html>")
    refused = bench.ctl("report", "-o", "not/here.html")
    assert (refused.returncode, refused.stderr) == (
        1,
        "dmtcp-ctl: not/here.html cannot be written: No such file or directory; name another file with -o\n",
    )
    assert bench.ctl("report", "other").returncode == 10
    both = bench.ctl("report", JOB, "--all")
    assert (both.returncode, both.stderr) == (
        2,
        "dmtcp-ctl: --all is for all jobs: leave JOB out; see 'dmtcp-ctl --help'\n",
    )


def test_a_damaged_job_has_a_page_too(bench: Workbench, past: Past) -> None:
    (past.folder / "job.json").write_text("{")
    found = figures_of(bench, JOB)
    assert (found["level"], found["figures"]["checkpoints"]) == ("problem", 0)
    assert "cannot be read" in found["findings"][0]["finding"]
    assert "cannot be read" in written(bench, JOB).read_text()


@pytest.mark.usefixtures("past")
def test_the_terminal_shows_whether_all_is_well_and_what_survived(bench: Workbench) -> None:
    lines = bench.ctl("report", JOB).stdout.splitlines()
    assert lines == [
        f"job {JOB}: the program exited with status 0",
        "2d04h computed and kept, 37m lost; resumed 4 times; checkpoints took 0.6% of the time",
        f"report-{JOB}.html is written",
    ]
