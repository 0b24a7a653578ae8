"""The seats and ignored areas part of ``affect-edge check``: how large they are, what they hide.

That a corner lies outside of the picture, or that seats overlap, is refused with the configuration.
"""

from collections.abc import Iterator
from itertools import product
from typing import Final

from edge.check.machine import Line
from edge.config import Config, PicameraSource, V4l2Source
from edge.config.polygon import Polygon, area, contains

_GRID: Final = 100
"""Points along each side of an area's frame at which overlaps are measured: to a percent or two."""

_SIDE_MIN: Final = 0.05
"""Least side of a seat's frame, share of the picture, where the picture's size is not known."""


def zones_lines(config: Config) -> Iterator[Line]:
    """Describe each seat and each ignored area in a line; warn of those that cannot serve."""
    zones = config.zones
    for name, seat in zones.seats.items():
        code = f", participant {seat.participant}" if seat.participant else ""
        text = f"seat {name}: {_shape(seat.polygon)}{code}"
        hidden = _hidden_share(seat.polygon, list(zones.ignored.values()))
        if hidden:
            areas = ", ".join(
                other for other, polygon in zones.ignored.items()
                if _hidden_share(seat.polygon, [polygon])
            )  # fmt: skip
            text += f"; {hidden:.0%} of it is ignored ({areas})"
        problem = _too_small(config, seat.polygon)
        if hidden > 0.99:
            problem = "nobody on it is looked at: change one of the two"
        yield ("WARN", f"{text}; {problem}") if problem else ("ok", text)
    for name, polygon in zones.ignored.items():
        yield "ok", f"ignored area {name}: {_shape(polygon)}"
    if not zones.seats and _hidden_share(_WHOLE, list(zones.ignored.values())) > 0.99:
        yield "WARN", "ignored areas: they cover the whole picture; nobody is looked at"


_WHOLE: Final = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


def _shape(polygon: Polygon) -> str:
    left, top, right, bottom = _frame(polygon)
    return (
        f"{area(polygon):.1%} of the picture, from [{left:.3g}, {top:.3g}] to"
        f" [{right:.3g}, {bottom:.3g}]"
    )


def _frame(polygon: Polygon) -> tuple[float, float, float, float]:
    xs, ys = zip(*polygon, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _too_small(config: Config, seat: Polygon) -> str:
    """Return why a seat is too small for a face; empty if it is not.

    The centre of a face's box has to stay in the seat, and a person moves by about a face.
    """
    left, top, right, bottom = _frame(seat)
    source = config.source
    if isinstance(source, PicameraSource | V4l2Source):
        width, height = source.width, source.height
        if source.rotate_deg in (90, 270):
            width, height = height, width
        least = config.quality.size_min_px
        sides = (right - left) * width, (bottom - top) * height
        if min(sides) >= least:
            return ""
        return (
            f"it is {sides[0]:.0f}x{sides[1]:.0f} pixels, less than the smallest face that is"
            f" classified (quality.size_min_px = {least:g}): make it larger"
        )
    if min(right - left, bottom - top) >= _SIDE_MIN:
        return ""
    return f"a side is below {_SIDE_MIN:.0%} of the picture's: a face leaves it at each movement"


def _hidden_share(polygon: Polygon, areas: list[Polygon]) -> float:
    """Return which share of a polygon lies in any of ``areas``, by points on a grid."""
    if not areas:
        return 0.0
    left, top, right, bottom = _frame(polygon)
    inside = hidden = 0
    for column, line in product(range(_GRID), repeat=2):
        x = left + (column + 0.5) * (right - left) / _GRID
        y = top + (line + 0.5) * (bottom - top) / _GRID
        if contains(polygon, x, y):
            inside += 1
            hidden += any(contains(each, x, y) for each in areas)
    return hidden / inside if inside else 0.0
