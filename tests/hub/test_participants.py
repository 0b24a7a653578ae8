"""Who is who, and what a face reads at rest: the laws of codes, windows and relative values."""

from typing import Any

import pytest

from edge.config import AffectConfig
from edge.errors import RequestRefused
from edge.hub.participants import PEOPLE_MAX, Baseline, Participants
from edge.protocol.messages import Face
from tests.support import wire

SECOND_NS = 1_000_000_000


def face(
    track: int, valence: float = 0.1, arousal: float = -0.1, *, read: bool = True, **shares: float
) -> Face:
    """Return a face; ``shares`` of named expressions, the rest is neutral."""
    raw = wire.face(track, read=read)
    if read:
        others: dict[str, float] = dict.fromkeys(raw["expression"]["probabilities"], 0.0)
        others.update(shares, neutral=1 - sum(shares.values()))
        raw["expression"] = {**raw["expression"], "probabilities": others}
        raw["affect"] = {**raw["affect"], "valence": valence, "arousal": arousal}
    return Face.model_validate(raw)


def people(**settings: Any) -> Participants:
    return Participants(AffectConfig(**settings), vanish_s=1.0)


def told(known: Participants, *faces: Face, at_s: float) -> list[Any]:
    return [
        (
            each.participant,
            each.affect and each.affect.baseline,
            each.affect and each.affect.relative,
        )
        for each in known.seen(faces, round(at_s * SECOND_NS))
    ]


def rested(known: Participants, readings: list[Face], *, step_s: float = 0.5) -> Baseline:
    """Learn from ``readings`` of track 4, as P07."""
    known.seen([face(4)], 0)
    known.assign(4, "P07")
    known.start("P07")
    for count, reading in enumerate(readings, 1):
        known.seen([reading], round(count * step_s * SECOND_NS))
    return known.stop("P07")


def test_a_code_goes_with_its_track_and_with_nobody_else() -> None:
    known = people()
    assert told(known, face(4), face(5), at_s=0) == [(None, "none", None)] * 2
    known.assign(4, "P07")
    assert told(known, face(5), face(4), at_s=1) == [(None, "none", None), ("P07", "none", None)]
    known.assign(5, "P07")  # the same person, found again on another track
    assert [code for code, *_ in told(known, face(4), face(5), at_s=2)] == [None, "P07"]
    known.assign(5, "P08")  # the operator was wrong
    assert [code for code, *_ in told(known, face(4), face(5), at_s=3)] == [None, "P08"]
    known.release("P08")
    assert [code for code, *_ in told(known, face(4), face(5), at_s=4)] == [None, None]


def test_who_is_known_is_listed() -> None:
    known = people(baseline_min_s=1)
    assert known.listed() == []
    rested(known, [face(4)] * 4)
    known.seen([face(9)], 60 * SECOND_NS)
    known.assign(9, "P02")
    known.start("P02")
    known.seen([face(9), face(10)], 61 * SECOND_NS)
    known.assign(10, "P03")
    known.assign(10, "P04")  # nothing is left of P03, who was nobody else
    first = {"participant": "P02", "track": 9, "in_view": True, "baseline": "learning"}
    last = {"participant": "P07", "track": 4, "in_view": False, "baseline": "ready"}
    between = {"participant": "P04", "track": 10, "in_view": True, "baseline": "none"}
    assert known.listed() == [first, between, last]
    known.assign(10, "P07")
    known.assign(10, "P04")
    assert known.listed()[-1] == {**last, "track": None}


def test_a_face_that_was_not_read_has_its_code_and_no_affect() -> None:
    known = people()
    known.seen([face(4)], 0)
    known.assign(4, "P07")
    assert told(known, face(4, read=False), at_s=1) == [("P07", None, None)]


def test_only_who_is_in_view_gets_a_code() -> None:
    known = people()
    with pytest.raises(RequestRefused, match="track 4 is not in view; in view: none"):
        known.assign(4, "P07")
    known.seen([face(4), face(12), face(5)], 0)
    with pytest.raises(RequestRefused, match="track 6 is not in view; in view: 4, 5, 12"):
        known.assign(6, "P07")
    known.seen([], SECOND_NS)  # a detector blinks
    known.assign(4, "P07")
    known.seen([], SECOND_NS + 1)  # its track has ended
    with pytest.raises(RequestRefused, match="in view: none"):
        known.assign(5, "P08")


def test_when_no_frames_come_nobody_is_in_view() -> None:
    known = people()
    known.seen([face(4)], 0)
    known.assign(4, "P07")
    known.nobody_in_view()
    with pytest.raises(RequestRefused, match="track 4 is not in view; in view: none"):
        known.assign(4, "P07")
    with pytest.raises(RequestRefused, match="in view: none"):
        known.start("P07")
    assert told(known, face(4), at_s=1) == [("P07", "none", None)]  # the same worker goes on


def test_two_faces_are_not_learnt_as_one() -> None:
    known = people()
    known.seen([face(4), face(5)], 0)
    known.assign(4, "P07")
    known.start("P07")
    with pytest.raises(RequestRefused, match="being learnt from track 4, in view"):
        known.assign(5, "P07")
    known.assign(4, "P07")  # nothing new
    known.seen([face(5)], 2 * SECOND_NS)  # the face was lost, and is found on another track
    known.assign(5, "P07")
    assert told(known, face(5), at_s=3) == [("P07", "learning", None)]


