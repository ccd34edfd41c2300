import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from isoclock.scoring.confusion import (
    IGNORE,
    confusion_matrix,
    confusion_matrix_torch,
    iou,
    mean_iou,
    pixel_accuracy,
)

CITYSCAPES_IDS = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]


def counted_one_by_one(truth, prediction, num_classes):
    total = np.zeros((num_classes, num_classes), dtype=np.int64)
    for row, column in zip(truth.ravel(), prediction.ravel(), strict=True):
        if row != IGNORE:
            total[row, column] += 1
    return total


def random_maps(seed, num_classes, shape=(23, 31), ignored=0.2):
    draws = np.random.default_rng(seed)
    truth = draws.integers(0, num_classes, shape, dtype=np.uint8)
    truth[draws.random(shape) < ignored] = IGNORE
    return truth, draws.integers(0, num_classes, shape, dtype=np.uint8)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), num_classes=st.sampled_from([1, 2, 19, 150, 255]), ignored=st.floats(0, 1))
def test_numpy_and_torch_count_like_a_loop_over_pixels(seed, num_classes, ignored):
    truth, prediction = random_maps(seed, num_classes, (7, 11), ignored)
    expected = counted_one_by_one(truth, prediction, num_classes)
    counted = confusion_matrix(truth, prediction, num_classes)
    assert counted.dtype == np.int64
    np.testing.assert_array_equal(counted, expected)
    tensors = confusion_matrix_torch(torch.from_numpy(truth), torch.from_numpy(prediction).long(), num_classes)
    np.testing.assert_array_equal(tensors.numpy(), expected)


@pytest.mark.parametrize("seed", range(4))
def test_iou_equals_cityscapesscripts(seed, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["evaluation"])
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official

    # Some classes are left out of truth, of prediction, or of both: that is where definitions differ.
    draws = np.random.default_rng(seed)
    args = SimpleNamespace(evalLabels=[], evalInstLevelScore=False, evalPixelAccuracy=False)
    matrix = official.generateMatrix(args)
    ours = np.zeros((19, 19), dtype=np.int64)
    ids = np.zeros(256, dtype=np.uint8)  # 255 becomes labelId 0, "unlabeled", which is ignored
    ids[: len(CITYSCAPES_IDS)] = CITYSCAPES_IDS
    for number in range(3):
        truth = draws.choice(16, (40, 64)).astype(np.uint8)
        truth[draws.random(truth.shape) < 0.15] = IGNORE
        prediction = np.where(draws.random(truth.shape) < 0.6, truth, draws.integers(2, 18, truth.shape)).astype(
            np.uint8
        )
        prediction[prediction == IGNORE] = 3
        ours += confusion_matrix(truth, prediction, 19)
        paths = [str(tmp_path / f"{kind}{number}.png") for kind in ("prediction", "truth")]
        for path, labels in zip(paths, (prediction, truth), strict=True):
            Image.fromarray(ids[labels]).save(path)
        official.evaluatePair(*paths, matrix, {}, {}, args)
    scores = {label: official.getIouScoreForLabel(label, matrix, args) for label in CITYSCAPES_IDS}
    assert np.isnan(scores[33])
    np.testing.assert_array_equal(iou(ours), list(scores.values()))
    # The mean is checked in its own function too: it keeps NaN classes out.
    by_name = {official.id2label[label].name: score for label, score in scores.items()}
    assert mean_iou(ours) == pytest.approx(official.getScoreAverage(by_name, args), rel=1e-14)


def test_class_absent_in_truth_and_prediction_has_no_iou_and_stays_out_of_the_mean():
    total = np.array([[6, 2, 0], [0, 2, 0], [0, 0, 0]])
    np.testing.assert_array_equal(iou(total), [6 / 8, 2 / 4, np.nan])
    assert mean_iou(total) == pytest.approx(0.625)
    assert pixel_accuracy(total) == pytest.approx(0.8)


def test_class_that_is_only_predicted_scores_zero():
    assert iou(np.array([[3, 1], [0, 0]]))[1] == 0


def test_nothing_scored_gives_none():
    assert mean_iou(np.zeros((3, 3))) is None
    assert pixel_accuracy(np.zeros((3, 3))) is None


def test_iou_of_a_stack_is_the_stack_of_ious():
    stack = np.stack([confusion_matrix(*random_maps(seed, 4), 4) for seed in range(3)])
    np.testing.assert_array_equal(iou(stack), [iou(one) for one in stack])


@pytest.mark.parametrize(
    "count", [confusion_matrix, lambda *a: confusion_matrix_torch(*map(torch.from_numpy, a[:2]), a[2])]
)
def test_stray_values_are_refused(count):
    labels = np.zeros((2, 2), dtype=np.uint8)
    with pytest.raises(ValueError, match="neither a class"):
        count(labels + np.uint8(3), labels, 3)
    with pytest.raises(ValueError, match="leaves the classes"):
        count(labels, labels + np.uint8(3), 3)
    with pytest.raises(ValueError, match="shape"):
        count(labels, labels[:1], 3)
    with pytest.raises(ValueError, match="num_classes"):
        count(labels, labels, 0)


def test_a_negative_or_wide_truth_is_refused_not_wrapped():
    prediction = np.zeros((1, 1), dtype=np.int64)
    for value in (-1, 256):
        with pytest.raises(ValueError, match=r"leaves 0\.\.255"):
            confusion_matrix(np.full((1, 1), value), prediction, 3)
