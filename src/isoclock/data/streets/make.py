"""Generated street scenes in the folder layout and encodings of Cityscapes: a data set that needs no download.

Scenes have perspective, occlusion, shadows, haze, noise and a colour cast per image and per city. Colours of different
classes overlap, so that a network must use shape and position. Buses, trains, motorcycles and trucks are rare (each is
near the camera in at least one image of six); poles, lights and signs are thin. The same seed gives the same bytes on
every machine (see `canvas` and `png`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from signal import SIG_IGN, SIGINT, signal

import numpy as np
from numpy.typing import NDArray

from isoclock.data.png import png_bytes
from isoclock.data.streets import props
from isoclock.data.streets.canvas import Camera, Canvas, Dice
from isoclock.data.streets.labels import BORDER, EGO_VEHICLE
from isoclock.data.streets.scenery import paint_scenery
from isoclock.data.streets.shapes import Prop
from isoclock.data.streets.street import Street, lay_out
from isoclock.errors import DataError
from isoclock.files import write_json
from isoclock.os_failures import naming

CITIES = {"train": ("aldervale", "brookmere", "coldharbour", "dunwick", "eastmarch"), "val": ("farrowby", "greyford")}
_MARK = "streets.json"
_SPLIT_KEY = {"train": 0, "val": 1}
_RARE = (props.BUSES, props.TRAINS, props.MOTORCYCLES, props.TRUCKS, props.CYCLISTS, props.BIKERS)


def make_streets(
    folder: Path,
    *,
    seed: int = 0,
    train: int = 240,
    val: int = 80,
    size: tuple[int, int] = (128, 256),
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write `train` and `val` scenes of `size` (height, width) pixels below `folder`, all or none.

    `progress(done, total)` is called after every scene. Scene k of a split depends only on seed, split, k and size.
    Raises DataError if `folder` holds files that this function did not write.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARK).is_file():
        raise DataError(f"{folder}: contains files that are not generated streets; choose an empty folder")
    jobs = [("train", k) for k in range(train)] + [("val", k) for k in range(val)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}."
    with naming(folder, prefix), tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix) as name:
        made = Path(name) / "new"
        write = partial(_write_scene, made, seed, size)
        if workers > 1:
            # A terminal sends Ctrl-C to the processes of the pool too, and each would print a traceback.
            with ProcessPoolExecutor(workers, initializer=signal, initargs=(SIGINT, SIG_IGN)) as pool:
                _count(pool.map(write, jobs, chunksize=8), len(jobs), progress)
        else:
            _count(map(write, jobs), len(jobs), progress)
        write_json(made / _MARK, {"seed": seed, "train": train, "val": val, "size": list(size)})
        if folder.exists():
            folder.replace(Path(name) / "old")
        made.replace(folder)


def render(seed: int, split: str, number: int, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Scene `number` of a split: RGB (H, W, 3) and raw Cityscapes label ids (H, W)."""
    height, width = size
    dice = Dice(seed, _SPLIT_KEY[split], number)
    camera = Camera(
        centre=width // 2 + dice.between(-width // 8, width // 8),
        horizon=height * dice.between(32, 44) // 100,
        focal=width * 12 // 10,
        height_cm=dice.between(190, 240),
    )
    turn = number % len(_RARE)
    street = lay_out(dice, rail=_RARE[turn] is props.TRAINS)
    canvas = Canvas(height, width)
    paint_scenery(canvas, camera, street, dice, wall=turn % 2 == 0, fence=turn % 3 == 0)
    _cast_shadows(canvas, camera, dice)
    for z, x, kinds in sorted(_populate(street, dice, turn), key=lambda placed: -placed[0]):
        _place(canvas, camera, dice, z, x, kinds)
    rgb = _expose(canvas, dice, Dice(seed, 2, _SPLIT_KEY[split], number % len(CITIES[split])))
    _mask_car(canvas, rgb, dice)
    return rgb.astype(np.uint8), canvas.label


def _write_scene(folder: Path, seed: int, size: tuple[int, int], job: tuple[str, int]) -> None:
    split, number = job
    rgb, label = render(seed, split, number, size)
    city = CITIES[split][number % len(CITIES[split])]
    stem = f"{city}_{number // len(CITIES[split]):06d}_{19:06d}"
    for kind, ending, pixels in (("leftImg8bit", "leftImg8bit", rgb), ("gtFine", "gtFine_labelIds", label)):
        path = folder / kind / split / city / f"{stem}_{ending}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png_bytes(pixels))


def _count(results: Iterable[None], total: int, progress: Callable[[int, int], None] | None) -> None:
    for done, _ in enumerate(results, 1):
        if progress is not None:
            progress(done, total)


