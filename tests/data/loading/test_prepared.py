"""A prepared data set, opened for training."""

from __future__ import annotations

import json

import pytest

from isoclock.data.loading.prepared import PreparedData
from isoclock.errors import ArtifactError
from tiny_study import TinyStudy


def test_an_index_without_a_training_split_is_refused(prepared_study: TinyStudy) -> None:
    path = prepared_study.layout.prepared_index("streets")
    assert PreparedData.open(path.parent).images == {"labelled": 5, "unlabelled": 0}
    content = json.loads(path.read_text())
    del content["splits"]["train"]
    path.write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match=r"index.json: splits.train: missing; run `isoclock prepare streets` again"):
        PreparedData.open(path.parent)
