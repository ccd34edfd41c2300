from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.nn import functional

from isoclock.data.loading.normalise import Normalise
from isoclock.errors import DataError
from isoclock.params.schema import Scoring
from isoclock.runner.device import choose_device
from isoclock.scoring import predict, views
from isoclock.scoring.confusion import confusion_matrix, label_counts
from isoclock.scoring.metrics import measure
from isoclock.scoring.scores import Scores
from isoclock.scoring.views import label_map, look


def evaluate_segmenter(model, samples, *, scoring=None, **options):
    """Scores of `samples`; whole images, one scale and no flip where no `scoring` is given."""
    scoring = scoring or Scoring()
    counted = predict.predict(model, samples, scoring=scoring, device=choose_device(), **options)
    return Scores(**vars(counted), scoring=scoring)


class Toy(torch.nn.Module):
    """A strided convolution under a dropout that only evaluation mode makes deterministic."""

    def __init__(self, num_classes=5):
        super().__init__()
        torch.manual_seed(3)
        self.classify = torch.nn.Conv2d(3, num_classes, 3, stride=4, padding=1)
        self.drop = torch.nn.Dropout(0.5)
        self.asked = []

    def forward(self, images, want):
        self.asked.append(want)
        return SimpleNamespace(logits=self.drop(self.classify(images)))


def samples(number=3, classes=5):
    draws = np.random.default_rng(1)
    for place in range(number):
        height, width = 16 + 4 * place, 24
        label = draws.integers(0, classes, (height, width), dtype=np.uint8)
        label[:2] = 255
        yield torch.from_numpy(draws.standard_normal((1, 3, height, width), dtype=np.float32)), label, f"image{place}"


def test_scores_are_those_of_whole_upsampling_and_argmax():
    model, seen = Toy(), []
    scores = evaluate_segmenter(model, samples(), num_classes=5, progress=seen.append, keep=(1,))
    assert seen == [1, 2, 3]
    assert model.training
    assert set(model.asked) == {frozenset({"logits"})}
    model.eval()
    for place, (image, label, _) in enumerate(samples()):
        logits = functional.interpolate(
            model(image.to(choose_device()), want=None).logits, label.shape, mode="bilinear", align_corners=False
        )
        predicted = logits[0].argmax(0).numpy()
        np.testing.assert_array_equal(scores.per_image[place], confusion_matrix(label, predicted, 5))
        if place == 1:
            np.testing.assert_array_equal(scores.predictions[1], predicted)
    assert scores.per_image.dtype == np.uint32
    np.testing.assert_array_equal(scores.total, scores.per_image.sum(0))
    assert set(scores.predictions) == {1}
    assert scores.evaluate_s > 0


def on_an_accelerator(monkeypatch):
    """Its ways of counting and enlarging, on the CPU."""
    monkeypatch.setattr(views, "_by_plane", lambda logits: False)
    monkeypatch.setattr(predict, "_counts_on_cpu", lambda device: False)
    monkeypatch.setattr(predict, "_IMAGES_AT_ONCE", 2)


def test_an_accelerator_counts_the_same(monkeypatch):
    at_home = evaluate_segmenter(Toy(), samples(), num_classes=5)
    on_an_accelerator(monkeypatch)
    found = evaluate_segmenter(Toy(), samples(), num_classes=5)
    np.testing.assert_array_equal(found.per_image, at_home.per_image)
    assert found.names == at_home.names
    strays = [(image, label + 4 * (name == "image1"), name) for image, label, name in samples()]
    with pytest.raises(DataError, match=r"image1: .* neither a class"):
        evaluate_segmenter(Toy(), strays, num_classes=5)


@pytest.mark.parametrize(
    "scoring", [Scoring(), Scoring(scales=[0.5, 1.0], flip=True), Scoring(window=(32, 32), stride=(20, 20))]
)
def test_an_accelerator_is_not_waited_for(scoring):
    """On tensors without values, whatever would need one raises; the counts come back where they were made."""
    with FakeTensorMode(), torch.no_grad():
        network = torch.nn.Conv2d(3, 150, 8, stride=8, device="cuda")
        seen = look(network, torch.empty(1, 3, 64, 128, device="cuda"), scoring)
        predicted = label_map(seen, (64, 128))
        counts = label_counts(torch.empty(64, 128, dtype=torch.uint8, device="cuda"), predicted, 150)
        assert (counts.device.type, tuple(counts.shape)) == ("cuda", (151, 150))
        with pytest.raises(DataDependentOutputException):
            counts.sum().item()  # so it would have been seen


