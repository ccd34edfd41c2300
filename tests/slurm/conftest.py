"""One cluster per session, on which the scenarios of all selected tests run concurrently.

Tests marked `slow` are deselected unless ISOCLOCK_SLOW=1, which `make test-slurm` sets.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "workflow"))  # clone.py

import accounting
from clone import Clone
from installation import PACKAGES, PROGRAMS, obstacle
from scenario import LIMIT_S, PATIENCE_S, OnCluster
from studies import make_clone, make_taught, train_undisturbed

from cluster import Cluster

AT_ONCE = 5  # scenarios; with more of them, jobs only start later


def pytest_configure(config: pytest.Config) -> None:
    description = "what happens on the cluster before the test; with `fresh`, to a study without results"
    config.addinivalue_line("markers", f"scenario(play, fresh, long): {description}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("ISOCLOCK_SLOW") == "1":
        return
    here = Path(__file__).parent
    slow = [item for item in items if here in item.path.parents and item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A real SLURM. Without one the test is skipped, or fails under CI=true."""
    yield from _cluster(obstacle())


@pytest.fixture
def on_the_cluster(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process use the cluster."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def forgetful() -> Iterator[Cluster]:
    """A second cluster, which lists a job for one minute after its end."""
    yield from _cluster(obstacle(), remembers_s=60)


@pytest.fixture(scope="session")
def accounted() -> Iterator[Cluster]:
    """A cluster with an accounting database."""
    packages, programs = (*PACKAGES, *accounting.PACKAGES), (*PROGRAMS, *accounting.PROGRAMS)
    yield from _cluster(obstacle(packages, programs), accounts=True)


def _cluster(reason: str | None, *, accounts: bool = False, remembers_s: int = 3600) -> Iterator[Cluster]:
    if reason is None:
        # Not pytest's own folder: a socket's path may have 107 characters.
        folder = Path(tempfile.mkdtemp(prefix="isoclock-slurm-"))
        try:
            running = Cluster.up(folder, accounts=accounts, remembers_s=remembers_s)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            reason = str(error)
        else:
            yield running
            running.down()
            return
    message = f"no SLURM cluster can be brought up here: {reason}"
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"{message} (under CI=true this is a failure)")
    pytest.skip(message)


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A study in which only students are left to train."""
    return make_taught(tmp_path_factory.mktemp("slurm") / "taught")


@pytest.fixture(scope="session")
def scenarios(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[OnCluster]]]:
    """The scenarios of all tests of this session, running."""
    marks = [mark for item in request.session.items for mark in item.iter_markers("scenario")]
    marks.sort(key=lambda mark: not mark.kwargs.get("long", False))  # these first: all others run in the meantime
    folder = tmp_path_factory.mktemp("scenarios")
    pool = ThreadPoolExecutor(AT_ONCE)
    running: dict[str, Future[OnCluster]] = {}

    def begin(make: Callable[[Path], Clone], *, fresh: bool) -> None:
        for mark in marks:
            play = mark.kwargs["play"]
            if mark.kwargs.get("fresh", False) == fresh and play.__name__ not in running:
                where = request.getfixturevalue("accounted") if mark.kwargs.get("accounts", False) else cluster
                running[play.__name__] = pool.submit(perform, play, make, where)

    def perform(play: Callable[[OnCluster], None], make: Callable[[Path], Clone], where: Cluster) -> OnCluster:
        study = OnCluster(make(folder / play.__name__), where)
        play(study)
        return study

    begin(make_clone, fresh=True)
    if any(not mark.kwargs.get("fresh", False) for mark in marks):
        begin(request.getfixturevalue("taught").copy, fresh=False)
    yield running
    pool.shutdown(cancel_futures=True)


@pytest.fixture
def played(request: pytest.FixtureRequest, scenarios: dict[str, Future[OnCluster]]) -> OnCluster:
    """The study of the test's scenario, after it. Fails as the scenario did."""
    mark = request.node.get_closest_marker("scenario")
    assert mark is not None
    return scenarios[mark.kwargs["play"].__name__].result(timeout=LIMIT_S + 2 * PATIENCE_S)


@pytest.fixture(scope="session")
def undisturbed(
    taught: Clone, scenarios: dict[str, Future[OnCluster]], tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Digest of the weights of `kd`, trained in one go, while the scenarios run."""
    return train_undisturbed(taught, tmp_path_factory.mktemp("undisturbed"))
