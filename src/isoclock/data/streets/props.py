"""The movable part of a generated street scene: vehicles, people, trees, poles; each painted into a box of its size.

A prop is a function `(patch, dice) -> None`; `SIZES` gives the box it expects, in centimetres. Labels are raw
Cityscapes ids.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from isoclock.data.streets.canvas import Dice, Ints, Mask, Patch, Rgb
from isoclock.data.streets.scenery import foliage, masonry

STATIC, DYNAMIC, POLE, LIGHT, SIGN, VEGETATION = 4, 5, 17, 19, 20, 21
PERSON, RIDER, CAR, TRUCK, BUS, CARAVAN, TRAIN, MOTORCYCLE, BICYCLE = 24, 25, 26, 27, 28, 29, 31, 32, 33

Prop = Callable[[Patch, Dice], None]


def _disc(patch: Patch, u: int, v: int, ru: int, rv: int) -> Mask:
    return ((patch.u - u) * rv) ** 2 + ((patch.v - v) * ru) ** 2 < (ru * rv) ** 2


def _box(patch: Patch, left: int, right: int, top: int, bottom: int) -> Mask:
    return (patch.u >= left) & (patch.u < right) & (patch.v >= top) & (patch.v < bottom)


def _stroke(patch: Patch, u0: int, v0: int, u1: int, v1: int, wide: int) -> Mask:
    span = max(1, abs(v1 - v0))
    low, high = min(v0, v1), max(v0, v1)
    return (
        (abs(patch.u - u0 - (patch.v - v0) * (u1 - u0) // (span if v1 >= v0 else -span)) < wide)
        & (patch.v >= low)
        & (patch.v < high)
    )


def _rounded(patch: Patch) -> Ints:
    # Lighter above, darker below: solid bodies under the sky.
    return 1_150 - patch.v * 3 // 10


def _lacquer(dice: Dice) -> Rgb:
    if dice.chance(60):
        grey = dice.between(25, 220)
        return grey, grey + dice.between(-6, 6), grey + dice.between(-10, 10)
    return dice.between(20, 200), dice.between(20, 170), dice.between(20, 180)


def _cloth(dice: Dice) -> Rgb:
    return dice.between(20, 190), dice.between(20, 170), dice.between(20, 180)


def _glass(dice: Dice) -> Rgb:
    grey = dice.between(20, 90)
    return grey, grey + 5, grey + 15


_TYRE: Rgb = (22, 22, 24)
_SKIN: Rgb = (170, 125, 100)


def _car_behind(patch: Patch, dice: Dice) -> None:
    lacquer, glass = _lacquer(dice), _glass(dice)
    body = _box(patch, 20, 980, 400, 870) | ((abs(patch.u - 500) < 300 + patch.v * 3 // 8) & (patch.v < 420))
    patch.paint(_box(patch, 60, 240, 780, 1000) | _box(patch, 760, 940, 780, 1000), _TYRE, CAR)
    patch.paint(body, lacquer, CAR, _rounded(patch))
    patch.paint((abs(patch.u - 500) < 260 + patch.v * 3 // 8) & (patch.v > 80) & (patch.v < 390), glass, CAR)
    lamps: Rgb = (200, 40, 35) if dice.chance(60) else (225, 225, 200)
    patch.paint(_box(patch, 60, 230, 480, 600) | _box(patch, 770, 940, 480, 600), lamps, CAR)
    patch.paint(_box(patch, 380, 620, 640, 740), (205, 205, 195), CAR)


def _car_beside(patch: Patch, dice: Dice) -> None:
    lacquer, glass = _lacquer(dice), _glass(dice)
    cabin = (abs(patch.u - 500) < 190 + patch.v * 2 // 5) & (patch.v < 470)
    patch.paint(cabin | _box(patch, 0, 1000, 430, 840), lacquer, CAR, _rounded(patch))
    patch.paint(
        (abs(patch.u - 500) < 150 + patch.v * 2 // 5) & (patch.v > 90) & (patch.v < 420) & (abs(patch.u - 500) > 18),
        glass,
        CAR,
    )
    for hub in (205, 795):
        patch.paint(_disc(patch, hub, 815, 95, 185), _TYRE, CAR)
        patch.paint(_disc(patch, hub, 815, 45, 90), (130, 130, 130), CAR)


def _truck_behind(patch: Patch, dice: Dice) -> None:
    lacquer = _lacquer(dice)
    patch.paint(
        _box(patch, 80, 300, 850, 1000) | _box(patch, 700, 920, 850, 1000) | _box(patch, 60, 940, 830, 900),
        _TYRE,
        TRUCK,
    )
    patch.paint(_box(patch, 0, 1000, 0, 840), lacquer, TRUCK, _rounded(patch))
    patch.paint((abs(patch.u - 500) < 16) & (patch.v < 820), tuple(c * 6 // 10 for c in lacquer), TRUCK)  # type: ignore[arg-type]
    patch.paint(_box(patch, 40, 200, 770, 830) | _box(patch, 800, 960, 770, 830), (190, 40, 35), TRUCK)


def _truck_beside(patch: Patch, dice: Dice) -> None:
    cab, load = _lacquer(dice), _lacquer(dice)
    patch.paint(_box(patch, 0, 1000, 760, 880), _TYRE, TRUCK)
    patch.paint(_box(patch, 270, 1000, 0, 790), load, TRUCK, _rounded(patch))
    patch.paint(_box(patch, 0, 250, 250 - 0, 830), cab, TRUCK, _rounded(patch))
    patch.paint(_box(patch, 25, 180, 310, 500), _glass(dice), TRUCK)
    for hub in (130, 640, 830):
        patch.paint(_disc(patch, hub, 880, 75, 125), _TYRE, TRUCK)


def _bus_front(patch: Patch, dice: Dice) -> None:
    lacquer, glass = _lacquer(dice), _glass(dice)
    patch.paint(_box(patch, 90, 260, 900, 1000) | _box(patch, 740, 910, 900, 1000), _TYRE, BUS)
    patch.paint(_box(patch, 0, 1000, 0, 940), lacquer, BUS, _rounded(patch))
    patch.paint(_box(patch, 60, 940, 170, 560), glass, BUS)
    patch.paint(_box(patch, 180, 820, 50, 140), (230, 160, 30), BUS)
    patch.paint(_box(patch, 60, 200, 740, 830) | _box(patch, 800, 940, 740, 830), (235, 235, 215), BUS)


def _bus_beside(patch: Patch, dice: Dice) -> None:
    lacquer, glass = _lacquer(dice), _glass(dice)
    patch.paint(_box(patch, 0, 1000, 0, 920), lacquer, BUS, _rounded(patch))
    patch.paint(_box(patch, 15, 985, 180, 540) & (patch.u % 125 > 14), glass, BUS)
    patch.paint((_box(patch, 60, 130, 200, 900) | _box(patch, 530, 600, 200, 900)) & (patch.u % 35 > 5), glass, BUS)
    for hub in (240, 770):
        patch.paint(_disc(patch, hub, 890, 48, 110), _TYRE, BUS)


def _train_front(patch: Patch, dice: Dice) -> None:
    lacquer, stripe, glass = _lacquer(dice), _lacquer(dice), _glass(dice)
    nose = abs(patch.u - 500) < 330 + patch.v * 2
    patch.paint(nose & (patch.v > 90) & (patch.v < 960), lacquer, TRAIN, _rounded(patch))
    patch.paint(_stroke(patch, 330, 0, 560, 95, 30) | _box(patch, 250, 750, 0, 22), (60, 60, 60), TRAIN)
    patch.paint(nose & (abs(patch.u - 500) < 360) & (patch.v > 210) & (patch.v < 520), glass, TRAIN)
    patch.paint(nose & (patch.v > 590) & (patch.v < 690), stripe, TRAIN)
    patch.paint(
        _disc(patch, 500, 150, 60, 40) | _disc(patch, 180, 760, 70, 45) | _disc(patch, 820, 760, 70, 45),
        (245, 240, 210),
        TRAIN,
    )
    patch.paint(_box(patch, 60, 940, 930, 1000), (40, 40, 42), TRAIN)


def _train_beside(patch: Patch, dice: Dice) -> None:
    lacquer, stripe = _lacquer(dice), _lacquer(dice)
    patch.paint(_box(patch, 0, 1000, 100, 930) & (patch.u % 334 > 8), lacquer, TRAIN, _rounded(patch))
    patch.paint(_box(patch, 10, 990, 230, 500) & (patch.u % 84 > 20), _glass(dice), TRAIN)
    patch.paint(_box(patch, 0, 1000, 590, 680), stripe, TRAIN)
    patch.paint(_stroke(patch, 420, 0, 500, 100, 8) | _box(patch, 0, 1000, 900, 1000), (45, 45, 48), TRAIN)


def _caravan(patch: Patch, dice: Dice) -> None:
    patch.paint(_box(patch, 200, 800, 880, 1000), _TYRE, CARAVAN)
    patch.paint(_box(patch, 0, 1000, 0, 900), (205, 200, 190), CARAVAN, _rounded(patch))
    patch.paint(_box(patch, 200, 800, 180, 430), _glass(dice), CARAVAN)


def _figure(patch: Patch, dice: Dice, label: int, feet: int) -> None:
    coat, legs = _cloth(dice), _cloth(dice)
    hip = feet * 55 // 100
    patch.paint(
        _disc(patch, 500, feet * 8 // 100, 170, feet * 8 // 100), _SKIN if dice.chance(70) else (50, 35, 25), label
    )
    torso = (abs(patch.u - 500) < 240 + (patch.v > feet // 4) * 90) & (patch.v >= feet * 15 // 100) & (patch.v < hip)
    patch.paint(torso, coat, label, _rounded(patch))
    stride = (patch.v - hip) * dice.between(0, 8) // 10
    both = (abs(patch.u - 380 + stride // 2) < 130) | (abs(patch.u - 620 - stride // 2) < 130)
    patch.paint(both & (patch.v >= hip) & (patch.v < feet), legs, label)


def _person(patch: Patch, dice: Dice) -> None:
    _figure(patch, dice, PERSON, 1000)


def _wheels(patch: Patch, label: int, top: int, hubs: tuple[int, int], radius: int) -> None:
    middle, tall = (top + 1000) // 2, (1000 - top) // 2
    for hub in hubs:
        whole = _disc(patch, hub, middle, radius, tall)
        patch.darken(whole, 800)
        # Labelled as full discs although one sees through the spokes, as in Cityscapes.
        patch.canvas.label[patch.rows, patch.columns][np.broadcast_to(whole, (len(patch.v), patch.u.size))] = label
        patch.paint(whole & ~_disc(patch, hub, middle, radius * 7 // 10, tall * 7 // 10), (30, 30, 32), label)


def _bicycle_below(patch: Patch, dice: Dice, top: int) -> None:
    frame = _lacquer(dice)
    _wheels(patch, BICYCLE, top + (1000 - top) * 35 // 100, (210, 790), 200)
    axle, saddle = top + (1000 - top) * 68 // 100, top + (1000 - top) * 15 // 100
    lines = _stroke(patch, 210, axle, 380, saddle, 38) | _stroke(patch, 480, axle, 350, saddle, 38)
    lines = lines | _stroke(patch, 480, axle, 680, saddle, 38) | _stroke(patch, 790, axle, 680, saddle - 60, 38)
    lines = lines | _box(patch, 350, 690, saddle, saddle + 70) | _box(patch, 300, 430, saddle - 60, saddle)
    patch.paint(lines, frame, BICYCLE)


def _bicycle(patch: Patch, dice: Dice) -> None:
    _bicycle_below(patch, dice, 0)


def _motorcycle_below(patch: Patch, dice: Dice, top: int) -> None:
    tall = 1000 - top
    _wheels(patch, MOTORCYCLE, top + tall * 40 // 100, (190, 810), 190)
    lacquer = _lacquer(dice)
    tank = _disc(patch, 500, top + tall * 45 // 100, 330, tall * 28 // 100)
    patch.paint(
        tank | _box(patch, 300, 720, top + tall // 2, top + tall * 85 // 100), lacquer, MOTORCYCLE, _rounded(patch)
    )
    patch.paint(_box(patch, 120, 480, top + tall * 22 // 100, top + tall * 36 // 100), (25, 25, 25), MOTORCYCLE)
    patch.paint(_stroke(patch, 810, top + tall * 70 // 100, 660, top, 45), (60, 60, 62), MOTORCYCLE)
    patch.paint(_box(patch, 360, 640, top + tall * 62 // 100, top + tall * 82 // 100), (110, 110, 112), MOTORCYCLE)


def _motorcycle(patch: Patch, dice: Dice) -> None:
    _motorcycle_below(patch, dice, 0)


def _rider_of(below: Callable[[Patch, Dice, int], None]) -> Prop:
    def paint(patch: Patch, dice: Dice) -> None:
        below(patch, dice, 430)
        coat, legs = _cloth(dice), _cloth(dice)
        patch.paint(_stroke(patch, 420, 470, 520, 800, 75) | _stroke(patch, 420, 480, 600, 620, 70), legs, RIDER)
        patch.paint(_stroke(patch, 540, 150, 400, 520, 125), coat, RIDER, _rounded(patch))
        patch.paint(_stroke(patch, 560, 220, 720, 420, 45), coat, RIDER)
        patch.paint(_disc(patch, 560, 75, 105, 75), _lacquer(dice) if dice.chance(50) else _SKIN, RIDER)

    return paint


def _pole(patch: Patch, dice: Dice) -> None:
    grey = dice.between(40, 150)
    patch.paint(patch.u + patch.v >= 0, (grey, grey, grey + 4), POLE, 700 + patch.u * 6 // 10)


def _lamp_post(patch: Patch, dice: Dice) -> None:
    grey = dice.between(40, 150)
    arm = (patch.v < 35) & (patch.u > 450)
    patch.paint((abs(patch.u - 480) < 60) | arm, (grey, grey, grey + 4), POLE)


def _stick(patch: Patch, dice: Dice, wide: int) -> None:
    grey = dice.between(60, 150)
    patch.paint(abs(patch.u - 500) < wide, (grey, grey, grey), POLE)


def _traffic_light(patch: Patch, dice: Dice) -> None:
    _stick(patch, dice, 110)
    case = dice.between(20, 60)
    patch.paint(_box(patch, 60, 940, 0, 330), (case, case, case), LIGHT)
    lit = dice.between(0, 2)
    for number, colour in enumerate(((235, 40, 30), (240, 180, 30), (50, 220, 120))):
        shine: Rgb = colour if number == lit else (case + 12, case + 10, case + 8)
        patch.paint(_disc(patch, 500, 62 + 104 * number, 330, 50), shine, LIGHT)


def _traffic_sign(patch: Patch, dice: Dice) -> None:
    _stick(patch, dice, 70)
    shape = dice.between(0, 3)
    face = _disc(patch, 500, 150, 500, 150)
    if shape == 1:
        face = (abs(patch.u - 500) < patch.v * 5 // 3) & (patch.v < 300)
    elif shape == 2:
        face = _box(patch, 0, 1000, 0, 300)
    elif shape == 3:
        face = abs(patch.u - 500) * 3 // 10 + abs(patch.v - 150) < 150
    rim: Rgb = ((200, 40, 40), (200, 40, 40), (40, 80, 170), (235, 190, 40))[shape]
    patch.paint(face, rim, SIGN)
    inner = face & (abs(patch.u - 500) < 270) & (abs(patch.v - 160) < 80)
    patch.paint(inner, (225, 225, 220) if dice.chance(80) else (60, 60, 60), SIGN)


def _tree(patch: Patch, dice: Dice) -> None:
    patch.paint((abs(patch.u - 500) < 60) & (patch.v > 400), (70, 58, 45), VEGETATION)
    leaves = foliage(dice)
    tall, wide = len(patch.v), patch.u.size
    clumps = dice.smooth_noise(tall, wide, max(2, tall // 9)) * 3 // 4 + dice.noise(tall, wide) // 3
    near = ((patch.u - 500) ** 2 * 36 + (patch.v - 330) ** 2 * 80) // 10_000
    patch.paint(near + clumps * 5 < 850, leaves, VEGETATION, 1_000 + clumps * 3 - patch.v // 4)


def _bin(patch: Patch, dice: Dice) -> None:
    patch.paint(_box(patch, 60, 940, 60, 1000) | _box(patch, 0, 1000, 0, 130), masonry(dice), STATIC, _rounded(patch))


def _pram(patch: Patch, dice: Dice) -> None:
    patch.paint(_disc(patch, 450, 420, 430, 400) & (patch.v < 620), _cloth(dice), DYNAMIC, _rounded(patch))
    patch.paint(
        _disc(patch, 250, 850, 130, 150) | _disc(patch, 700, 850, 130, 150) | _stroke(patch, 950, 150, 700, 600, 40),
        (40, 40, 40),
        DYNAMIC,
    )


SIZES: dict[Prop, tuple[int, int]] = {
    _car_behind: (180, 150), _car_beside: (430, 148), _truck_behind: (260, 360), _truck_beside: (800, 350),
    _bus_front: (265, 315), _bus_beside: (1_150, 310), _train_front: (270, 390), _train_beside: (1_700, 370),
    _caravan: (230, 250), _person: (66, 176), _bicycle: (175, 105), _motorcycle: (215, 120),
    _pole: (24, 600), _lamp_post: (180, 750), _traffic_light: (62, 380), _traffic_sign: (110, 330), _tree: (520, 700),
    _bin: (70, 115), _pram: (100, 105),
}  # fmt: skip
"""Width and height of each prop's box in cm. Poles, lights and signs are larger than in life: images are small."""

CARS: tuple[Prop, ...] = (_car_behind, _car_behind, _car_beside)
TRUCKS: tuple[Prop, ...] = (_truck_behind, _truck_beside)
BUSES: tuple[Prop, ...] = (_bus_front, _bus_front, _bus_beside)
TRAINS: tuple[Prop, ...] = (_train_front, _train_front, _train_front, _train_beside)
PEOPLE: tuple[Prop, ...] = (_person,)
CYCLISTS: tuple[Prop, ...] = (_rider_of(_bicycle_below),)
BIKERS: tuple[Prop, ...] = (_rider_of(_motorcycle_below),)
BICYCLES: tuple[Prop, ...] = (_bicycle,)
MOTORCYCLES: tuple[Prop, ...] = (_motorcycle,)
POLES: tuple[Prop, ...] = (_pole, _lamp_post)
LIGHTS: tuple[Prop, ...] = (_traffic_light,)
SIGNS: tuple[Prop, ...] = (_traffic_sign,)
TREES: tuple[Prop, ...] = (_tree,)
VOIDS: tuple[Prop, ...] = (_bin, _pram, _caravan)
SIZES.update({CYCLISTS[0]: (175, 185), BIKERS[0]: (215, 180)})
