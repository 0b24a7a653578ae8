"""Which faces a frame is searched for: stalest first, within the budget, else the full frame."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.vision.regions.schedule import SEARCH_NS, faces_to_search
from edge.vision.values import Box, ExpectedFace

SMALL, LARGE = 320 * 192, 640 * 384
REGION = 96 * 96


def face(id_: int | None, undetected_ns: int = 40_000_000, *, missed: bool = False) -> ExpectedFace:
    return ExpectedFace(id_, Box(0, 0, 50, 60), undetected_ns, missed)


def ids(faces: list[ExpectedFace], full_cost: int = SMALL) -> list[int | None] | None:
    chosen = faces_to_search(faces, region_cost=REGION, full_cost=full_cost)
    return None if chosen is None else [each.id for each in chosen]


def test_every_known_face_is_searched_while_the_budget_lasts() -> None:
    assert ids([face(1), face(2), face(3)]) == [1, 2, 3]


def test_the_stalest_come_first_and_the_rest_wait() -> None:
    faces = [face(1), face(2, 80_000_000), face(3), face(4, 80_000_000), face(5, 120_000_000)]
    assert ids(faces) == [5, 2, 4]


@pytest.mark.parametrize(("full_cost", "most"), [(SMALL, 6), (LARGE, 26)])
def test_more_faces_than_a_full_look_costs_take_the_full_frame(full_cost: int, most: int) -> None:
    assert ids([face(each) for each in range(1, most + 1)], full_cost) is not None
    assert ids([face(each) for each in range(1, most + 2)], full_cost) is None


@pytest.mark.parametrize(
    "faces",
    [
        [],
        [face(1), face(None)],
        [face(1), face(2, missed=True)],
        [face(1, SEARCH_NS, missed=True)],
        [face(1, SEARCH_NS + 1, missed=True)],
    ],
    ids=["none known", "a new one", "one lost", "all lost", "all lost for long"],
)
def test_the_full_frame_is_searched_at_once(faces: list[ExpectedFace]) -> None:
    assert ids(faces) is None


@pytest.mark.parametrize("lost", [face(2, SEARCH_NS + 1, missed=True), face(None, missed=True)])
def test_a_face_lost_for_long_or_never_sure_waits_for_the_regular_full_look(
    lost: ExpectedFace,
) -> None:
    assert ids([face(1), lost]) == [1]


@given(st.integers(1, 60), st.sampled_from([SMALL, LARGE]))
def test_regions_cost_at_most_half_a_full_look(count: int, full_cost: int) -> None:
    chosen = ids([face(each) for each in range(1, count + 1)], full_cost)
    if chosen is not None:
        assert len(chosen) * REGION <= full_cost / 2
        assert 2 * len(chosen) >= count  # none waits for more than a frame
