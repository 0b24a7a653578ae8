"""Polygons: which are valid, what they contain, and which overlap."""

import math

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from edge.config.polygon import common_point, contains, mistake

SQUARE = [(0.2, 0.2), (0.6, 0.2), (0.6, 0.6), (0.2, 0.6)]
CORNERS = st.tuples(st.integers(0, 8), st.integers(0, 8)).map(lambda p: (p[0] / 8, p[1] / 8))


@st.composite
def stars(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Return a polygon around a centre, with corners in the order of their angle."""
    centre = draw(st.tuples(st.floats(0.3, 0.7), st.floats(0.3, 0.7)))
    count = draw(st.integers(3, 9))
    radii = draw(st.lists(st.floats(0.05, 0.3), min_size=count, max_size=count))
    return [
        (
            centre[0] + radius * math.cos(2 * math.pi * index / count),
            centre[1] + radius * math.sin(2 * math.pi * index / count),
        )
        for index, radius in enumerate(radii)
    ]


@st.composite
def coarse_polygons(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Return corners of a coarse grid in the order of their angle around their mean."""
    corners = draw(st.lists(CORNERS, min_size=3, max_size=6, unique=True))
    x, y = (sum(values) / len(corners) for values in zip(*corners, strict=True))
    ordered = sorted(corners, key=lambda corner: math.atan2(corner[1] - y, corner[0] - x))
    return ordered if draw(st.booleans()) else ordered[::-1]


@pytest.mark.parametrize(
    ("corners", "text"),
    [
        ([(0, 0), (1, 1)], "expected 3 to 32 corners, received 2"),
        ([(index, index**2) for index in range(33)], "expected 3 to 32 corners, received 33"),
        ([(0, 0), (1, 0), (1, 0), (1, 1)], "corner [1, 0] stands twice in a row"),
        ([(0, 0), (1, 0), (1, 1), (0, 0)], "corner [0, 0] stands twice in a row"),
        ([(0, 0), (0.5, 0.5), (1, 1)], "lie on each other; expected an area"),
        ([(0, 0), (1, 1), (1, 0), (0, 1)], "meets the one from [1, 0] to [0, 1]"),
        ([(0, 0), (1, 0), (0.5, 0.5), (1, 1), (0, 1), (0.5, 0.5)], "meets the one"),
        ([(0, 0), (1, 0), (1, 1), (1, 0), (0, 1)], "meets the one"),
        ([(0, 0), (1, 0), (0.5, 0), (0.5, 1)], "meets the one"),
        ([(0, 0), (0.01, 0), (0, 0.01)], "expected an area of 0.0001 or more, received 5e-05"),
    ],
)
def test_a_polygon_that_encloses_no_single_area_is_a_mistake(corners, text):
    assert text in mistake(corners)
    assert "\n" not in mistake(corners)


@given(stars())
def test_corners_around_a_centre_are_valid_in_both_directions(star):
    assume(len(set(star)) == len(star))
    assert mistake(star) in ("",) or "area of" in mistake(star)
    assert mistake(star[::-1]) == mistake(star)


@pytest.mark.parametrize(
    ("x", "y", "inside"),
    [
        (0.4, 0.4, True),
        (0.1, 0.4, False),
        (0.7, 0.4, False),
        (0.4, 0.1, False),
        (0.4, 0.7, False),
        (0.2, 0.2, True),  # left and upper edges belong to it
        (0.2, 0.4, True),
        (0.4, 0.2, True),
        (0.6, 0.4, False),
        (0.4, 0.6, False),
    ],
)
def test_points_in_a_square(x, y, inside):
    assert contains(SQUARE, x, y) is inside
    assert contains(SQUARE[::-1], x, y) is inside


@given(st.floats(0, 1), st.floats(0, 1), CORNERS, CORNERS)
def test_a_point_lies_in_exactly_one_part_of_a_divided_picture(x, y, top, bottom):
    """Wherever the picture is divided by a line, also for points on the line."""
    left = [(0.0, 0.0), (top[0], 0.0), (bottom[0], 1.0), (0.0, 1.0)]
    right = [(top[0], 0.0), (1.0, 0.0), (1.0, 1.0), (bottom[0], 1.0)]
    assume(not mistake(left) and not mistake(right))
    assert common_point(left, right) is None
    if x < 1 and y < 1:
        assert contains(left, x, y) != contains(right, x, y)
    share = (top[0] * (1 - y) + bottom[0] * y, y)  # on the line, or rounded to one side
    if share[0] < 1 and y < 1:
        assert contains(left, *share) != contains(right, *share)


@given(stars(), stars(), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=40))
def test_polygons_with_a_point_in_common_overlap(one, other, points):
    assume(not mistake(one) and not mistake(other))
    found = common_point(one, other)
    assert (found is None) == (common_point(other, one) is None)
    if found is None:
        assert not any(contains(one, *p) and contains(other, *p) for p in points)


@given(stars())
def test_a_polygon_overlaps_itself_and_no_copy_beside_it(star):
    assume(not mistake(star))
    assert common_point(star, star) is not None
    beside = [(x + 1.5, y) for x, y in star]
    assert common_point(star, beside) is None


@given(coarse_polygons(), coarse_polygons())
@example([(1, 0.875), (0.25, 0.125), (0, 0)], [(0.375, 0.25), (0.25, 0), (0.125, 0)])
def test_an_overlap_is_seen_by_points_of_a_fine_grid(one, other):
    """Corners of a coarse grid: touching corners, common edges, equal polygons."""
    assume(not mistake(one) and not mistake(other))
    # unequal offsets: no point lies on a line of slope 1 through corners, where parts of two edges
    # can touch and rounding decides
    grids = [[(index + offset) / 160 for index in range(160)] for offset in (0.37, 0.6133)]

    def both(axis: int) -> list[float]:
        """Return the grid between the corners of both, where alone they can overlap."""
        first, last = (
            ends(bound(corner[axis] for corner in polygon) for polygon in (one, other))
            for ends, bound in ((max, min), (min, max))
        )
        return [at for at in grids[axis] if first <= at <= last]

    columns, rows = both(0), both(1)
    has_common = any(contains(one, x, y) and contains(other, x, y) for x in columns for y in rows)
    found = common_point(one, other)
    if has_common:
        assert found is not None
    if found is not None:
        # the point is in one of them; next to it both are
        near = [
            (found[0] + dx * 1e-7, found[1] + dy * 1e-7)
            for dx in range(-3, 4)
            for dy in range(-3, 4)
        ]
        assert any(contains(one, *point) and contains(other, *point) for point in near)
