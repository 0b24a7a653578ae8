"""Seats: whoever sits there has the code; one face at most."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import AffectConfig, ZonesConfig
from edge.errors import RequestRefused
from edge.participants.participants import Participants
from edge.participants.seats import Seats
from edge.protocol.messages import Face
from tests.support import wire

AREAS = {
    name: [[left, 0.0], [left + 0.25, 0.0], [left + 0.25, 1.0], [left, 1.0]]
    for name, left in (("left", 0.0), ("middle", 0.25), ("right", 0.5))
}


def zones(**codes: str | None) -> ZonesConfig:
    raw = {name: {"polygon": area, "participant": codes.get(name)} for name, area in AREAS.items()}
    return ZonesConfig.model_validate({"seats": raw})


def people(**codes: str | None) -> Participants:
    return Participants(AffectConfig(), vanish_s=1.0, zones=zones(**codes))


def face(track: int, seat: str | None, width: float = 100.0) -> Face:
    return Face.model_validate(wire.face(track) | {"seat": seat, "box": [0, 0, width, 100]})


def show(participants: Participants, at_s: float, *faces: Face) -> list[str | None]:
    return [each.participant for each in participants.update(faces, round(at_s * 1e9))]


def events(participants: Participants) -> list[tuple[str, int, str, str | None]]:
    return [
        (each.event.removeprefix("participant_track_"), each.track, each.participant, each.seat)  # type: ignore[attr-defined]
        for each in participants.take_events()
    ]


def test_whoever_sits_there_has_the_code():
    participants = people(left="P01")
    assert show(participants, 0, face(1, "left"), face(2, "right")) == ["P01", None]
    assert events(participants) == [("returned", 1, "P01", "left")]
    participants.assign_seat("right", "P02")
    assert show(participants, 1, face(1, "left"), face(2, "right")) == ["P01", "P02"]
    assert events(participants) == [("returned", 2, "P02", "right")]
    assert show(participants, 1.5, face(2, "right")) == ["P02"]  # the left one is not found
    assert show(participants, 3, face(2, "right")) == ["P02"]
    assert events(participants) == [("ended", 1, "P01", "left")]
    assert show(participants, 4, face(5, "left"), face(2, "right")) == ["P01", "P02"]
    assert events(participants) == [("returned", 5, "P01", "left")]


def test_a_person_who_changes_the_seat_gets_its_code():
    participants = people(left="P01", right="P02")
    assert show(participants, 0, face(1, "left")) == ["P01"]
    assert show(participants, 1, face(1, "middle")) == [None]
    assert show(participants, 2, face(1, "right")) == ["P02"]
    assert events(participants) == [
        ("returned", 1, "P01", "left"),
        ("ended", 1, "P01", "left"),
        ("returned", 1, "P02", "right"),
    ]
    # two people change places within one frame
    assert show(participants, 3, face(1, "right"), face(2, "left")) == ["P02", "P01"]
    assert show(participants, 3.1, face(1, "left"), face(2, "right")) == ["P01", "P02"]


def test_of_two_faces_on_a_seat_the_first_then_the_largest_has_the_code():
    participants = people(left="P01")
    assert show(participants, 0, face(1, "left", 50), face(2, "left", 90)) == [None, "P01"]
    assert show(participants, 1, face(1, "left", 99), face(2, "left", 90)) == [None, "P01"]
    assert show(participants, 2, face(1, "left")) == [None]  # the other one is not found just now
    assert show(participants, 3.5, face(1, "left")) == ["P01"]


def test_a_code_moves_with_its_assignment_and_is_on_one_seat():
    participants = people(left="P01")
    show(participants, 0, face(1, "left"), face(2, "right"))
    participants.assign_seat("right", "P01")
    assert show(participants, 1, face(1, "left"), face(2, "right")) == [None, "P01"]
    participants.release("P01")
    assert show(participants, 2, face(1, "left"), face(2, "right")) == [None, None]
    participants.end_session()  # the configuration applies again
    assert show(participants, 3, face(1, "left"), face(2, "right")) == ["P01", None]


def test_a_replaced_worker_ends_the_tracks_and_not_the_codes():
    participants = people(left="P01")
    show(participants, 0, face(1, "left"))
    participants.end_tracks()
    assert show(participants, 1, face(2, "left")) == ["P01"]
    assert [kind for kind, *_ in events(participants)] == ["returned", "ended", "returned"]


def test_tracks_have_no_codes_of_their_own_with_seats():
    participants = people()
    show(participants, 0, face(1, "left"))
    with pytest.raises(RequestRefused, match="codes belong to seats; expected one of left, middle"):
        participants.assign(1, "P01")
    with pytest.raises(RequestRefused, match="no seat door; seats: left, middle, right"):
        participants.assign_seat("door", "P01")
    with pytest.raises(RequestRefused, match=r"no seat left; seats: none: \[zones\] has no seats"):
        Participants(AffectConfig(), vanish_s=1.0).assign_seat("left", "P01")
    with pytest.raises(RequestRefused, match="assign the code to a seat first"):
        participants.start_baseline("P01")


def test_a_baseline_that_is_being_learnt_stays_on_its_seat():
    participants = people(left="P01")
    show(participants, 0, face(1, "left"))
    participants.start_baseline("P01")
    with pytest.raises(RequestRefused, match="a baseline of P01 is being learnt; stop it first"):
        participants.assign_seat("right", "P01")
    participants.assign_seat("left", "P01")
    assert [each["baseline"] for each in participants.as_list()] == ["learning"]


NAMES = st.sampled_from([*AREAS])
CODES = st.sampled_from(["A", "B", "C"])
ACTIONS = st.one_of(
    st.tuples(st.just("assign"), NAMES, CODES),
    st.tuples(st.just("release"), CODES),
    st.tuples(st.just("end")),
    st.tuples(
        st.just("show"),
        st.lists(st.tuples(st.integers(1, 5), NAMES), unique_by=lambda each: each[0]),
    ),
)


@given(st.lists(ACTIONS, max_size=30), st.permutations(["A", "B", None]))
def test_a_code_is_on_one_seat_and_on_one_face(actions, configured):
    participants = people(**dict(zip(AREAS, configured, strict=True)))
    has_code: dict[str, int] = {}  # track by code, as the events say
    for index, (action, *values) in enumerate(actions):
        if action == "assign":
            participants.assign_seat(*values)
        elif action == "release" and values[0] in participants._known():
            participants.release(*values)
        elif action == "end":
            participants.end_session()
        elif action == "show":
            shown = participants.update([face(*each) for each in values[0]], index * 10**8)
            codes = [each.participant for each in shown if each.participant is not None]
            assert len(codes) == len(set(codes))
            for each in shown:
                expected = participants.seats.codes().get(each.seat)
                assert each.participant in (None, expected)
        codes = list(participants.seats.codes().values())
        assert len(codes) == len(set(codes))
        for kind, track, code, _seat in events(participants):
            if kind == "returned":
                has_code[code] = track
            else:
                assert has_code.pop(code) == track


@given(st.lists(st.tuples(NAMES, CODES), max_size=10), st.permutations(["A", "B", None]))
def test_restoring_gives_the_same_seats(assignments, configured):
    config = zones(**dict(zip(AREAS, configured, strict=True)))
    before, after = Seats(config), Seats(config)
    for seat, code in assignments:
        before.assign(seat, code)
    after.restore(before.assigned)
    assert after.codes() == before.codes()
