"""The ground of a generated street scene: a plane in perspective.

Every pixel is mapped back to its point on the plane, in centimetres. The point determines class and texture.
"""

from __future__ import annotations

import numpy as np

from isoclock.data.streets.canvas import Camera, Canvas, Dice, Ints, Mask, Rgb, hashed
from isoclock.data.streets.colours import masonry
from isoclock.data.streets.labels import PARKING, RAIL, ROAD, SIDEWALK, TERRAIN
from isoclock.data.streets.street import Street


def paint_ground(canvas: Canvas, camera: Camera, street: Street, dice: Dice) -> None:
    """Paint road, pavements, parking, rails, terrain and road markings below the horizon."""
    first = camera.horizon + 1
    below = np.arange(first, canvas.height)[:, None] - camera.horizon
    z = camera.focal * camera.height_cm // below
    x = (np.arange(canvas.width)[None, :] - camera.centre) * camera.height_cm // below
    z = np.broadcast_to(z, x.shape)
    tarmac, slabs = dice.between(50, 100), dice.between(100, 165)
    warm = dice.between(-8, 2)
    road, pavement, beyond = (tarmac + warm, tarmac, tarmac - warm), (slabs + 8, slabs, slabs - 10), masonry(dice)
    green = dice.between(95, 145)
    grass = (green - dice.between(0, 30), green, green - dice.between(45, 70))
    behind = dice.chance(65)
    strip = dice.between(120, 240) * dice.chance(35)
    rgb = canvas.rgb[first:]
    label = canvas.label[first:]
    canvas.depth[first:] = z
    worn = dice.smooth_noise(x.shape[0], x.shape[1], max(2, canvas.height // 16))

    def lay(mask: Mask, colour: Rgb, raw: int, texture: Ints) -> None:
        rgb[mask] = np.array(colour, np.int64) + texture[mask][:, None]
        label[mask] = raw

    fine = hashed(x // 12, z // 40, 1)
    lay(x == x, road, ROAD, fine // 24 + worn // 12)
    for side in (-1, 1):
        across = x * side
        kerb, front = street.kerb(side), street.front(side)
        joints = ((x % 60 < 6) | (z % 60 < 6)) * -14
        lay(across > kerb, pavement, SIDEWALK, joints + fine // 20 + worn // 16)
        lay((across > kerb) & (across < kerb + 18), (slabs + 30,) * 3, SIDEWALK, fine // 24)
        lay((across > kerb + 20) & (across < kerb + 20 + strip), grass, TERRAIN, hashed(x // 9, z // 22, 2) // 7)
        if street.parking and side > 0:
            lay(
                (across > kerb - street.parking) & (across <= kerb),
                road,
                PARKING,
                10 + (z % 500 < 20) * 70 + worn // 16,
            )
        if behind:
            lay(across > front, grass, TERRAIN, hashed(x // 9, z // 22, 3) // 7 + worn // 10)
        else:
            lay(across > front, beyond, SIDEWALK, joints + worn // 10)
    on_road = label == ROAD
    middle = (street.right_kerb - street.left_kerb) // 2
    paint = (abs(x - middle) < 9) & (z % 900 < dice.pick((450, 900))) & on_road
    if dice.chance(25):
        paint = paint | ((z > 900) & (z < 1_200) & (x % 110 < 55) & on_road)
    rgb[paint] = np.minimum(rgb[paint] + 80, 235)
    if street.rail:
        bed = (x > middle - 320) & (x < middle - 20) & on_road
        lay(
            bed,
            road,
            RAIL,
            ((abs(x - middle + 245) < 10) | (abs(x - middle + 95) < 10)) * 60 + hashed(x // 20, z // 20, 4) // 10,
        )
