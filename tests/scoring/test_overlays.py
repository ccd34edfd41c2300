import numpy as np
from PIL import Image

from isoclock.scoring.overlays import colour_labels, spread_over, write_overlays

PALETTE = [(255, 0, 0), (0, 200, 0)]


def test_pictures_are_spread_over_the_set():
    assert spread_over(80, 4) == [10, 30, 50, 70]
    assert spread_over(3, 5) == [0, 1, 2]
    assert spread_over(0, 4) == []


def test_ignored_pixels_are_dark_and_classes_have_their_colour():
    colours = colour_labels(np.array([[0, 1, 255, 7]], dtype=np.uint8), PALETTE)
    assert colours[0, :2].tolist() == [[255, 0, 0], [0, 200, 0]]
    assert colours[0, 2:].max() < 40


def test_three_panels_side_by_side(tmp_path):
    photo = np.full((10, 20, 3), 90, dtype=np.uint8)
    truth = np.zeros((10, 20), dtype=np.uint8)
    truth[:, 10:] = 255
    paths = write_overlays(tmp_path, [("city/a 1", photo, truth, np.ones_like(truth))] * 2, PALETTE)
    assert [path.name for path in paths] == ["00-city-a-1.png", "01-city-a-1.png"]
    picture = np.asarray(Image.open(paths[0]))
    assert picture.shape == (10, 68, 3)
    assert picture[5, 5].tolist() == [90, 90, 90]
    assert picture[5, 26].tolist() == [255, 0, 0]
    assert picture[5, 50].tolist() == [0, 200, 0]
    assert picture[5, 65].tolist() == [0, 60, 0]


def test_wide_panels_are_reduced_without_mixing_labels(tmp_path):
    photo = np.zeros((64, 128, 3), dtype=np.uint8)
    labels = np.random.default_rng(0).integers(0, 2, (128, 256), dtype=np.uint8)
    (path,) = write_overlays(tmp_path, [("a", photo, labels, labels)], PALETTE, panel_width=50)
    picture = np.asarray(Image.open(path))
    assert picture.shape == (25, 158, 3)
    assert {tuple(colour) for colour in picture[:, 54:104].reshape(-1, 3).tolist()} == set(PALETTE)
