"""Fixtures: real clusters, one a module and one a test with options of its own, clean after every test."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kit.cluster import Cluster, why_not, why_not_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    Start: TypeAlias = Callable[..., Cluster]

ORDINARY = "nobody"


@pytest.fixture(scope="module")
def _start_shared() -> Iterator[Start]:
    """Start clusters that live until the module's last test: later ones with the same options are the same one."""
    shared: dict[str | None, Cluster] = {}
    with ExitStack() as stack:

        def start(user: str | None) -> Cluster:
            if user not in shared:
                shared[user] = _start(stack, user=user)
            return shared[user]

        yield start


@pytest.fixture
def cluster(_start_shared: Start) -> Iterator[Cluster]:
    """Give a cluster of two nodes, of the user who runs the tests."""
    cluster = _start_shared(None)
    yield cluster
    _clean(cluster)


@pytest.fixture(params=[pytest.param(None, id="me"), pytest.param(ORDINARY, id="ordinary")])
def any_user_cluster(request: pytest.FixtureRequest, _start_shared: Start) -> Iterator[Cluster]:
    """Give a cluster of two nodes: of the user who runs the tests, and, where that is root, of an ordinary one."""
    cluster = _start_shared(request.param)
    yield cluster
    _clean(cluster)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Give a folder whose name is short enough for the sockets of a cluster."""
    with ExitStack() as stack:
        yield _make_folder(stack)


@pytest.fixture
def make_cluster() -> Iterator[Start]:
    """Start a cluster for this test alone, with the arguments of ``Cluster``."""
    started = []
    with ExitStack() as stack:

        def start(**options: object) -> Cluster:
            started.append(_start(stack, **options))
            return started[-1]

        yield start
        for cluster in started:
            _clean(cluster)


def _start(stack: ExitStack, **options: object) -> Cluster:
    user = options.get("user")
    if reason := why_not() or (why_not_as(str(user)) if user else ""):
        pytest.skip(reason)
    cluster = Cluster(_make_folder(stack), **options)  # type: ignore[arg-type]
    stack.callback(cluster.close)
    cluster.start()
    return cluster


def _make_folder(stack: ExitStack) -> Path:
    # not below pytest's own folder, which only one user may enter and whose name may be too long for a socket
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    stack.callback(shutil.rmtree, folder)
    return folder


def _clean(cluster: Cluster) -> None:
    left = cluster.cancel_all()
    assert not left, f"jobs left processes behind: {left}"
