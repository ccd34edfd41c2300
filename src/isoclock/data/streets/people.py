"""Pedestrians, riders and what they ride, each painted into a box of its size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from isoclock.data.streets.canvas import Dice, Patch
from isoclock.data.streets.colours import SKIN, cloth_colour, vehicle_colour
from isoclock.data.streets.labels import BICYCLE, MOTORCYCLE, PERSON, RIDER
from isoclock.data.streets.shapes import Prop, box, disc, rounded, stroke


def person(patch: Patch, dice: Dice) -> None:
    """A pedestrian."""
    _figure(patch, dice, PERSON, 1000)


def bicycle(patch: Patch, dice: Dice) -> None:
    """A parked bicycle."""
    bicycle_under(patch, dice, 0)


def motorcycle(patch: Patch, dice: Dice) -> None:
    """A parked motorcycle."""
    motorcycle_under(patch, dice, 0)


def rider_of(below: Callable[[Patch, Dice, int], None]) -> Prop:
    """A prop that paints a rider on the vehicle that `below` paints."""

    def paint(patch: Patch, dice: Dice) -> None:
        below(patch, dice, 430)
        coat, legs = cloth_colour(dice), cloth_colour(dice)
        patch.paint(stroke(patch, 420, 470, 520, 800, 75) | stroke(patch, 420, 480, 600, 620, 70), legs, RIDER)
        patch.paint(stroke(patch, 540, 150, 400, 520, 125), coat, RIDER, rounded(patch))
        patch.paint(stroke(patch, 560, 220, 720, 420, 45), coat, RIDER)
        patch.paint(disc(patch, 560, 75, 105, 75), vehicle_colour(dice) if dice.chance(50) else SKIN, RIDER)

    return paint


def bicycle_under(patch: Patch, dice: Dice, top: int) -> None:
    """A bicycle below `top` thousandths of the box."""
    frame = vehicle_colour(dice)
    _wheels(patch, BICYCLE, top + (1000 - top) * 35 // 100, (210, 790), 200)
    axle, saddle = top + (1000 - top) * 68 // 100, top + (1000 - top) * 15 // 100
    lines = stroke(patch, 210, axle, 380, saddle, 38) | stroke(patch, 480, axle, 350, saddle, 38)
    lines = lines | stroke(patch, 480, axle, 680, saddle, 38) | stroke(patch, 790, axle, 680, saddle - 60, 38)
    lines = lines | box(patch, 350, 690, saddle, saddle + 70) | box(patch, 300, 430, saddle - 60, saddle)
    patch.paint(lines, frame, BICYCLE)


def motorcycle_under(patch: Patch, dice: Dice, top: int) -> None:
    """A motorcycle below `top` thousandths of the box."""
    tall = 1000 - top
    _wheels(patch, MOTORCYCLE, top + tall * 40 // 100, (190, 810), 190)
    lacquer = vehicle_colour(dice)
    tank = disc(patch, 500, top + tall * 45 // 100, 330, tall * 28 // 100)
    patch.paint(
        tank | box(patch, 300, 720, top + tall // 2, top + tall * 85 // 100), lacquer, MOTORCYCLE, rounded(patch)
    )
    patch.paint(box(patch, 120, 480, top + tall * 22 // 100, top + tall * 36 // 100), (25, 25, 25), MOTORCYCLE)
    patch.paint(stroke(patch, 810, top + tall * 70 // 100, 660, top, 45), (60, 60, 62), MOTORCYCLE)
    patch.paint(box(patch, 360, 640, top + tall * 62 // 100, top + tall * 82 // 100), (110, 110, 112), MOTORCYCLE)


def _wheels(patch: Patch, label: int, top: int, hubs: tuple[int, int], radius: int) -> None:
    middle, tall = (top + 1000) // 2, (1000 - top) // 2
    for hub in hubs:
        whole = disc(patch, hub, middle, radius, tall)
        patch.darken(whole, 800)
        # Labelled as full discs including the gaps between spokes, as in Cityscapes.
        patch.canvas.label[patch.rows, patch.columns][np.broadcast_to(whole, (len(patch.v), patch.u.size))] = label
        patch.paint(whole & ~disc(patch, hub, middle, radius * 7 // 10, tall * 7 // 10), (30, 30, 32), label)


def _figure(patch: Patch, dice: Dice, label: int, feet: int) -> None:
    coat, legs = cloth_colour(dice), cloth_colour(dice)
    hip = feet * 55 // 100
    patch.paint(
        disc(patch, 500, feet * 8 // 100, 170, feet * 8 // 100), SKIN if dice.chance(70) else (50, 35, 25), label
    )
    torso = (abs(patch.u - 500) < 240 + (patch.v > feet // 4) * 90) & (patch.v >= feet * 15 // 100) & (patch.v < hip)
    patch.paint(torso, coat, label, rounded(patch))
    stride = (patch.v - hip) * dice.between(0, 8) // 10
    both = (abs(patch.u - 380 + stride // 2) < 130) | (abs(patch.u - 620 - stride // 2) < 130)
    patch.paint(both & (patch.v >= hip) & (patch.v < feet), legs, label)
