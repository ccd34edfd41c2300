"""The props of a generated street scene: vehicles, people, trees and street furniture, with their sizes.

`SIZES` gives the size of the box that each prop is painted into, in centimetres.
"""

from __future__ import annotations

from isoclock.data.streets.furniture import lamp_post, pole, pram, rubbish_bin, traffic_light, traffic_sign, tree
from isoclock.data.streets.people import bicycle, bicycle_under, motorcycle, motorcycle_under, person, rider_of
from isoclock.data.streets.shapes import Prop
from isoclock.data.streets.vehicles import (
    bus_front,
    bus_side,
    car_rear,
    car_side,
    caravan,
    train_front,
    train_side,
    truck_rear,
    truck_side,
)  # fmt: skip

SIZES: dict[Prop, tuple[int, int]] = {
    car_rear: (180, 150), car_side: (430, 148), truck_rear: (260, 360), truck_side: (800, 350),
    bus_front: (265, 315), bus_side: (1_150, 310), train_front: (270, 390), train_side: (1_700, 370),
    caravan: (230, 250), person: (66, 176), bicycle: (175, 105), motorcycle: (215, 120),
    pole: (24, 600), lamp_post: (180, 750), traffic_light: (62, 380), traffic_sign: (110, 330), tree: (520, 700),
    rubbish_bin: (70, 115), pram: (100, 105),
}  # fmt: skip
"""Width and height of each prop's box in cm. Poles, lights and signs are larger than in reality because images are small."""

CARS: tuple[Prop, ...] = (car_rear, car_rear, car_side)
TRUCKS: tuple[Prop, ...] = (truck_rear, truck_side)
BUSES: tuple[Prop, ...] = (bus_front, bus_front, bus_side)
TRAINS: tuple[Prop, ...] = (train_front, train_front, train_front, train_side)
PEOPLE: tuple[Prop, ...] = (person,)
CYCLISTS: tuple[Prop, ...] = (rider_of(bicycle_under),)
BIKERS: tuple[Prop, ...] = (rider_of(motorcycle_under),)
BICYCLES: tuple[Prop, ...] = (bicycle,)
MOTORCYCLES: tuple[Prop, ...] = (motorcycle,)
POLES: tuple[Prop, ...] = (pole, lamp_post)
LIGHTS: tuple[Prop, ...] = (traffic_light,)
SIGNS: tuple[Prop, ...] = (traffic_sign,)
TREES: tuple[Prop, ...] = (tree,)
VOIDS: tuple[Prop, ...] = (rubbish_bin, pram, caravan)
SIZES.update({CYCLISTS[0]: (175, 185), BIKERS[0]: (215, 180)})
