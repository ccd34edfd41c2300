"""Where things are across a generated street."""

from __future__ import annotations

from dataclasses import dataclass

from isoclock.data.streets.canvas import Dice

STREET_END_CM = 9_000


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
