"""The fixed part of a generated street scene: sky, skyline, ground, facades and what stands along the pavement."""

from __future__ import annotations

import numpy as np

from isoclock.data.streets.canvas import Camera, Canvas, Dice
from isoclock.data.streets.colours import foliage, masonry
from isoclock.data.streets.facades import paint_barriers, paint_facades
from isoclock.data.streets.ground import paint_ground
from isoclock.data.streets.labels import BUILDING, FENCE, SKY, VEGETATION, WALL
from isoclock.data.streets.street import STREET_END_CM, Street


def paint_scenery(canvas: Canvas, camera: Camera, street: Street, dice: Dice, *, wall: bool, fence: bool) -> None:
    """Paint sky, skyline, ground, facades, and walls, fences or hedges along the pavement, in that order."""
    _sky(canvas, camera, dice)
    _skyline(canvas, camera, dice)
    paint_ground(canvas, camera, street, dice)
    walled = dice.pick((-1, 1))
    for side in (-1, 1):
        paint_facades(canvas, camera, street.facade(side), side, dice)
        kinds = [WALL] * (wall and side == walled) + [FENCE] * (fence and side != walled)
        paint_barriers(canvas, camera, street.front(side), side, kinds, dice)


def _sky(canvas: Canvas, camera: Camera, dice: Dice) -> None:
    bright, blue = dice.between(140, 240), dice.between(-5, 40)
    clouds = dice.smooth_noise(canvas.height, canvas.width, max(2, canvas.height // 5)) * dice.between(0, 30) // 128
    light = (
        bright + clouds + (np.arange(canvas.height)[:, None] - camera.horizon) * dice.between(0, 40) // canvas.height
    )
    canvas.rgb[:] = np.stack([light - blue, light - blue // 2, light], axis=-1)
    canvas.label[:] = SKY


def _skyline(canvas: Canvas, camera: Camera, dice: Dice) -> None:
    # The end of the street: far houses or trees, so that the horizon alone does not separate sky and road.
    step = max(2, canvas.width // 24)
    high = canvas.height // 10
    for left in range(-dice.between(0, step), canvas.width, step):
        trees = dice.chance(45)
        top = camera.horizon - dice.between(high // 4, high)
        patch = canvas.patch(left, left + step, top, camera.horizon + 1, STREET_END_CM)
        if patch is not None:
            everywhere = patch.u + patch.v >= 0
            patch.paint(everywhere, foliage(dice) if trees else masonry(dice), VEGETATION if trees else BUILDING)
