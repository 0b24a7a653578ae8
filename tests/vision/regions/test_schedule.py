"""Which faces a frame is searched for: stalest first, within the budget, else the full frame."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.vision.regions.schedule import SEARCH_EVERY_NS, SEARCH_NS, Plan, plan
from edge.vision.values import Box, ExpectedFace

SMALL, LARGE = 320 * 192, 640 * 384
REGION = 96 * 96


def face(id_: int | None, undetected_ns: int = 40_000_000, *, missed: bool = False) -> ExpectedFace:
    return ExpectedFace(id_, Box(0, 0, 50, 60), undetected_ns, missed)


def planned(faces: list[ExpectedFace], full_cost: int = SMALL) -> Plan:
    return plan(faces, region_cost=REGION, full_cost=full_cost)


def ids(faces: tuple[ExpectedFace, ...]) -> list[int | None]:
    return [each.id for each in faces]


def test_every_known_face_is_searched_while_the_budget_lasts() -> None:
    found = planned([face(1), face(2), face(3)])
    assert (ids(found.known), found.lost, found.look_after_ns) == ([1, 2, 3], (), None)


def test_the_stalest_come_first_and_the_rest_wait() -> None:
    faces = [face(1), face(2, 80_000_000), face(3), face(4, 80_000_000), face(5, 120_000_000)]
    assert ids(planned(faces).known) == [5, 2, 4]


@pytest.mark.parametrize(("full_cost", "most"), [(SMALL, 6), (LARGE, 26)])
def test_more_faces_than_a_full_look_costs_take_the_full_frame(full_cost: int, most: int) -> None:
    assert planned([face(each) for each in range(1, most + 1)], full_cost).known
    many = [face(each) for each in range(1, most + 2)]
    assert planned(many, full_cost) == Plan(followed=tuple(many), look_after_ns=0)


@pytest.mark.parametrize(("factor", "look_after_ns"), [(2, 150_000_000), (4, 450_000_000)])
def test_where_full_looks_are_to_be_rarer_a_crowd_has_regions_between_them(
    factor: int, look_after_ns: int
) -> None:
    crowd = [face(each, each * 1_000_000) for each in range(1, 31)]
    costs = {"region_cost": REGION, "full_cost": SMALL, "full_every_factor": factor}
    found = plan(crowd, **costs)
    assert (ids(found.known), found.look_after_ns) == ([30, 29, 28], look_after_ns)
    assert len(found.followed) == 30
    # a lost face and a new one ask for full looks as ever
    assert plan([*crowd, face(99, missed=True)], **costs).look_after_ns == SEARCH_EVERY_NS
    assert plan([*crowd, face(None)], **costs).look_after_ns == 0


@pytest.mark.parametrize(
    ("faces", "look_after_ns"),
    [
        ([], None),
        ([face(1), face(None)], 0),
        ([face(1), face(2, missed=True)], SEARCH_EVERY_NS),
        ([face(1, SEARCH_NS, missed=True)], SEARCH_EVERY_NS),
        ([face(1, SEARCH_NS + 1, missed=True)], None),
        ([face(1), face(None, missed=True)], None),
    ],
    ids=["none", "a new one", "one lost", "all lost", "all lost for long", "never sure"],
)
def test_full_looks_are_more_frequent_for_new_and_lost_faces(
    faces: list[ExpectedFace], look_after_ns: int | None
) -> None:
    assert planned(faces).look_after_ns == look_after_ns


def test_a_change_of_the_picture_counts_at_once_where_no_face_is_known() -> None:
    assert planned([face(1, missed=True)]).change_after_ns == 0
    assert planned([face(1)]).change_after_ns == 200_000_000


def test_lost_faces_get_what_the_known_ones_leave() -> None:
    lost = [face(each, missed=True) for each in (7, 8, 9)]
    found = planned([*lost, face(1), face(2)])
    assert (ids(found.known), ids(found.lost)) == ([1, 2], [7])
    assert planned([*lost, *map(face, range(1, 5))]).lost == ()


@given(st.integers(1, 60), st.sampled_from([SMALL, LARGE]))
def test_regions_cost_at_most_half_a_full_look(count: int, full_cost: int) -> None:
    chosen = planned([face(each) for each in range(1, count + 1)], full_cost).known
    if chosen:
        assert len(chosen) * REGION <= full_cost / 2
        assert 2 * len(chosen) >= count  # none waits for more than a frame
