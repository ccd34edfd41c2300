import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from isoclock.params.schema import Scoring
from isoclock.scoring import views
from isoclock.scoring.views import View, label_map, look, view_sizes, windows

TIE = 1e-5
"""Two logits of about 1 that lie this near to each other are a tie in float32."""


def strided(num_classes=7):
    torch.manual_seed(3)
    return torch.nn.Conv2d(3, num_classes, 5, stride=4, padding=2)


def whole(logits):
    return [View(tuple(logits.shape[2:]), [(0, 0, *logits.shape[2:])], [logits], mirrored=False)]


def resized(maps, size):
    return functional.interpolate(maps, size, mode="bilinear", align_corners=False)


def assert_same_but_for_ties(found, scores):
    """`found` (H, W) is the argmax of `scores` (K, H, W); where it is not, it is as good to within rounding."""
    best, _ = scores.max(dim=0)
    mine = scores.gather(0, found[None].long())[0]
    assert (best - mine).max() < TIE
    assert (found != scores.argmax(dim=0)).float().mean() < 1e-3


@pytest.fixture(params=["class by class", "in chunks", "at once"])
def way(request, monkeypatch):
    """The ways of a CPU and of an accelerator, with little and with much memory, both on the CPU."""
    if request.param != "class by class":
        monkeypatch.setattr(views, "_by_plane", lambda logits: False)
        monkeypatch.setattr(views, "_FLOATS_AT_ONCE", 1 if request.param == "in chunks" else 1 << 24)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("size", [(29, 35), (56, 72), (7, 9), (5, 4), (1, 1)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_one_view_is_the_argmax_of_the_enlarged_logits(size, channels_last):
    torch.manual_seed(0)
    logits = torch.randn(1, 11, 7, 9)
    if channels_last:
        logits = logits.to(memory_format=torch.channels_last)
    logits[:, 4] = logits[:, 2]  # a tie everywhere: the lower class wins
    found = label_map(whole(logits), size)
    assert (found.dtype, tuple(found.shape)) == (torch.uint8, size)
    assert_same_but_for_ties(found, resized(logits, size)[0])
    assert not (found == 4).any()


def by_the_book(network, image, size, scales, flip, window, stride, short, long):
    """Every map whole, every window by itself, softmax over all classes at once."""
    looks = []
    # mmcv.imrescale(image, (long, short)): the largest at which neither side is above its own.
    base = min(short / min(image.shape[2:]), long / max(image.shape[2:])) if short else 1
    for scale in scales:
        height, width = (int(side * base * scale + 0.5) for side in image.shape[2:])
        scaled = resized(image, (height, width)) if base * scale != 1 else image
        for mirrored in (False, True) if flip else (False,):
            seen = torch.flip(scaled, [3]) if mirrored else scaled
            if window is None:
                maps = resized(network(seen), size)
            else:
                maps, times = torch.zeros(1, 7, height, width), torch.zeros(height, width)
                for top in range(0, height, stride[0]):
                    for left in range(0, width, stride[1]):
                        # A window that would reach beyond the image is one at its edge; those met twice are skipped.
                        y, x = max(0, min(top, height - window[0])), max(0, min(left, width - window[1]))
                        if (top - stride[0] + window[0] >= height and top) or (
                            left - stride[1] + window[1] >= width and left
                        ):
                            continue
                        part = seen[:, :, y : y + window[0], x : x + window[1]]
                        maps[:, :, y : y + window[0], x : x + window[1]] += resized(network(part), part.shape[2:])
                        times[y : y + window[0], x : x + window[1]] += 1
                assert times.min() >= 1
                maps = resized(maps / times, size)
            looks.append(torch.flip(maps, [3]) if mirrored else maps)
    if len(looks) == 1:
        return looks[0][0]
    return torch.stack([maps[0].softmax(dim=0) for maps in looks]).mean(dim=0)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("size", [(40, 56), (61, 33)])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"flip": True},
        {"scales": [0.5]},
        {"scales": [0.5, 1.0, 1.75], "flip": True},
        {"window": (16, 24)},
        {"window": (16, 24), "stride": (11, 10)},
        {"window": (16, 24), "stride": (11, 10), "scales": [0.75, 1.25], "flip": True},
        {"window": (300, 24)},
        {"short_side": 24},
        {"short_side": 64},
        {"short_side": 64, "long_side_at_most": 72},
        {"short_side": 30, "long_side_at_most": 72, "scales": [0.75, 1.25], "flip": True},
        {"short_side": 50, "long_side_at_most": 60, "window": (16, 24), "stride": (11, 10)},
    ],
)
def test_every_option_is_what_a_plain_computation_gives(size, given):
    torch.manual_seed(1)
    network, image = strided(), torch.randn(1, 3, 40, 56)
    with torch.no_grad():
        found = label_map(look(network, image, Scoring(**given)), size)
        window = given.get("window")
        expected = by_the_book(
            network, image, size, given.get("scales", [1.0]), given.get("flip"), window, given.get("stride", window),
            given.get("short_side"), given.get("long_side_at_most", float("inf")),
        )  # fmt: skip
    assert_same_but_for_ties(found, expected)


