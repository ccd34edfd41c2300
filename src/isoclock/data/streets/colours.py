"""Colours of the generated scenes. Those of different classes overlap on purpose."""

from __future__ import annotations

from isoclock.data.streets.canvas import Dice, Rgb

TYRE: Rgb = (22, 22, 24)
SKIN: Rgb = (170, 125, 100)


def masonry(dice: Dice) -> Rgb:
    """Greys, bricks and renders; they overlap with road, sidewalk and wall on purpose."""
    grey = dice.between(60, 170)
    red, blue = dice.pick(((0, 0), (0, 0), (35, -25), (20, -15), (-5, 12), (45, -10)))
    return grey + red, grey, grey + blue


def foliage(dice: Dice) -> Rgb:
    """Greens, with some yellow and nearly grey."""
    green = dice.between(65, 125)
    return green + dice.pick((-35, -25, -20, -15, 10)), green, green - dice.between(25, 55)


def vehicle_colour(dice: Dice) -> Rgb:
    """Colour of a vehicle."""
    if dice.chance(60):
        grey = dice.between(25, 220)
        return grey, grey + dice.between(-6, 6), grey + dice.between(-10, 10)
    return dice.between(20, 200), dice.between(20, 170), dice.between(20, 180)


def cloth_colour(dice: Dice) -> Rgb:
    """Colour of clothes."""
    return dice.between(20, 190), dice.between(20, 170), dice.between(20, 180)


def glass_colour(dice: Dice) -> Rgb:
    """Colour of a window."""
    grey = dice.between(20, 90)
    return grey, grey + 5, grey + 15
