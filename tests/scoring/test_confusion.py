import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from isoclock.data.readers.cityscapes import READER
from isoclock.scoring.confusion import (
    IGNORE,
    checked_counts,
    confusion_matrix,
    iou,
    label_counts,
    reference_confusion_matrix,
)
from isoclock.scoring.metrics import miou, pixel_accuracy

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


def counted_on_device(truth, prediction, num_classes):
    counts = label_counts(torch.as_tensor(truth), torch.as_tensor(prediction), num_classes)
    return checked_counts(counts.numpy(), num_classes)


COUNTERS = [confusion_matrix, reference_confusion_matrix, counted_on_device]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), num_classes=st.sampled_from([1, 2, 19, 150, 255]), ignored=st.floats(0, 1))
def test_all_count_like_a_loop_over_pixels(seed, num_classes, ignored):
    truth, prediction = random_maps(seed, num_classes, (7, 11), ignored)
    expected = counted_one_by_one(truth, prediction, num_classes)
    for count in COUNTERS:
        counted = count(truth, prediction, num_classes)
        assert counted.dtype == np.int64
        np.testing.assert_array_equal(counted, expected)
    # Wider maps and maps that do not lie in one piece count the same.
    np.testing.assert_array_equal(
        confusion_matrix(truth.astype(np.int64), prediction.astype(np.int32), num_classes), expected
    )
    np.testing.assert_array_equal(confusion_matrix(truth.T, prediction.T, num_classes), expected)


def test_more_pixels_than_a_float_counts():
    """One class over 2^24 + 3 pixels: in float32, which OpenCV's histograms come in, that number does not exist."""
    labels = np.zeros((1 << 24) + 3, dtype=np.uint8)
    assert confusion_matrix(labels, labels, 2)[0, 0] == labels.size


@pytest.fixture(scope="module")
def official():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["evaluation"])  # it reads the command line when imported
        from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling
    return evalPixelLevelSemanticLabeling


OPTIONS = SimpleNamespace(evalLabels=[], evalInstLevelScore=False, evalPixelAccuracy=False)
IDS = np.arange(34, dtype=np.uint8)


def adversarial_maps(seed):
    """Truth and prediction in label ids, built to be where definitions and code may differ."""
    draws = np.random.default_rng(seed)
    kind = draws.integers(8)
    shape = (1, 1) if kind == 0 else tuple(draws.integers(1, 20, 2))
    truths = draws.choice(IDS, draws.integers(1, 35), replace=False)  # the other classes are empty
    predicted = draws.choice(CITYSCAPES_IDS, draws.integers(1, 20), replace=False).astype(np.uint8)
    truth, prediction = draws.choice(truths, shape), draws.choice(predicted, shape)
    if kind == 1:  # nothing is scored
        truth = draws.choice(np.setdiff1d(IDS, CITYSCAPES_IDS), shape)
    elif kind == 2:  # all is right, where it can be
        prediction = np.where(np.isin(truth, CITYSCAPES_IDS), truth, prediction)
    elif kind == 3:  # one class throughout
        truth[:], prediction[:] = truth[0, 0], prediction[0, 0]
    elif kind == 4:  # the ends of the table: the first and the last class, and ids beside them
        truth, prediction = draws.choice([0, 6, 7, 8, 32, 33], shape), draws.choice([7, 33], shape)
    return truth.astype(np.uint8), prediction.astype(np.uint8)


