"""``dmtcp-ctl setup``: with the real apt where it is; package managers that cannot be had here are tiny scripts."""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
import pytest

from dmtcp_py.engine.criu.privileges import data_folder
from kit.copies import copy_modules
from kit.places import CTL
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
_CLOSED = "http://127.0.0.1:9"
"""The discard port: nothing listens there."""
_FETCH_S = 300.0
_IS_ROOT = os.geteuid() == 0
_SYSTEM_CRIU = shutil.which("criu", path=f"{_PATH}:/usr/local/sbin:/usr/local/bin")

needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt is not on this machine")
needs_no_criu = pytest.mark.skipif(_SYSTEM_CRIU is not None, reason=f"the system has a CRIU of its own: {_SYSTEM_CRIU}")
needs_root = pytest.mark.skipif(not _IS_ROOT, reason="only root makes users and gives capabilities")


class Place:
    """A home of its own, with no DMTCP in sight."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.tools = folder / "tools"
        self.tools.mkdir(parents=True)
        names = {
            name: value for name, value in os.environ.items() if not name.startswith(("DMTCP_", "LMOD_", "MODULES"))
        }
        self.environ = {
            **names,
            "PATH": f"{self.tools}:{_PATH}",
            "DMTCP_PREFIX": str(folder / "no-dmtcp"),
            "XDG_DATA_HOME": str(self.data),
        }

    @property
    def copy(self) -> Path:
        """The private copy of CRIU."""
        return self.data / "dmtcp-py/criu"

    def setup(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run ``dmtcp-ctl setup WORDS``."""
        return subprocess.run(
            [CTL, "setup", *words],
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_FETCH_S,
            check=False,
        )

    def tool(self, name: str, script: str) -> Path:
        """Put a package manager on PATH, which notes its words; return where."""
        log = self.folder / f"{name}.log"
        path = self.tools / name
        path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{shlex.quote(str(log))}\n{script}\n')
        path.chmod(0o755)
        return log


Fetched = tuple[Place, subprocess.CompletedProcess[str]]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Fetched:
    """Return a home into which CRIU was brought, and what was said of it."""
    place = Place(tmp_path_factory.mktemp("fetched"))
    done = place.setup("--engine", "criu")
    if "apt-get update:" in done.stderr:
        pytest.skip(f"apt reaches no archive: {done.stderr.splitlines()[-1]}")
    return place, done


def tree(folder: Path) -> dict[str, int]:
    """Return all that is below FOLDER, with the times of its last changes."""
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}


# ------------------------------------------------------------------------------------------------ CRIU, by real apt


@needs_apt
@needs_no_criu
def test_it_comes_with_progress_and_says_whether_it_works(fetched: Fetched) -> None:
    place, done = fetched
    assert "installed CRIU" in done.stdout
    assert str(place.copy / "criu") in done.stdout
    for step in ("1/3 reading", "2/3 fetching", "3/3 unpacking"):
        assert step in done.stderr
    works = any(line.startswith("criu ") and line.endswith(": works") for line in done.stdout.splitlines())
    assert done.returncode == (0 if works else 1), done.stdout


@needs_apt
@needs_no_criu
def test_nothing_is_left_but_the_copy(fetched: Fetched) -> None:
    place, _ = fetched
    assert {path.name for path in (place.data / "dmtcp-py").iterdir()} - {"setpriv"} == {"criu"}


@needs_apt
@needs_no_criu
def test_the_system_does_not_have_it(fetched: Fetched) -> None:
    assert fetched
    known = subprocess.run(["dpkg-query", "-s", "criu"], capture_output=True, check=False, timeout=LONG_S)
    assert known.returncode != 0


@needs_apt
@needs_no_criu
def test_it_runs_wherever_it_is_moved(fetched: Fetched, tmp_path: Path) -> None:
    moved = shutil.copytree(fetched[0].copy, tmp_path / "it's moved", symlinks=True)
    told = subprocess.run([moved / "criu", "--version"], capture_output=True, text=True, check=True, timeout=LONG_S)
    assert told.stdout.startswith("Version: ")


