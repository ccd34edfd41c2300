import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoclock.scoring.confusion import IGNORE, reference_confusion_matrix
from isoclock.scoring.metrics import heading, mean_class_accuracy, measure, metrics, miou, pixel_accuracy


def test_every_metric_has_a_title_and_a_docstring():
    assert list(metrics()) == ["miou", "mean_class_accuracy", "pixel_accuracy"]
    for name, metric in metrics().items():
        assert metric.__doc__
        assert heading(name) == f"{metric.TITLE} %"
    assert heading("removed") == "removed %"


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), num_classes=st.integers(1, 12), ignored=st.sampled_from([0.0, 0.3, 0.9]))
def test_metrics_are_those_of_the_label_maps(seed, num_classes, ignored):
    """Each metric against its definition on pixels, without a confusion matrix."""
    draws = np.random.default_rng(seed)
    truth, prediction = (draws.choice(draws.integers(0, num_classes, 3), (5, 7)).astype(np.uint8) for _ in range(2))
    truth[draws.random(truth.shape) < ignored] = IGNORE
    found = measure(reference_confusion_matrix(truth, prediction, num_classes))
    scored = truth != IGNORE
    if not scored.any():
        assert set(found.values()) == {None}
        return
    hit = truth == prediction
    present = np.unique(truth[scored])
    either = np.union1d(present, prediction[scored])
    union = {k: ((truth == k) | (prediction == k)) & scored for k in either}
    assert found["pixel_accuracy"] == pytest.approx(hit[scored].mean())
    assert found["mean_class_accuracy"] == pytest.approx(np.mean([hit[truth == k].mean() for k in present]))
    assert found["miou"] == pytest.approx(np.mean([(hit & union[k])[union[k]].mean() for k in either]))


def test_a_class_that_is_only_predicted_lowers_the_miou_and_no_accuracy():
    total = np.array([[6, 2, 0], [0, 0, 0], [0, 0, 0]])
    assert miou.of(total) == pytest.approx((6 / 8 + 0) / 2)
    assert mean_class_accuracy.of(total) == pixel_accuracy.of(total) == pytest.approx(6 / 8)


METRIC = '''"""Frequency-weighted IoU."""
import numpy as np
from isoclock.scoring.confusion import iou
TITLE = "frequency-weighted IoU"
def of(confusion):
    return np.nansum(iou(confusion) * confusion.sum(1)) / confusion.sum()
'''
USE = """
import json, sys
import numpy as np
from isoclock.scoring.scores import Scores
total = np.array([[6, 2], [0, 2]])
scores = Scores(total, total[None], ("a",), 1.0)
found = scores.document(classes="ab", dataset="toy", weights="", iterations=7).metrics
empty = Scores(0 * total, total[None], ("a",), 1.0).document(classes="ab", dataset="toy", weights="", iterations=7)
print(json.dumps([found, empty.metrics, "torch" in sys.modules]))
"""


def test_a_file_is_a_metric(package_copy):
    """It is in scores.json by its name, NaN as null, and importing it does not import torch."""
    (package_copy / "scoring" / "metrics" / "weighted_iou.py").write_text(METRIC)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", USE], capture_output=True, text=True, check=True)
    found, empty, torch_imported = json.loads(done.stdout)
    assert list(found) == ["mean_class_accuracy", "pixel_accuracy", "weighted_iou"]
    assert found["weighted_iou"] == pytest.approx((0.75 * 8 + 0.5 * 2) / 10)
    assert set(empty.values()) == {None}
    assert not torch_imported


def test_an_edited_metric_scores_again_and_trains_nothing(package_copy, empty_study):
    def changed_stamps():
        command = [sys.executable, "-m", "isoclock", "stamp", "--grid", "toy"]
        done = subprocess.run(command, cwd=empty_study.folder, capture_output=True, text=True, check=True)
        return {line.partition("stamps/")[2] for line in done.stdout.splitlines()}

    assert changed_stamps()
    path = package_copy / "scoring" / "metrics" / "pixel_accuracy.py"
    path.write_text(path.read_text().replace("/ pixels if", "/ (2 * pixels) if"))
    scores = {"evaluate/streets.json", "evaluate_teacher/streets.json"}
    assert scores <= changed_stamps() <= scores | {"grid/toy.json"}
