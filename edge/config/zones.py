"""The section ``[zones]``: where participants sit, and where nobody is looked at."""

from itertools import combinations
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from edge.codes import Code, SeatName
from edge.config.polygon import common_point, mistake
from edge.config.section import Section

SEATS_MAX: Final = 16

_EXPECTED: Final = (
    "expected corners as shares of the picture's width and height, 0 to 1, such as"
    " [[0.1, 0.2], [0.4, 0.2], [0.4, 0.9], [0.1, 0.9]]"
)


def _corners(value: Any) -> Any:
    """Return a list of corners as tuples; refuse anything else in one line."""
    if not isinstance(value, (list, tuple)):
        raise ValueError(_EXPECTED)
    for corner in value:
        if not isinstance(corner, (list, tuple)) or len(corner) != 2:
            raise ValueError(_EXPECTED)
        if not all(type(share) in (int, float) and 0 <= share <= 1 for share in corner):
            raise ValueError(_EXPECTED)
    return tuple((float(x), float(y)) for x, y in value)


def _one_area(value: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    if text := mistake(value):
        raise ValueError(text)
    return value


PolygonShares = Annotated[
    tuple[tuple[float, float], ...], BeforeValidator(_corners), AfterValidator(_one_area)
]
"""Corners in order around one area, as shares of the picture's width and height as it is shown:
they stay right when the resolution changes."""


class SeatConfig(Section):
    """Where a participant sits, and whose code it has until one is assigned."""

    polygon: PolygonShares
    participant: Code | None = None


class ZonesConfig(Section):
    """Seats and ignored areas.

    With seats, only faces whose box has its centre in a seat are looked at; others are neither
    tracked nor classified nor published. Faces in ignored areas never are, in a seat or not.
    """

    seats: dict[SeatName, SeatConfig] = Field({})
    ignored: dict[SeatName, PolygonShares] = Field({})

    @field_validator("seats", "ignored", mode="before")
    @classmethod
    def _is_table(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("expected areas by name, such as { left = ... }")
        return value

    @model_validator(mode="after")
    def _separate(self) -> "ZonesConfig":
        if len(self.seats) > SEATS_MAX:
            raise ValueError(f"seats: expected at most {SEATS_MAX}, received {len(self.seats)}")
        for (name, seat), (other_name, other) in combinations(self.seats.items(), 2):
            point = common_point(seat.polygon, other.polygon)
            if point is not None:
                raise ValueError(
                    f"seats {name} and {other_name} overlap at [{point[0]:.3g}, {point[1]:.3g}];"
                    " expected seats that at most touch"
                )
            if seat.participant is not None and seat.participant == other.participant:
                raise ValueError(
                    f"seats {name} and {other_name} have the participant {seat.participant};"
                    " expected one seat each"
                )
        return self
