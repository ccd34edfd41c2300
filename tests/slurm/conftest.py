"""One cluster per session, on which the scenarios of all selected tests run concurrently.

Tests marked `slow` are deselected unless ISOCLOCK_SLOW=1, which `make test-slurm` sets.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "workflow"))  # clone.py

import accounting
from clone import Clone
from installation import PACKAGES, PROGRAMS, obstacle, refuse
from scenario import OnCluster
from studies import make_clone, make_taught, train_undisturbed
from timing import AT_ONCE, COMMAND_S, limit_s

from cluster import Cluster


def pytest_configure(config: pytest.Config) -> None:
    arguments = "play, jobs, waits_s, fresh, long, where"
    config.addinivalue_line(
        "markers", f"scenario({arguments}): what happens on a cluster before the test; see conftest.py"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    if os.environ.get("ISOCLOCK_SLOW") != "1":
        slow = [item for item in here if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in set(slow)]
    # A test waits for its scenario, which waits for others; the first one also waits until a cluster is up and a study made.
    limits = {mark.kwargs["play"]: _limit_s(mark) for item in here for mark in item.iter_markers("scenario")}
    together_s = sum(limits.values()) / AT_ONCE + max(limits.values(), default=0)
    for item in here:
        scenario = item.get_closest_marker("scenario")
        item.add_marker(pytest.mark.timeout(limit_s(3, 4 * COMMAND_S) + (together_s if scenario else 0)))


def _limit_s(scenario: pytest.Mark) -> float:
    """How long a scenario may take: for its `jobs`, one after another, and `waits_s` for time limits, leases and the like."""
    return limit_s(scenario.kwargs.get("jobs", 2), scenario.kwargs.get("waits_s", 120))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A real SLURM. Without one the test is skipped or fails; see `refuse`."""
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
def interrupted() -> Iterator[Cluster]:
    """A cluster for one scenario, which stops its controller."""
    yield from _cluster(obstacle())


@pytest.fixture(scope="session")
def accounted() -> Iterator[Cluster]:
    """A cluster with an accounting database, which enforces limits of associations and of QOS."""
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
    refuse(reason)


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A study in which only students are left to train."""
    return make_taught(tmp_path_factory.mktemp("slurm") / "taught")


@pytest.fixture(scope="session")
def scenarios(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
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
                where = request.getfixturevalue(mark.kwargs.get("where", "cluster"))
                running[play.__name__] = pool.submit(perform, play, make, where, _limit_s(mark))

    def perform(
        play: Callable[[OnCluster], None], make: Callable[[Path], Clone], where: Cluster, limit_s: float
    ) -> OnCluster:
        study = OnCluster(make(folder / play.__name__), where, deadline=time.monotonic() + limit_s)
        play(study)
        return study

    make_copy = None
    if any(not mark.kwargs.get("fresh", False) for mark in marks):
        # Before the scenarios: these train in this process, whose loader processes would inherit the pipes of commands that
        # threads are starting just then, and the threads would wait for the end of the loader processes.
        make_copy = request.getfixturevalue("taught").copy
        request.getfixturevalue("undisturbed")
    begin(make_clone, fresh=True)
    if make_copy is not None:
        begin(make_copy, fresh=False)
    yield running
    pool.shutdown(wait=False, cancel_futures=True)  # what still runs ends with its cluster


@pytest.fixture
def played(request: pytest.FixtureRequest, scenarios: dict[str, Future[OnCluster]]) -> OnCluster:
    """The study of the test's scenario, after it. Fails as the scenario did."""
    mark = request.node.get_closest_marker("scenario")
    assert mark is not None
    return scenarios[mark.kwargs["play"].__name__].result()  # ends within its limit


@pytest.fixture(scope="session")
def undisturbed(taught: Clone, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of the weights of `kd`, trained in one go."""
    return train_undisturbed(taught, tmp_path_factory.mktemp("undisturbed"))