@needs_apt
@needs_no_criu
def test_the_second_time_nothing_is_done(fetched: Fetched) -> None:
    place, first = fetched
    before = tree(place.data)
    again = place.setup("--engine", "criu", http_proxy=_CLOSED, https_proxy=_CLOSED)
    assert again.returncode == first.returncode
    assert not again.stderr
    assert again.stdout.splitlines()[0] in first.stdout.splitlines()
    assert tree(place.data) == before


@needs_apt
@needs_no_criu
def test_json_has_the_engines_the_offers_and_what_was_done(fetched: Fetched) -> None:
    found = json.loads(fetched[0].setup("--engine", "criu", "--json").stdout)
    assert found["engines"][0]["path"] == str(fetched[0].copy / "criu")
    assert found["offers"] == found["done"] == []


@needs_apt
@needs_no_criu
def test_remove_leaves_nothing_and_can_be_said_twice(fetched: Fetched, place: Place) -> None:
    shutil.copytree(fetched[0].data, place.data, symlinks=True)
    for _ in range(2):
        assert place.setup("--remove").returncode == 0
        assert not list(place.data.iterdir())


@needs_apt
@needs_no_criu
def test_without_a_network_there_is_one_clear_line_and_nothing_half_done(place: Place) -> None:
    done = place.setup("--engine", "criu", http_proxy=_CLOSED, https_proxy=_CLOSED)
    assert done.returncode == 1
    assert not done.stdout
    last = done.stderr.splitlines()[-1]
    assert "apt-get update: " in last
    assert "127.0.0.1" in last
    assert last.endswith("nothing was changed")
    assert not (place.data / "dmtcp-py").exists()


