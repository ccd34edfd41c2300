import pytest
from results_tree import ResultsTree, whole_study


@pytest.fixture
def tree(tmp_path):
    return ResultsTree(tmp_path / "results")


@pytest.fixture(scope="session")
def study_tree(tmp_path_factory):
    """A whole study; read only."""
    return whole_study(tmp_path_factory.mktemp("study") / "results")
