"""Street furniture and trees, each painted into a box of its size."""

from __future__ import annotations

from isoclock.data.streets.canvas import Dice, Patch, Rgb
from isoclock.data.streets.colours import cloth_colour, foliage, masonry
from isoclock.data.streets.labels import DYNAMIC, LIGHT, POLE, SIGN, STATIC, VEGETATION
from isoclock.data.streets.shapes import box, disc, rounded, stroke


def pole(patch: Patch, dice: Dice) -> None:
    """A pole."""
    grey = dice.between(40, 150)
    patch.paint(patch.u + patch.v >= 0, (grey, grey, grey + 4), POLE, 700 + patch.u * 6 // 10)


def lamp_post(patch: Patch, dice: Dice) -> None:
    """A lamp post with an arm."""
    grey = dice.between(40, 150)
    arm = (patch.v < 35) & (patch.u > 450)
    patch.paint((abs(patch.u - 480) < 60) | arm, (grey, grey, grey + 4), POLE)


def traffic_light(patch: Patch, dice: Dice) -> None:
    """A traffic light on a pole."""
    _stick(patch, dice, 110)
    case = dice.between(20, 60)
    patch.paint(box(patch, 60, 940, 0, 330), (case, case, case), LIGHT)
    lit = dice.between(0, 2)
    for number, colour in enumerate(((235, 40, 30), (240, 180, 30), (50, 220, 120))):
        shine: Rgb = colour if number == lit else (case + 12, case + 10, case + 8)
        patch.paint(disc(patch, 500, 62 + 104 * number, 330, 50), shine, LIGHT)


def traffic_sign(patch: Patch, dice: Dice) -> None:
    """A traffic sign on a pole: round, triangular, square or diamond-shaped."""
    _stick(patch, dice, 70)
    shape = dice.between(0, 3)
    face = disc(patch, 500, 150, 500, 150)
    if shape == 1:
        face = (abs(patch.u - 500) < patch.v * 5 // 3) & (patch.v < 300)
    elif shape == 2:
        face = box(patch, 0, 1000, 0, 300)
    elif shape == 3:
        face = abs(patch.u - 500) * 3 // 10 + abs(patch.v - 150) < 150
    rim: Rgb = ((200, 40, 40), (200, 40, 40), (40, 80, 170), (235, 190, 40))[shape]
    patch.paint(face, rim, SIGN)
    inner = face & (abs(patch.u - 500) < 270) & (abs(patch.v - 160) < 80)
    patch.paint(inner, (225, 225, 220) if dice.chance(80) else (60, 60, 60), SIGN)


def tree(patch: Patch, dice: Dice) -> None:
    """A tree."""
    patch.paint((abs(patch.u - 500) < 60) & (patch.v > 400), (70, 58, 45), VEGETATION)
    leaves = foliage(dice)
    tall, wide = len(patch.v), patch.u.size
    clumps = dice.smooth_noise(tall, wide, max(2, tall // 9)) * 3 // 4 + dice.noise(tall, wide) // 3
    near = ((patch.u - 500) ** 2 * 36 + (patch.v - 330) ** 2 * 80) // 10_000
    patch.paint(near + clumps * 5 < 850, leaves, VEGETATION, 1_000 + clumps * 3 - patch.v // 4)


def rubbish_bin(patch: Patch, dice: Dice) -> None:
    """A rubbish bin: static, void in training."""
    patch.paint(box(patch, 60, 940, 60, 1000) | box(patch, 0, 1000, 0, 130), masonry(dice), STATIC, rounded(patch))


def pram(patch: Patch, dice: Dice) -> None:
    """A pram: dynamic, void in training."""
    patch.paint(disc(patch, 450, 420, 430, 400) & (patch.v < 620), cloth_colour(dice), DYNAMIC, rounded(patch))
    patch.paint(
        disc(patch, 250, 850, 130, 150) | disc(patch, 700, 850, 130, 150) | stroke(patch, 950, 150, 700, 600, 40),
        (40, 40, 40),
        DYNAMIC,
    )


def _stick(patch: Patch, dice: Dice, wide: int) -> None:
    grey = dice.between(60, 150)
    patch.paint(abs(patch.u - 500) < wide, (grey, grey, grey), POLE)