@needs_apt
@needs_no_criu
def test_a_download_that_was_damaged_is_refused(place: Place, damaging_proxy: str) -> None:
    done = place.setup("--engine", "criu", http_proxy=damaging_proxy)
    if "1/3" in done.stderr and "from https:" in done.stderr:
        pytest.skip("the archive is reached by https: nobody between can damage it")
    if "apt-get update:" in done.stderr:
        pytest.skip(f"apt reaches no archive: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr.splitlines()[-1]
    assert "2/3" in done.stderr
    assert "3/3" not in done.stderr
    assert not (place.data / "dmtcp-py").exists()


@needs_apt
@needs_no_criu
def test_two_at_once_do_not_disturb_each_other(place: Place) -> None:
    (place.data / "dmtcp-py").mkdir(parents=True)
    with subprocess.Popen(
        ["flock", str(place.data / "dmtcp-py"), "sh", "-c", "echo held; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        done = place.setup("--engine", "criu")
        assert holder.stdin
        holder.stdin.close()
    assert done.returncode == 1
    assert "another setup is running" in done.stderr


class _Damaging(BaseHTTPRequestHandler):
    """Passes everything on, but for one byte in each package."""

    def do_GET(self) -> None:
        plain = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with plain.open(self.path, timeout=60) as answer:
                body = bytearray(answer.read())
        except urllib.error.HTTPError as error:
            error.close()
            self.send_error(error.code)
            return
        if self.path.endswith(".deb"):
            body[len(body) // 2] ^= 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@pytest.fixture
def damaging_proxy() -> Iterator[str]:
    """Run a proxy that damages packages, and give its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Damaging) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(LONG_S)


# ------------------------------------------------------------------------------------------------ an ordinary user


@pytest.fixture
def user() -> Iterator[pwd.struct_passwd]:
    """Make a user who is removed afterwards, with a home that root's pytest folder would not let him reach."""
    name = f"dpy{os.getpid()}"
    home = tempfile.mkdtemp(prefix="dmtcp-py-user-")
    subprocess.run(["useradd", "--no-create-home", "--home-dir", home, name], check=True, timeout=LONG_S)
    found = pwd.getpwnam(name)
    copy_modules(Path(home, "modules"))
    subprocess.run(["chown", "-hR", f"{found.pw_uid}:{found.pw_gid}", home], check=True, timeout=LONG_S)
    yield found
    subprocess.run(["userdel", name], check=True, timeout=LONG_S, capture_output=True)
    shutil.rmtree(home)


def as_user(user: pwd.struct_passwd, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``dmtcp-ctl`` or ``dmtcp-run`` as USER would; with the system's Python where ours is root's alone."""
    module = {"dmtcp-ctl": "dmtcp_py.cli.ctl.main", "dmtcp-run": "dmtcp_py.cli.run"}[words[0]]
    environ = {
        "HOME": user.pw_dir,
        "PATH": _PATH,
        "DMTCP_PREFIX": f"{user.pw_dir}/no-dmtcp",
        "PYTHONPATH": f"{user.pw_dir}/modules",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    python = next(
        (path for path in (sys.executable, "/usr/bin/python3") if _can_run(user, path, environ)),
        None,
    )
    if python is None:
        pytest.skip("no Python that an ordinary user can reach has what dmtcp-py needs")
    return subprocess.run(
        [python, "-c", f"from {module} import main; main()", *words[1:]],
        env=environ,
        cwd=user.pw_dir,
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_FETCH_S,
        check=False,
    )


def _can_run(user: pwd.struct_passwd, python: str, environ: dict[str, str]) -> bool:
    try:
        tried = subprocess.run(
            [python, "-c", "import dmtcp_py.engine.probe, dmtcp_py.cli.ctl.main"],
            env=environ,
            cwd=user.pw_dir,
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            capture_output=True,
            timeout=LONG_S,
            check=False,
        )
    except OSError:
        return False
    return tried.returncode == 0


@needs_root
@needs_apt
@needs_no_criu
def test_the_line_for_the_administrator_lets_an_ordinary_user_resume_with_criu(
    user: pwd.struct_passwd, fetched: Fetched
) -> None:
    if shutil.which("setcap") is None:
        pytest.skip("setcap is not installed")
    data = Path(user.pw_dir, ".local/share")
    shutil.copytree(fetched[0].data, data, symlinks=True)
    subprocess.run(["chown", "-hR", f"{user.pw_uid}:{user.pw_gid}", Path(user.pw_dir)], check=True, timeout=LONG_S)

    without = as_user(user, "dmtcp-ctl", "setup", "--engine", "criu")
    assert without.returncode == 1
    assert "CAP_SYS_ADMIN" in without.stdout
    line = without.stdout.partition("sudo ")[2].splitlines()[0]
    assert line.startswith("setcap ")
    refused = as_user(user, "dmtcp-run", "--engine", "criu", "true")
    assert refused.returncode == 125
    assert line in refused.stderr

    not_for_root = fetched[0].setup("--engine", "criu", "--json", XDG_DATA_HOME=str(data), http_proxy=_CLOSED)
    assert json.loads(not_for_root.stdout or '{"engines": [{"path": null}]}')["engines"][0]["path"] is None

    subprocess.run(shlex.split(line), check=True, timeout=LONG_S)
    given = as_user(user, "dmtcp-ctl", "setup", "--engine", "criu")
    assert given.returncode == 0, given.stdout + given.stderr
    count = "n=0; while [ $n -lt 12 ]; do n=$((n + 1)); echo $n; sleep 0.25; done; exit 7"
    script = Path(user.pw_dir, "count.sh")
    script.write_text(count)
    run = ("dmtcp-run", "--engine", "criu", "--job", "count", "--stdout", "out", "-i", "1", "sh", str(script))
    stop = threading.Thread(target=_stop_once_it_counts, args=(user,))
    stop.start()
    first = as_user(user, *run)
    stop.join()
    assert first.returncode == 85, first.stderr
    last = as_user(user, *run)
    assert last.returncode == 7, last.stderr
    assert Path(user.pw_dir, "out").read_text().split() == [str(number) for number in range(1, 13)]


def _stop_once_it_counts(user: pwd.struct_passwd) -> None:
    out = Path(user.pw_dir, "out")
    wait_until(lambda: out.exists() and out.read_text())
    as_user(user, "dmtcp-ctl", "stop", "count")


# ------------------------------------------------------------------- package managers that cannot be had here: fakes

_PREFIX = [] if _IS_ROOT else ["sudo"]
_MANAGERS = {
    "dnf": ('[ "$2" = repoquery ] && echo dmtcp-0:3.0.0-1.x86_64', [*_PREFIX, "dnf", "install", "-y", "dmtcp"]),
    "zypper": (
        'case "$*" in *search*) echo "| dmtcp | package" ;; *) false ;; esac',
        [*_PREFIX, "zypper", "--non-interactive", "install", "dmtcp"],
    ),
    "pacman": ('[ "$1" = -Si ] && echo "Name : dmtcp"', [*_PREFIX, "pacman", "-S", "--noconfirm", "dmtcp"]),
    "spack": ('[ "$1" = info ] && echo "Package: dmtcp"', ["spack", "install", "dmtcp"]),
    "conda": ('[ "$1" = search ] && echo "dmtcp 3.0.0"', ["conda", "install", "-y", "dmtcp"]),
}


each_manager = pytest.mark.parametrize("name", _MANAGERS)


@each_manager
def test_one_that_has_dmtcp_is_shown_and_not_run(place: Place, name: str) -> None:
    log = place.tool(name, f"{_MANAGERS[name][0]}\nexit 0")
    done = place.setup("--engine", "dmtcp")
    assert done.returncode == 1
    assert shlex.join(_MANAGERS[name][1]) in done.stdout
    assert "install" not in log.read_text()
    assert len(log.read_text().splitlines()) == 1


@each_manager
def test_one_is_run_on_request(place: Place, name: str) -> None:
    script, install = _MANAGERS[name]
    log = place.tool(name, f"{script}\nexit 0")
    done = place.setup("--engine", "dmtcp", "--yes")
    ran = log.read_text().splitlines()[1:]
    if install[0] == "sudo":
        assert not ran
        return
    assert ran == [shlex.join(install[1:])]
    assert f"ran {name}" in done.stdout


@each_manager
def test_one_that_does_not_have_it_is_not_shown(place: Place, name: str) -> None:
    place.tool(name, "exit 1")
    done = place.setup("--engine", "dmtcp")
    assert done.returncode == 1
    assert "to install one" not in done.stdout
    assert "no package manager here has DMTCP" in done.stderr


@each_manager
def test_one_that_fails_to_install_is_told(place: Place, name: str) -> None:
    script, install = _MANAGERS[name]
    if install[0] == "sudo":
        pytest.skip("only root runs it")
    place.tool(name, f"{script} && exit 0\nexit 3")
    done = place.setup("--engine", "dmtcp", "--yes")
    assert done.returncode == 1
    assert f"'{shlex.join(install)}' failed" in done.stderr


@pytest.mark.parametrize("variable", ["LMOD_CMD", "MODULES_CMD"])
def test_a_module_is_shown_and_never_loaded_for_the_user(place: Place, variable: str) -> None:
    place.tool("modulecmd", "printf '/opt/modules:\\nDMTCP/\\nDMTCP/3.0.0\\nDMTCP/3.2.0\\n' >&2")
    done = place.setup("--engine", "dmtcp", "--yes", **{variable: str(place.tools / "modulecmd")})
    assert done.returncode == 1
    assert "module load DMTCP/3.2.0" in done.stdout


def test_on_a_terminal_it_asks_before_it_runs_anything(place: Place) -> None:
    log = place.tool("spack", f"{_MANAGERS['spack'][0]}\nexit 0")
    child = pexpect.spawn(CTL, ["setup", "--engine", "dmtcp"], env=place.environ, encoding="utf-8", timeout=LONG_S)
    child.expect_exact("run 'spack install dmtcp && spack load dmtcp'? [y/N]")
    child.sendline("n")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1
    assert "install" not in log.read_text()


def test_an_engine_that_works_is_all_that_is_needed(place: Place, one_engine: object) -> None:
    # an ordinary user's CRIU works by the setpriv in the data folder that the administrator saw
    environ = {**getattr(one_engine, "environ", {}), "XDG_DATA_HOME": str(data_folder().parent)}
    for name in ("dnf", "spack"):
        place.tool(name, "exit 0")
    done = place.setup(**environ)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "ready; next, try your program: dmtcp-ctl rehearse -- ./program args"
    assert not done.stderr
    assert not list(place.folder.glob("*.log"))


def test_without_apt_the_way_out_is_named(place: Place) -> None:
    for name in ("sh", "true", "env"):
        (place.tools / name).symlink_to(shutil.which(name) or "/bin/sh")
    if _SYSTEM_CRIU:
        pytest.skip("the system has a CRIU of its own")
    done = place.setup("--engine", "criu", PATH=str(place.tools))
    assert done.returncode == 1
    assert "apt-get is not here" in done.stderr.splitlines()[-1]