@settings(deadline=None, max_examples=350)
@given(seed=st.integers(0, 2**48))
def test_counts_and_iou_are_those_of_cityscapesscripts(official, tmp_path_factory, seed):
    """Sets of six image pairs, 2,100 in all: every count, every class and the mean, through files as it reads them."""
    folder = tmp_path_factory.getbasetemp()
    matrix = official.generateMatrix(OPTIONS)
    ours, raw = np.zeros((19, 19), dtype=np.int64), np.zeros((34, 34), dtype=np.int64)
    for number in range(6):
        truth, prediction = adversarial_maps((seed, number))
        for name, labels in (("prediction", prediction), ("truth", truth)):
            Image.fromarray(labels).save(folder / f"{name}.png", compress_level=0)
        alone = official.generateMatrix(OPTIONS)
        files = str(folder / "prediction.png"), str(folder / "truth.png")
        official.evaluatePair(*files, alone, {}, {}, OPTIONS)
        matrix += alone
        counted = confusion_matrix(READER.label_table[truth], READER.label_table[prediction], 19)
        np.testing.assert_array_equal(counted, alone[np.ix_(CITYSCAPES_IDS, CITYSCAPES_IDS)])
        np.testing.assert_array_equal(confusion_matrix(truth, prediction, 34), alone)
        ours += counted
        raw += confusion_matrix(truth, prediction, 34)
    np.testing.assert_array_equal(raw, matrix)
    scores = {label: official.getIouScoreForLabel(label, matrix, OPTIONS) for label in CITYSCAPES_IDS}
    np.testing.assert_array_equal(iou(ours), list(scores.values()))
    # The mean is checked in its own function too: it keeps NaN classes out.
    by_name = {official.id2label[label].name: score for label, score in scores.items()}
    mean = official.getScoreAverage(by_name, OPTIONS)
    assert miou.of(ours) == (None if np.isnan(mean) else pytest.approx(mean, rel=1e-14))


def test_a_licence_plate_is_no_label_value(official, tmp_path, capsys):
    """Its id is -1, which no file of 8 bits holds: 255 in one is refused by both."""
    truth = np.array([[7, 255]], dtype=np.uint8)
    for name in ("prediction", "truth"):
        Image.fromarray(truth if name == "truth" else np.full_like(truth, 7)).save(tmp_path / f"{name}.png")
    with pytest.raises(SystemExit):
        official.evaluatePair(
            str(tmp_path / "prediction.png"),
            str(tmp_path / "truth.png"),
            official.generateMatrix(OPTIONS),
            {},
            {},
            OPTIONS,
        )
    assert "Unknown label with id 255" in capsys.readouterr().out
    with pytest.raises(ValueError, match="1 pixels of the truth are neither a class"):
        confusion_matrix(READER.label_table[truth], np.zeros_like(truth), 19)


def test_class_absent_in_truth_and_prediction_has_no_iou_and_stays_out_of_the_mean():
    total = np.array([[6, 2, 0], [0, 2, 0], [0, 0, 0]])
    np.testing.assert_array_equal(iou(total), [6 / 8, 2 / 4, np.nan])
    assert miou.of(total) == pytest.approx(0.625)
    assert pixel_accuracy.of(total) == pytest.approx(0.8)


def test_class_that_is_only_predicted_scores_zero():
    assert iou(np.array([[3, 1], [0, 0]]))[1] == 0


def test_nothing_scored_gives_none():
    assert miou.of(np.zeros((3, 3))) is None
    assert pixel_accuracy.of(np.zeros((3, 3))) is None


def test_iou_of_a_stack_is_the_stack_of_ious():
    stack = np.stack([confusion_matrix(*random_maps(seed, 4), 4) for seed in range(3)])
    np.testing.assert_array_equal(iou(stack), [iou(one) for one in stack])


@pytest.mark.parametrize("count", COUNTERS)
def test_stray_values_are_refused(count):
    labels = np.zeros((2, 2), dtype=np.uint8)
    with pytest.raises(ValueError, match="neither a class"):
        count(labels + np.uint8(3), labels, 3)
    if count is not counted_on_device:  # it does not look, because looking is waiting
        with pytest.raises(ValueError, match=r"not a class|outside the classes"):
            count(labels, labels + np.uint8(3), 3)
    with pytest.raises(ValueError, match="shape"):
        count(labels, labels[:1], 3)
    with pytest.raises(ValueError, match="num_classes"):
        count(labels, labels, 0)


def test_a_negative_or_wide_truth_is_refused_not_wrapped():
    prediction = np.zeros((1, 1), dtype=np.int64)
    for value in (-1, 256):
        with pytest.raises(ValueError, match=r"outside 0\.\.255"):
            confusion_matrix(np.full((1, 1), value), prediction, 3)
