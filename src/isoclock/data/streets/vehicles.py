"""Vehicles, each painted into a box of its size: cars, trucks, buses, trams and a caravan."""

from __future__ import annotations

from isoclock.data.streets.canvas import Dice, Patch, Rgb
from isoclock.data.streets.colours import TYRE, glass_colour, vehicle_colour
from isoclock.data.streets.labels import BUS, CAR, CARAVAN, TRAIN, TRUCK
from isoclock.data.streets.shapes import box, disc, rounded, stroke


def car_rear(patch: Patch, dice: Dice) -> None:
    """A car from behind or from the front."""
    lacquer, glass = vehicle_colour(dice), glass_colour(dice)
    body = box(patch, 20, 980, 400, 870) | ((abs(patch.u - 500) < 300 + patch.v * 3 // 8) & (patch.v < 420))
    patch.paint(box(patch, 60, 240, 780, 1000) | box(patch, 760, 940, 780, 1000), TYRE, CAR)
    patch.paint(body, lacquer, CAR, rounded(patch))
    patch.paint((abs(patch.u - 500) < 260 + patch.v * 3 // 8) & (patch.v > 80) & (patch.v < 390), glass, CAR)
    lamps: Rgb = (200, 40, 35) if dice.chance(60) else (225, 225, 200)
    patch.paint(box(patch, 60, 230, 480, 600) | box(patch, 770, 940, 480, 600), lamps, CAR)
    patch.paint(box(patch, 380, 620, 640, 740), (205, 205, 195), CAR)


def car_side(patch: Patch, dice: Dice) -> None:
    """A car from the side."""
    lacquer, glass = vehicle_colour(dice), glass_colour(dice)
    cabin = (abs(patch.u - 500) < 190 + patch.v * 2 // 5) & (patch.v < 470)
    patch.paint(cabin | box(patch, 0, 1000, 430, 840), lacquer, CAR, rounded(patch))
    patch.paint(
        (abs(patch.u - 500) < 150 + patch.v * 2 // 5) & (patch.v > 90) & (patch.v < 420) & (abs(patch.u - 500) > 18),
        glass,
        CAR,
    )
    for hub in (205, 795):
        patch.paint(disc(patch, hub, 815, 95, 185), TYRE, CAR)
        patch.paint(disc(patch, hub, 815, 45, 90), (130, 130, 130), CAR)


def truck_rear(patch: Patch, dice: Dice) -> None:
    """A truck from behind."""
    lacquer = vehicle_colour(dice)
    patch.paint(
        box(patch, 80, 300, 850, 1000) | box(patch, 700, 920, 850, 1000) | box(patch, 60, 940, 830, 900),
        TYRE,
        TRUCK,
    )
    patch.paint(box(patch, 0, 1000, 0, 840), lacquer, TRUCK, rounded(patch))
    patch.paint((abs(patch.u - 500) < 16) & (patch.v < 820), tuple(c * 6 // 10 for c in lacquer), TRUCK)  # type: ignore[arg-type]
    patch.paint(box(patch, 40, 200, 770, 830) | box(patch, 800, 960, 770, 830), (190, 40, 35), TRUCK)


def truck_side(patch: Patch, dice: Dice) -> None:
    """A truck from the side."""
    cab, load = vehicle_colour(dice), vehicle_colour(dice)
    patch.paint(box(patch, 0, 1000, 760, 880), TYRE, TRUCK)
    patch.paint(box(patch, 270, 1000, 0, 790), load, TRUCK, rounded(patch))
    patch.paint(box(patch, 0, 250, 250 - 0, 830), cab, TRUCK, rounded(patch))
    patch.paint(box(patch, 25, 180, 310, 500), glass_colour(dice), TRUCK)
    for hub in (130, 640, 830):
        patch.paint(disc(patch, hub, 880, 75, 125), TYRE, TRUCK)


def bus_front(patch: Patch, dice: Dice) -> None:
    """A bus from the front."""
    lacquer, glass = vehicle_colour(dice), glass_colour(dice)
    patch.paint(box(patch, 90, 260, 900, 1000) | box(patch, 740, 910, 900, 1000), TYRE, BUS)
    patch.paint(box(patch, 0, 1000, 0, 940), lacquer, BUS, rounded(patch))
    patch.paint(box(patch, 60, 940, 170, 560), glass, BUS)
    patch.paint(box(patch, 180, 820, 50, 140), (230, 160, 30), BUS)
    patch.paint(box(patch, 60, 200, 740, 830) | box(patch, 800, 940, 740, 830), (235, 235, 215), BUS)


def bus_side(patch: Patch, dice: Dice) -> None:
    """A bus from the side."""
    lacquer, glass = vehicle_colour(dice), glass_colour(dice)
    patch.paint(box(patch, 0, 1000, 0, 920), lacquer, BUS, rounded(patch))
    patch.paint(box(patch, 15, 985, 180, 540) & (patch.u % 125 > 14), glass, BUS)
    patch.paint((box(patch, 60, 130, 200, 900) | box(patch, 530, 600, 200, 900)) & (patch.u % 35 > 5), glass, BUS)
    for hub in (240, 770):
        patch.paint(disc(patch, hub, 890, 48, 110), TYRE, BUS)


def train_front(patch: Patch, dice: Dice) -> None:
    """A tram from the front."""
    lacquer, stripe, glass = vehicle_colour(dice), vehicle_colour(dice), glass_colour(dice)
    nose = abs(patch.u - 500) < 330 + patch.v * 2
    patch.paint(nose & (patch.v > 90) & (patch.v < 960), lacquer, TRAIN, rounded(patch))
    patch.paint(stroke(patch, 330, 0, 560, 95, 30) | box(patch, 250, 750, 0, 22), (60, 60, 60), TRAIN)
    patch.paint(nose & (abs(patch.u - 500) < 360) & (patch.v > 210) & (patch.v < 520), glass, TRAIN)
    patch.paint(nose & (patch.v > 590) & (patch.v < 690), stripe, TRAIN)
    patch.paint(
        disc(patch, 500, 150, 60, 40) | disc(patch, 180, 760, 70, 45) | disc(patch, 820, 760, 70, 45),
        (245, 240, 210),
        TRAIN,
    )
    patch.paint(box(patch, 60, 940, 930, 1000), (40, 40, 42), TRAIN)


def train_side(patch: Patch, dice: Dice) -> None:
    """A tram from the side."""
    lacquer, stripe = vehicle_colour(dice), vehicle_colour(dice)
    patch.paint(box(patch, 0, 1000, 100, 930) & (patch.u % 334 > 8), lacquer, TRAIN, rounded(patch))
    patch.paint(box(patch, 10, 990, 230, 500) & (patch.u % 84 > 20), glass_colour(dice), TRAIN)
    patch.paint(box(patch, 0, 1000, 590, 680), stripe, TRAIN)
    patch.paint(stroke(patch, 420, 0, 500, 100, 8) | box(patch, 0, 1000, 900, 1000), (45, 45, 48), TRAIN)


def caravan(patch: Patch, dice: Dice) -> None:
    """A caravan from behind: void in training."""
    patch.paint(box(patch, 200, 800, 880, 1000), TYRE, CARAVAN)
    patch.paint(box(patch, 0, 1000, 0, 900), (205, 200, 190), CARAVAN, rounded(patch))
    patch.paint(box(patch, 200, 800, 180, 430), glass_colour(dice), CARAVAN)