def _populate(street: Street, dice: Dice, turn: int) -> list[tuple[int, int, tuple[Prop, ...]]]:
    # Position of each prop: (depth cm, cm across, kinds). The rare kind of this image is near the camera, and visible.
    middle = (street.right_kerb - street.left_kerb) // 2
    lanes = (middle - 180, middle - 180, (street.right_kerb + middle) // 2)
    placed = [(dice.between(1_000, 1_900), middle - 170 if turn == 1 else dice.pick(lanes), _RARE[turn])]
    if dice.chance(12):
        placed.append((dice.between(1_500, 4_000), dice.pick(lanes), dice.pick(_RARE)))

    def scatter(kinds: tuple[Prop, ...], least: int, most: int, inner: int, outer: int, near: int = 750) -> None:
        for _ in range(dice.between(least, most)):
            side = dice.pick((-1, 1))
            far = dice.between(0, 50) ** 2
            placed.append((near + far, side * (street.kerb(side) + dice.between(inner, outer)), kinds))

    wide = street.pavement
    scatter(props.CARS, 2, 5, -130, -90, near=950)
    scatter(props.CARS, 0, 2, -330, -200, near=900)
    scatter(props.PEOPLE, 3, 7, 30, wide)
    scatter(props.PEOPLE, 0, 1, -250, -30, near=900)
    scatter(props.CYCLISTS, 0, dice.pick((0, 1, 1)), -160, 0, near=850)
    scatter(props.BICYCLES, 0, 2, 20, wide, near=750)
    scatter(props.POLES, 1, 4, 25, 60)
    scatter(props.LIGHTS, 1, 3, 20, 60, near=750)
    scatter(props.SIGNS, 1, 3, 20, 90, near=750)
    scatter(props.TREES, 0, 4, 60, wide + street.setback, near=1_000)
    scatter(props.VOIDS, 0, 2, 20, wide, near=700)
    return placed


def _place(canvas: Canvas, camera: Camera, dice: Dice, z: int, x: int, kinds: tuple[Prop, ...]) -> None:
    prop = dice.pick(kinds)
    wide, tall = props.SIZES[prop]
    scale = dice.between(90, 112)
    column, row = camera.at(x, 0, z)
    across, up = camera.pixels(wide * scale // 100, z), camera.pixels(tall * scale // 100, z)
    left = column - across // 2
    shadow = canvas.patch(
        left - across // 6, left + across + across // 5, row - max(1, up // 14), row + max(1, up // 16), z
    )
    if shadow is not None:
        shadow.darken((shadow.u - 500) ** 2 + (shadow.v - 500) ** 2 < 250_000, 550)
    patch = canvas.patch(left, left + across, row - up, row, z)
    if patch is not None:
        prop(patch, dice)


def _cast_shadows(canvas: Canvas, camera: Camera, dice: Dice) -> None:
    # One row of houses casts a shadow over part of the street.
    if dice.chance(50):
        below = np.arange(camera.horizon + 1, canvas.height)[:, None] - camera.horizon
        x = (np.arange(canvas.width)[None, :] - camera.centre) * camera.height_cm // below
        side, edge = dice.pick((-1, 1)), dice.between(-150, 500)
        shaded = x * side > edge
        ground = canvas.rgb[camera.horizon + 1 :]
        ground[shaded] = ground[shaded] * dice.between(45, 75) // 100


def _expose(canvas: Canvas, dice: Dice, city: Dice) -> NDArray[np.int64]:
    # Haze by depth, uneven light, a soft lens, colour casts of the city and the image, a tone curve, sensor noise.
    rgb = np.clip(canvas.rgb, 0, 255)
    veil = np.array([dice.between(150, 210)] * 3) + np.array([-6, 0, 6])
    haze = np.minimum(canvas.depth, 9_000)[..., None] * dice.between(0, 35) // 100
    rgb = rgb + (veil - rgb) * haze // 9_000
    light = 256 + dice.smooth_noise(canvas.height, canvas.width, canvas.height // 2) * dice.between(0, 60) // 128
    rgb = rgb * light[..., None] // 256
    for axis in (0, 1):
        behind, ahead = np.roll(rgb, 1, axis), np.roll(rgb, -1, axis)
        rgb = (behind + 4 * rgb + ahead) // 6
    gains = [dice.between(232, 276) * city.between(244, 268) // 256 for _ in range(3)]
    rgb = np.clip(rgb * np.array(gains) // 256, 0, 255)
    bend = dice.between(-50, 50)
    rgb = rgb + rgb * (255 - rgb) * bend // (255 * 128)
    noise = dice.noise(canvas.height, canvas.width, 3) * dice.between(3, 10) // 128
    return np.clip(rgb + noise, 0, 255)


def _mask_car(canvas: Canvas, rgb: NDArray[np.int64], dice: Dice) -> None:
    # The bonnet of the recording car, and the black border left by rectification.
    height, width = canvas.height, canvas.width
    if dice.chance(70):
        off = (np.arange(width) - width // 2)[None, :]
        bonnet = np.arange(height)[:, None] > height * 93 // 100 + off**2 * height // (width**2 * 4)
        rgb[bonnet] = rgb[bonnet] // 4 + dice.between(10, 60)
        canvas.label[bonnet] = EGO_VEHICLE
    edge = max(1, width // 128)
    for side in (np.s_[:, :edge], np.s_[:, -edge:]):
        rgb[side] = 0
        canvas.label[side] = BORDER