def test_what_is_released_is_forgotten() -> None:
    known = people(baseline_min_s=1)
    rested(known, [face(4)] * 4)
    assert told(known, face(4), at_s=3)[0][1] == "ready"
    known.release("P07")
    known.assign(4, "P07")
    assert told(known, face(4), at_s=4) == [("P07", "none", None)]


def test_a_clock_that_starts_again_leaves_nobody_in_view_for_ever() -> None:
    known = people()
    known.seen([face(4)], 3600 * SECOND_NS)
    known.seen([face(1)], 0)
    with pytest.raises(RequestRefused, match="in view: 1"):
        known.assign(4, "P07")


def test_codes_are_bounded() -> None:
    known = people()
    known.seen([face(track) for track in range(PEOPLE_MAX + 1)], 0)
    for track in range(PEOPLE_MAX):
        known.assign(track, f"P{track}")
    with pytest.raises(RequestRefused, match="known already"):
        known.assign(PEOPLE_MAX, "one-more")
    known.assign(PEOPLE_MAX, "P0")  # moves
    known.release("P1")
    known.assign(1, "one-more")


def test_a_baseline_is_learnt_between_start_and_stop() -> None:
    known = people()
    rest = rested(known, [face(4, -0.2, 0.1), face(4, -0.3, 0.3)] * 11)
    assert rest.reason == ""
    assert (rest.readings, rest.read_s) == (22, 10.5)
    assert (rest.point.valence, rest.point.arousal) == (-0.25, 0.2)
    (code, state, relative), (_, other, _) = told(
        known, face(4, -0.25, 0.2), face(5, -0.25, 0.2), at_s=12
    )
    assert (code, state, other) == ("P07", "ready", "none")
    assert (relative.valence, relative.arousal) == (0, 0)


def test_while_it_is_learnt_nothing_is_told_from_the_one_before() -> None:
    known = people(baseline_min_s=1)
    assert rested(known, [face(4)] * 4).reason == ""
    assert told(known, face(4), at_s=3)[0][1] == "ready"
    known.start("P07")
    assert told(known, face(4), at_s=4) == [("P07", "learning", None)]
    assert known.stop("P07").reason  # one reading
    assert told(known, face(4), at_s=5) == [("P07", "invalid", None)]


def test_the_baseline_goes_with_the_person_to_another_track() -> None:
    known = people(baseline_min_s=1)
    rested(known, [face(4, 0.4, 0.0)] * 4)
    known.seen([face(9)], 100 * SECOND_NS)
    known.assign(9, "P07")
    (code, state, relative), *_ = told(known, face(9, 0.4, 0.0), at_s=101)
    assert (code, state, relative.valence) == ("P07", "ready", 0)


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        ([], "read for 0.0 s only; expected 10 s or more"),
        ([face(4)] * 20, "read for 9.5 s only"),
        ([face(4, read=False)] * 100, "read for 0.0 s only"),
        ([face(4, 0.6, happy=0.5)] * 30, "not at rest: happy at 0.50"),
        ([face(4, 0.0, surprise=0.45, happy=0.4)] * 30, "not at rest: surprise at 0.45"),
        ([face(4, 0.4), face(4, -0.1)] * 15, "not at rest: valence varied by 0.25"),
        ([face(4, 0.0, 0.5), face(4, 0.0, 0.0)] * 15, "not at rest: arousal varied by 0.25"),
        ([face(4, -0.95, 0.1)] * 30, "no face rests at valence -0.95, arousal +0.10"),
    ],
)
def test_what_is_no_face_at_rest_is_no_baseline(readings: list[Face], reason: str) -> None:
    known = people()
    rest = rested(known, readings)
    assert reason in rest.reason
    assert told(known, face(4), at_s=60) == [("P07", "invalid", None)]


def test_faces_at_rest_that_read_sad_or_contemptuous_serve() -> None:
    assert rested(people(), [face(4, -0.3, sad=0.6, contempt=0.3)] * 30).reason == ""


def test_time_without_readings_does_not_count() -> None:
    known = people()
    known.seen([face(4)], 0)
    known.assign(4, "P07")
    known.start("P07")
    for at_s in (1, 2, 3, 30, 31, 32):  # away for 27 s
        known.seen([face(4)], at_s * SECOND_NS)
    known.seen([face(4)], 5 * SECOND_NS)  # a clock that started again
    assert known.stop("P07").read_s == 5.0


def test_what_is_not_there_cannot_be_started_stopped_or_released() -> None:
    known = people()
    known.seen([face(4)], 0)
    known.assign(4, "P07")
    with pytest.raises(RequestRefused, match="no participant P08 in view; in view: P07;"):
        known.start("P08")
    with pytest.raises(RequestRefused, match="no baseline of P07 is being learnt"):
        known.stop("P07")
    with pytest.raises(RequestRefused, match="no participant P08; known: P07"):
        known.release("P08")
    known.start("P07")
    known.release("P07")
    with pytest.raises(RequestRefused, match="no baseline of P07"):
        known.stop("P07")
    known.seen([], 60 * SECOND_NS)
    with pytest.raises(RequestRefused, match="in view: none"):
        known.start("P07")