@pytest.mark.parametrize("channels_last", [False, True])
def test_pixels_are_normalised_on_the_device(channels_last):
    """The same bits as of images that are normalised before."""
    normalise = Normalise.last_of([{"transform": "Normalize", "mean": [0.3, 0.4, 0.5], "std": [0.2, 0.3, 0.4]}])
    draws = np.random.default_rng(2)
    pixels = [
        (torch.from_numpy(draws.integers(0, 256, (1, *label.shape, 3), np.uint8)).permute(0, 3, 1, 2), label, name)
        for _, label, name in samples()
    ]
    seen = []

    def normalised(image):
        seen.append((image.dtype, image.shape))
        return normalise(image)

    options = {"num_classes": 5, "channels_last": channels_last}
    found = evaluate_segmenter(Toy(), pixels, normalise=normalised, **options)
    ready = [(normalise(image), label, name) for image, label, name in pixels]
    np.testing.assert_array_equal(found.per_image, evaluate_segmenter(Toy(), ready, **options).per_image)
    assert seen == [(torch.uint8, image.shape) for image, _, _ in pixels]


def test_how_it_was_looked_at_is_reported():
    options = {"scales": [0.5, 1.0], "flip": True, "window": (12, 16), "stride": (8, 16)}
    scores = evaluate_segmenter(Toy(), samples(), num_classes=5, scoring=Scoring(**options))
    document = scores.document(classes="abcde", dataset="toy", weights="ab", iterations=7)
    assert document.scoring == scores.scoring == Scoring(**options)
    assert scores.per_image.sum() == sum((label != 255).sum() for _, label, _ in samples())


def test_label_of_another_size_than_the_image_is_scored_at_its_own_size():
    image, _, _ = next(samples())
    label = np.zeros((50, 60), dtype=np.uint8)
    assert evaluate_segmenter(Toy(), [(image, label, "a")], num_classes=5).total.sum() == 3000


def test_bfloat16_and_channels_last_score_nearly_the_same():
    exact = evaluate_segmenter(Toy(), samples(), num_classes=5)
    rough = evaluate_segmenter(Toy(), samples(), num_classes=5, precision="bfloat16", channels_last=True)
    assert rough.miou == pytest.approx(exact.miou, abs=0.02)


def test_a_diverged_network_has_no_score():
    model = Toy()
    torch.nn.init.constant_(model.classify.weight, float("nan"))
    scores = evaluate_segmenter(model, samples(), num_classes=5)
    document = scores.document(classes="abcde", dataset="toy", weights="ab", iterations=7)
    assert scores.nonfinite == 3
    assert (document.status, document.miou, document.per_class_iou["a"]) == ("diverged", None, None)
    assert document.metrics == {"mean_class_accuracy": None, "pixel_accuracy": None}


def test_scores_json_and_confusion_npz(tmp_path):
    classes = ["road", "car", "pole", "sky", "train"]
    some = [(image, np.minimum(label, 3) if label.max() < 255 else label, name) for image, label, name in samples()]
    scores = evaluate_segmenter(Toy(), some, num_classes=5)
    document = scores.document(classes=classes, dataset="toy", weights="ab", iterations=7)
    assert set(document.per_class_iou) == set(classes)
    assert document.metrics | {"miou": document.miou} == measure(scores.total)
    assert document.miou == pytest.approx(np.mean([v for v in document.per_class_iou.values() if v is not None]))
    assert (document.images, document.split, document.cell, document.schema_) == (3, "val", None, 2)
    for name in ("one.npz", "two.npz"):
        scores.write_confusion(tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz") as stored:
        np.testing.assert_array_equal(stored["per_image"], scores.per_image)
        assert stored["names"].tolist() == ["image0", "image1", "image2"]
        assert (stored["total"].dtype, stored["per_image"].dtype) == (np.int64, np.uint32)


def test_misuse_is_reported():
    with pytest.raises(DataError, match="no image to evaluate"):
        evaluate_segmenter(Toy(), [], num_classes=5)
    with pytest.raises(ValueError, match="precision 'int8'"):
        evaluate_segmenter(Toy(), samples(), num_classes=5, precision="int8")
    with pytest.raises(ValueError, match="not \\(1, 7, h, w\\)"):
        evaluate_segmenter(Toy(), samples(), num_classes=7)
    with pytest.raises(DataError, match=r"image0: .* neither a class"):
        evaluate_segmenter(Toy(), [(s[0], s[1] * 0 + np.uint8(9), s[2]) for s in samples()], num_classes=5)
    with pytest.raises(ValueError, match="2 class names for 5"):
        evaluate_segmenter(Toy(), samples(), num_classes=5).document(classes="ab", dataset="", weights="", iterations=0)
