"""Geometry of polygons: validity, containment and overlap.

A polygon is a sequence of corners ``(x, y)``; its edges join consecutive corners, and the last one
to the first. Coordinates may have any unit. ``mistake`` and ``common_point`` compute in fractions,
that is exactly, so that polygons may touch without overlapping; ``contains`` is for every face of
every frame, and computes in floating point.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Final

Polygon = Sequence[tuple[float, float]]
_Point = tuple[Fraction, Fraction]
_Edge = tuple[_Point, _Point]

CORNERS_MAX: Final = 32
AREA_MIN: Final = 1e-4
"""Least area, in units of the coordinates squared."""


def mistake(polygon: Polygon) -> str:
    """Return why ``polygon`` does not enclose one area; empty if it does."""
    if not 3 <= len(polygon) <= CORNERS_MAX:
        return f"expected 3 to {CORNERS_MAX} corners, received {len(polygon)}"
    points = _exact(polygon)
    edges = _edges(points)
    twice = next((begin for begin, end in edges if begin == end), None)
    if twice is not None:
        return f"corner {_text(twice)} stands twice in a row; expected it once"
    for index, (begin, end) in enumerate(edges):
        for other in edges[index + 2 :]:
            if index == 0 and other is edges[-1]:
                continue  # neighbours
            if _meet((begin, end), other):
                return (
                    f"the edge from {_text(begin)} to {_text(end)} meets the one from"
                    f" {_text(other[0])} to {_text(other[1])}; expected corners in order around"
                    " the area"
                )
    for (before, corner), (_, after) in pairwise([*edges, edges[0]]):
        if _turn(before, corner, after) == 0 and _is_backwards(before, corner, after):
            return f"the edges at {_text(corner)} lie on each other; expected an area"
    if (found := area(polygon)) < AREA_MIN:
        return f"expected an area of {AREA_MIN:g} or more, received {found:.2g}"
    return ""


def area(polygon: Polygon) -> float:
    """Return the area of a polygon whose edges do not cross, in squares of its unit."""
    edges = _edges(_exact(polygon))
    doubled = sum((a[0] * b[1] - b[0] * a[1] for a, b in edges), Fraction(0))
    return float(abs(doubled) / 2)


def contains(polygon: Polygon, x: float, y: float) -> bool:
    """Return whether the point lies in ``polygon``.

    Of two polygons on either side of a common edge, exactly one contains a point of that edge. A
    point at a left or upper edge lies inside, at a right or lower one outside (y grows downwards).
    """
    is_inside = False
    for (ax, ay), (bx, by) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        # half-open in y: a ray to the right through a corner meets one of its two edges
        if (ay <= y) == (by <= y):
            continue
        if ay > by:  # neighbours have the common edge in opposite directions: round it once
            ax, ay, bx, by = bx, by, ax, ay  # noqa: PLW2901
        is_inside ^= x < ax + (y - ay) * (bx - ax) / (by - ay)
    return is_inside


def common_point(one: Polygon, other: Polygon) -> tuple[float, float] | None:
    """Return a point where two polygons overlap; None if they do not, even if they touch.

    The point is inside one of them, and inside or on the outline of the other.
    """
    mine, theirs = _edges(_exact(one)), _edges(_exact(other))
    # An overlap has a boundary: a part of one outline inside the other, or both are equal.
    for edges, area in ((mine, theirs), (theirs, mine)):
        for edge in edges:
            cuts = {Fraction(0), Fraction(1)}
            for cutting in area:
                cuts.update(_cuts(edge, cutting))
            for first, last in pairwise(sorted(cuts)):
                point = _at(edge, (first + last) / 2)
                if _is_strictly_inside(area, point):
                    return float(point[0]), float(point[1])
    inner = _inner_point(mine)
    return (float(inner[0]), float(inner[1])) if _is_strictly_inside(theirs, inner) else None


def _exact(polygon: Polygon) -> list[_Point]:
    return [(Fraction(x), Fraction(y)) for x, y in polygon]


def _edges(points: list[_Point]) -> list[_Edge]:
    return list(zip(points, [*points[1:], points[0]], strict=True))


def _turn(a: _Point, b: _Point, c: _Point) -> Fraction:
    """Return twice the signed area of the triangle; 0 if the points are on one line."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _is_backwards(a: _Point, b: _Point, c: _Point) -> bool:
    return (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1]) < 0


def _is_on(edge: _Edge, point: _Point) -> bool:
    (ax, ay), (bx, by) = edge
    return (
        _turn(edge[0], edge[1], point) == 0
        and min(ax, bx) <= point[0] <= max(ax, bx)
        and min(ay, by) <= point[1] <= max(ay, by)
    )


def _meet(one: _Edge, other: _Edge) -> bool:
    """Return whether two edges have a point in common."""
    if any(_is_on(one, point) for point in other) or any(_is_on(other, point) for point in one):
        return True
    turns = [_turn(*one, point) for point in other]
    back = [_turn(*other, point) for point in one]
    return turns[0] * turns[1] < 0 and back[0] * back[1] < 0


def _crossings(edges: list[_Edge], point: _Point) -> int:
    """Return how many edges a ray from ``point`` to the right crosses."""
    x, y = point
    count = 0
    for (ax, ay), (bx, by) in edges:
        # half-open in y: a ray through a corner meets one of its two edges
        if (ay <= y) != (by <= y):
            count += x < ax + (y - ay) * (bx - ax) / (by - ay)
    return count


def _is_strictly_inside(edges: list[_Edge], point: _Point) -> bool:
    return not any(_is_on(edge, point) for edge in edges) and _crossings(edges, point) % 2 == 1


def _at(edge: _Edge, share: Fraction) -> _Point:
    (ax, ay), (bx, by) = edge
    return ax + (bx - ax) * share, ay + (by - ay) * share


def _cuts(edge: _Edge, cutting: _Edge) -> list[Fraction]:
    """Return where along ``edge`` (0..1) it meets ``cutting``: a point, or both ends of a part."""
    (a, b), (c, d) = edge, cutting
    direction = (b[0] - a[0], b[1] - a[1])
    length2 = direction[0] ** 2 + direction[1] ** 2
    from_c, from_d = _turn(a, b, c), _turn(a, b, d)
    if from_c == from_d == 0:
        shares = [
            ((p[0] - a[0]) * direction[0] + (p[1] - a[1]) * direction[1]) / length2 for p in (c, d)
        ]
    elif from_c == from_d:
        return []  # parallel
    else:
        crossing = _at(cutting, from_c / (from_c - from_d))
        if not _is_on(cutting, crossing):
            return []
        shares = [
            ((crossing[0] - a[0]) * direction[0] + (crossing[1] - a[1]) * direction[1]) / length2
        ]
    return [share for share in shares if 0 < share < 1]


def _inner_point(edges: list[_Edge]) -> _Point:
    """Return a point strictly inside a polygon, on a level between its two uppermost corners."""
    levels = sorted({begin[1] for begin, _ in edges})
    y = (levels[0] + levels[1]) / 2
    across = sorted(
        ax + (y - ay) * (bx - ax) / (by - ay)
        for (ax, ay), (bx, by) in edges
        if (ay <= y) != (by <= y)
    )
    return (across[0] + across[1]) / 2, y


def _text(point: _Point) -> str:
    return f"[{float(point[0]):g}, {float(point[1]):g}]"