@pytest.mark.parametrize("given", [{"scales": [1.0]}, {"window": (40, 56)}, {"window": (64, 64), "stride": (9, 9)}])
def test_options_that_ask_for_the_whole_image_once_change_no_bit(given):
    network, image = strided(), torch.randn(1, 3, 40, 56)
    with torch.no_grad():
        (plain,), (asked,) = (look(network, image, Scoring(**options)) for options in ({}, given))
    assert plain.boxes == asked.boxes == [(0, 0, 40, 56)]
    assert torch.equal(plain.logits[0], asked.logits[0])
    assert torch.equal(label_map([plain], (80, 90)), label_map([asked], (80, 90)))


@settings(max_examples=200, deadline=None)
@given(data=st.data(), size=st.tuples(st.integers(1, 90), st.integers(1, 90)))
def test_windows_cover_and_stay_inside(data, size):
    window = tuple(data.draw(st.integers(1, 100)) for _ in size)
    stride = tuple(data.draw(st.integers(1, side)) for side in window)
    covered = np.zeros(size, int)
    boxes = windows(size, window, stride)
    for top, left, height, width in boxes:
        assert (height, width) == (min(window[0], size[0]), min(window[1], size[1]))
        assert 0 <= top <= top + height <= size[0]
        assert 0 <= left <= left + width <= size[1]
        covered[top : top + height, left : left + width] += 1
    assert covered.min() >= 1
    assert len(set(boxes)) == len(boxes)


@pytest.mark.parametrize(
    ("image", "seen"),
    # mmcv.imrescale(image, (2048, 512)): the short side 512, unless the long one would be above 2048.
    [((480, 640), (512, 683)), ((512, 683), (512, 683)), ((300, 1600), (384, 2048)), ((1200, 400), (1536, 512))],
)
def test_ade20k_images_are_resized_as_in_mmsegmentation(image, seen):
    rule = Scoring(short_side=512, long_side_at_most=2048)
    assert view_sizes(image, rule) == [seen]
    asked = []

    def network(shown):
        asked.append(tuple(shown.shape[2:]))
        return torch.zeros(1, 3, 4, 4)

    found = label_map(look(network, torch.zeros(1, 3, *image), rule), image)
    assert asked == [seen]
    assert tuple(found.shape) == image, "the prediction is made at the label's own size"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"scales": []}, "at least 1"),
        ({"scales": [1.0, 1.0]}, "listed twice"),
        ({"stride": (8, 8)}, "give window"),
        ({"window": (8, 8), "stride": (9, 8)}, "leaves gaps"),
        ({"long_side_at_most": 2048}, "give short_side"),
        ({"scale": [1.0]}, "not permitted"),
    ],
)
def test_options_that_do_not_go_together_are_reported(given, words):
    with pytest.raises(ValueError, match=words):
        Scoring(**given)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the peak")
@pytest.mark.parametrize("options", ["", "scales=[0.5, 1.0]", "window=(512, 1024), stride=(256, 512)"])
def test_150_classes_at_2048x1024_stay_under_2_gb(options):
    """The peak of a process of its own: interpreter, torch, image, logits, and all that scoring makes of them.

    Not `ru_maxrss`, which a child takes over from the process that starts it.
    """
    code = f"""
import numpy as np, torch
from types import SimpleNamespace
from isoclock.params.schema import Scoring
from isoclock.scoring.predict import predict
torch.set_num_threads(1)
class Wide(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.classify = torch.nn.Conv2d(3, 150, 8, stride=8)
    def forward(self, images, want):
        return SimpleNamespace(logits=self.classify(images))
draws = np.random.default_rng(0)
image = torch.as_tensor(draws.standard_normal((1, 3, 1024, 2048), dtype=np.float32))
label = draws.integers(0, 150, (1024, 2048), dtype=np.uint8)
assert predict(Wide(), [(image, label, "a")], num_classes=150, scoring=Scoring({options})).total.sum() == label.size
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))  # KiB
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 2e9
