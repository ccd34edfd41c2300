"""The standing part of a generated street scene: sky, ground, facades and what runs along the pavement.

Ground and facades are planes in perspective: every pixel is mapped back to its point on the plane, in centimetres, and
the point decides class and texture. Labels are raw Cityscapes ids.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoclock.data.streets.canvas import Camera, Canvas, Dice, Ints, Mask, Rgb, hashed

ROAD, SIDEWALK, PARKING, RAIL, BUILDING, WALL, FENCE, VEGETATION, TERRAIN, SKY = 7, 8, 9, 10, 11, 12, 13, 21, 22, 23
_STREET_END_CM = 9_000
_STOREY_CM = 300


@dataclass(frozen=True)
class Street:
    """Where things are across a street, in cm from the camera's axis: the kerbs and the facades on either side."""

    left_kerb: int
    right_kerb: int
    pavement: int
    setback: int
    parking: int
    rail: bool

    def kerb(self, side: int) -> int:
        """Distance of the kerb on `side` (-1 left, 1 right) from the axis."""
        return self.right_kerb if side > 0 else self.left_kerb

    def front(self, side: int) -> int:
        """Distance of the far edge of the pavement."""
        return self.kerb(side) + self.pavement

    def facade(self, side: int) -> int:
        """Distance of the facades."""
        return self.front(side) + self.setback


def lay_out(dice: Dice, *, rail: bool) -> Street:
    """Draw a street."""
    return Street(
        left_kerb=dice.between(280, 560),
        right_kerb=dice.between(220, 420),
        pavement=dice.between(300, 600),
        setback=dice.pick((60, 60, 150, 400, 700)),
        parking=dice.pick((0, 0, 0, 220)),
        rail=rail,
    )


def paint_scenery(canvas: Canvas, camera: Camera, street: Street, dice: Dice, *, wall: bool, fence: bool) -> None:
    """Paint sky, skyline, ground, facades, and walls, fences or hedges along the pavement, in that order."""
    _sky(canvas, camera, dice)
    _skyline(canvas, camera, dice)
    _ground(canvas, camera, street, dice)
    walled = dice.pick((-1, 1))
    for side in (-1, 1):
        _facades(canvas, camera, street.facade(side), side, dice)
        kinds = [WALL] * (wall and side == walled) + [FENCE] * (fence and side != walled)
        _barriers(canvas, camera, street.front(side), side, kinds, dice)


def masonry(dice: Dice) -> Rgb:
    """Greys, bricks and renders; they overlap with road, sidewalk and wall on purpose."""
    grey = dice.between(60, 170)
    red, blue = dice.pick(((0, 0), (0, 0), (35, -25), (20, -15), (-5, 12), (45, -10)))
    return grey + red, grey, grey + blue


def foliage(dice: Dice) -> Rgb:
    """Greens, with some yellow and nearly grey."""
    green = dice.between(65, 125)
    return green + dice.pick((-35, -25, -20, -15, 10)), green, green - dice.between(25, 55)


def _sky(canvas: Canvas, camera: Camera, dice: Dice) -> None:
    bright, blue = dice.between(140, 240), dice.between(-5, 40)
    clouds = dice.smooth_noise(canvas.height, canvas.width, max(2, canvas.height // 5)) * dice.between(0, 30) // 128
    light = (
        bright + clouds + (np.arange(canvas.height)[:, None] - camera.horizon) * dice.between(0, 40) // canvas.height
    )
    canvas.rgb[:] = np.stack([light - blue, light - blue // 2, light], axis=-1)
    canvas.label[:] = SKY


def _skyline(canvas: Canvas, camera: Camera, dice: Dice) -> None:
    # The end of the street: far houses or trees, so that the horizon does not give sky and road away.
    step = max(2, canvas.width // 24)
    high = canvas.height // 10
    for left in range(-dice.between(0, step), canvas.width, step):
        trees = dice.chance(45)
        top = camera.horizon - dice.between(high // 4, high)
        patch = canvas.patch(left, left + step, top, camera.horizon + 1, _STREET_END_CM)
        if patch is not None:
            everywhere = patch.u + patch.v >= 0
            patch.paint(everywhere, foliage(dice) if trees else masonry(dice), VEGETATION if trees else BUILDING)


def _ground(canvas: Canvas, camera: Camera, street: Street, dice: Dice) -> None:
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


def _facades(canvas: Canvas, camera: Camera, distance: int, side: int, dice: Dice) -> None:
    columns, z = _plane(canvas, camera, distance, side)
    if not columns.size:
        return
    rows = np.arange(canvas.height)
    y = camera.height_cm + (camera.horizon - rows)[:, None] * z[None, :] // camera.focal
    ragged = dice.smooth_noise(canvas.height, canvas.width, max(2, canvas.height // 24))[0][columns]
    start = dice.between(-600, 300)
    while start < _STREET_END_CM:
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


def _barriers(canvas: Canvas, camera: Camera, distance: int, side: int, kinds: list[int], dice: Dice) -> None:
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
            # Seen through between its pales, yet labelled whole, as Cityscapes' annotators did.
            pales = (zs % 34 < 13) | (abs(ys - height + 15) < 12) | (abs(ys - 30) < 10)
            shade = np.where(pales[..., None], np.array(colour) + dark, canvas.rgb[:, take])
        elif kind == WALL:
            courses = ((ys % 40 < 8) | ((zs + ys // 40 * 35) % 70 < 9)) * -20
            shade = np.array(colour) + (courses + hashed(zs // 60, ys // 40, salt) // 14)[..., None]
        else:
            shade = np.array(colour) + hashed(zs // 18, ys // 18, salt)[..., None] // 5
        _blend(canvas, mask, take, shade, kind, zs)


def _plane(canvas: Canvas, camera: Camera, distance: int, side: int) -> tuple[Ints, Ints]:
    # The columns in which a plane along the street is seen, and its depth there.
    columns = np.arange(canvas.width)
    off = (columns - camera.centre) * side
    columns, off = columns[off > 0], off[off > 0]
    z = camera.focal * distance // off
    near = z < _STREET_END_CM
    return columns[near], z[near]


def _blend(canvas: Canvas, mask: Mask, columns: Ints, shade: Ints, label: int, z: Ints) -> None:
    left, right = int(columns[0]), int(columns[-1]) + 1  # a stretch of a plane is one run of columns
    canvas.rgb[:, left:right][mask] = np.broadcast_to(shade, (*mask.shape, 3))[mask]
    canvas.label[:, left:right][mask] = label
    canvas.depth[:, left:right][mask] = np.broadcast_to(z, mask.shape)[mask]
