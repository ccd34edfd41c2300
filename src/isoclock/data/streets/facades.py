"""Facades, and walls, fences and hedges along the pavement: vertical planes in perspective.

Every pixel is mapped back to its point on the plane, in centimetres. The point determines class and texture.
"""

from __future__ import annotations

import numpy as np

from isoclock.data.streets.canvas import Camera, Canvas, Dice, Ints, Mask, hashed
from isoclock.data.streets.colours import foliage, masonry
from isoclock.data.streets.labels import BUILDING, FENCE, VEGETATION, WALL
from isoclock.data.streets.street import STREET_END_CM

_STOREY_CM = 300


def paint_facades(canvas: Canvas, camera: Camera, distance: int, side: int, dice: Dice) -> None:
    """Paint the facades, and hedges between them, on one `side` (-1 left, 1 right) at `distance` cm."""
    columns, z = _plane(canvas, camera, distance, side)
    if not columns.size:
        return
    rows = np.arange(canvas.height)
    y = camera.height_cm + (camera.horizon - rows)[:, None] * z[None, :] // camera.focal
    ragged = dice.smooth_noise(canvas.height, canvas.width, max(2, canvas.height // 24))[0][columns]
    start = dice.between(-600, 300)
    while start < STREET_END_CM:
        kind = dice.pick((BUILDING, BUILDING, BUILDING, VEGETATION, None))
        length = dice.between(700, 2_000) if kind == BUILDING else dice.between(400, 1_200)
        here = (z >= start) & (z < start + length)
        start += length
        storeys, colour, window = dice.between(1, 6), masonry(dice), dice.between(25, 95)
        bay, pane = dice.between(180, 380), dice.between(80, 150)
        leaves, salt = foliage(dice), dice.between(0, 9_999)
        if kind is None or not here.any():
            continue
        take, zs = columns[here], z[here][None, :]
        ys = y[:, here]
        top = storeys * _STOREY_CM + 40 if kind == BUILDING else 250 + 60 * storeys + ragged[here][None, :] * 2
        mask = (ys >= 0) & (ys < top)
        if kind == BUILDING:
            opening = (zs % bay < pane) & (ys % _STOREY_CM > 95) & (ys % _STOREY_CM < 235) & (ys < top - 40)
            door = (ys < 230) & (zs % (3 * bay) < pane)
            ledge = (ys % _STOREY_CM < 22) * 16
            texture = ledge + hashed(zs // 45, ys // 22, salt) // 16
            shade = np.array(colour) + texture[..., None]
            shade[opening | door] = window + hashed(zs // bay, ys // _STOREY_CM, salt)[opening | door][:, None] // 5
        else:
            shade = np.array(leaves) + hashed(zs // 30, ys // 30, salt)[..., None] // 5
        _blend(canvas, mask, take, shade, kind, zs)


def paint_barriers(canvas: Canvas, camera: Camera, distance: int, side: int, kinds: list[int], dice: Dice) -> None:
    """Paint walls, fences and hedges along one side: first `kinds`, then kinds drawn at random."""
    columns, z = _plane(canvas, camera, distance, side)
    if not columns.size:
        return
    y = camera.height_cm + (camera.horizon - np.arange(canvas.height))[:, None] * z[None, :] // camera.focal
    start = dice.between(400, 700) if kinds else dice.between(400, 2_000)
    while start < 6_000:
        kind = kinds.pop() if kinds else dice.pick((WALL, FENCE, VEGETATION, None, None, None))
        length = dice.between(700, 1_600)
        height = dice.between(150, 280)
        colour = foliage(dice) if kind == VEGETATION else masonry(dice)
        salt, dark = dice.between(0, 9_999), dice.between(-60, 60)
        here = (z >= start) & (z < start + length)
        start += length
        if kind is None or not here.any():
            continue
        take, zs, ys = columns[here], z[here][None, :], y[:, here]
        mask = (ys >= 0) & (ys < height)
        if kind == FENCE:
            # Transparent between its pales, but labelled as a whole, as in Cityscapes.
            pales = (zs % 34 < 13) | (abs(ys - height + 15) < 12) | (abs(ys - 30) < 10)
            shade = np.where(pales[..., None], np.array(colour) + dark, canvas.rgb[:, take])
        elif kind == WALL:
            courses = ((ys % 40 < 8) | ((zs + ys // 40 * 35) % 70 < 9)) * -20
            shade = np.array(colour) + (courses + hashed(zs // 60, ys // 40, salt) // 14)[..., None]
        else:
            shade = np.array(colour) + hashed(zs // 18, ys // 18, salt)[..., None] // 5
        _blend(canvas, mask, take, shade, kind, zs)


def _plane(canvas: Canvas, camera: Camera, distance: int, side: int) -> tuple[Ints, Ints]:
    # The columns in which a plane along the street is visible, and its depth there.
    columns = np.arange(canvas.width)
    off = (columns - camera.centre) * side
    columns, off = columns[off > 0], off[off > 0]
    z = camera.focal * distance // off
    near = z < STREET_END_CM
    return columns[near], z[near]


def _blend(canvas: Canvas, mask: Mask, columns: Ints, shade: Ints, label: int, z: Ints) -> None:
    left, right = int(columns[0]), int(columns[-1]) + 1  # a stretch of a plane is one run of columns
    canvas.rgb[:, left:right][mask] = np.broadcast_to(shade, (*mask.shape, 3))[mask]
    canvas.label[:, left:right][mask] = label
    canvas.depth[:, left:right][mask] = np.broadcast_to(z, mask.shape)[mask]
