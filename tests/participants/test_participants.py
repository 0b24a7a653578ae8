"""Participants: codes of tracks, learning of baselines, relative values."""

from typing import Any

import pytest

from edge import clock
from edge.config import AffectConfig
from edge.errors import RequestRefused
from edge.participants.baselines import Baseline
from edge.participants.participants import PARTICIPANTS_MAX, Participants
from edge.protocol.lid_events import EyesClosed, EyesLost
from edge.protocol.messages import Face
from edge.protocol.participant_events import ParticipantTrackEnded
from tests.support import wire

SECOND_NS = 1_000_000_000


def face(
    track: int,
    valence: float = 0.1,
    arousal: float = -0.1,
    *,
    read: bool = True,
    reading_age_s: float = 0.0,
    **shares: float,
) -> Face:
    """Return a face with probabilities ``shares``; neutral has the remainder."""
    raw = wire.face(track, classified=read)
    if read:
        others: dict[str, float] = dict.fromkeys(raw["expression"]["probabilities"], 0.0)
        others.update(shares, neutral=1 - sum(shares.values()))
        raw["expression"] = {
            **raw["expression"], "probabilities": others, "age_s": reading_age_s,
        }  # fmt: skip
        raw["affect"] = {**raw["affect"], "valence": valence, "arousal": arousal}
    return Face.model_validate(raw)


def make_participants(**settings: Any) -> Participants:
    return Participants(AffectConfig(**settings), vanish_s=1.0)


def outputs(participants: Participants, *faces: Face, at_s: float) -> list[Any]:
    """Return code, state of the baseline and relative values of each face after an update."""
    return [
        (
            each.participant,
            each.affect and each.affect.baseline,
            each.affect and each.affect.relative,
        )
        for each in participants.update(faces, round(at_s * SECOND_NS))
    ]


def listed(participants: Participants) -> list[dict[str, Any]]:
    """Return the list without seats and times, which are those of the real clock."""
    return [
        {key: value for key, value in each.items() if key not in ("since_ns", "seat")}
        for each in participants.as_list()
    ]


def ended_tracks(participants: Participants) -> list[tuple[int, str]]:
    """Return track and code of each track that has ended since the last call."""
    return [
        (each.track, each.participant)
        for each in participants.take_events()
        if isinstance(each, ParticipantTrackEnded)
    ]


def learn(participants: Participants, readings: list[Face], *, step_s: float = 0.5) -> Baseline:
    """Learn the baseline of P07 from ``readings`` of track 4."""
    participants.update([face(4)], 0)
    participants.assign(4, "P07")
    participants.start_baseline("P07")
    for count, reading in enumerate(readings, 1):
        participants.update([reading], round(count * step_s * SECOND_NS))
    return participants.stop_baseline("P07")


def test_only_the_assigned_track_has_the_code() -> None:
    participants = make_participants()
    assert outputs(participants, face(4), face(5), at_s=0) == [(None, "none", None)] * 2
    participants.assign(4, "P07")
    assert outputs(participants, face(5), face(4), at_s=1) == [
        (None, "none", None),
        ("P07", "none", None),
    ]
    participants.assign(5, "P07")  # the same person, found again on another track
    assert [code for code, *_ in outputs(participants, face(4), face(5), at_s=2)] == [None, "P07"]
    participants.assign(5, "P08")  # the operator was wrong
    assert [code for code, *_ in outputs(participants, face(4), face(5), at_s=3)] == [None, "P08"]
    participants.release("P08")
    assert [code for code, *_ in outputs(participants, face(4), face(5), at_s=4)] == [None, None]


def test_the_list_holds_every_participant() -> None:
    participants = make_participants(baseline_min_s=1)
    assert listed(participants) == []
    learn(participants, [face(4)] * 4)
    participants.update([face(9)], 60 * SECOND_NS)
    participants.assign(9, "P02")
    participants.start_baseline("P02")
    participants.update([face(9), face(10)], 61 * SECOND_NS)
    participants.assign(10, "P03")
    participants.assign(10, "P04")  # P03 has no track and no baseline any more
    first = {"participant": "P02", "track": 9, "in_view": True, "baseline": "learning"}
    last = {"participant": "P07", "track": 4, "in_view": False, "baseline": "ready"}
    between = {"participant": "P04", "track": 10, "in_view": True, "baseline": "none"}
    assert listed(participants) == [first, between, last]
    participants.assign(10, "P07")
    participants.assign(10, "P04")
    assert listed(participants)[-1] == {**last, "track": None}


def test_the_list_says_since_when_a_participant_is_in_view_or_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 0
    monkeypatch.setattr(clock, "monotonic_ns", lambda: now_s * SECOND_NS)
    participants = make_participants()

    def since(*tracks: int, at_s: int) -> tuple[bool, float]:
        nonlocal now_s
        now_s = at_s
        participants.update([face(track) for track in tracks], at_s * SECOND_NS)
        (listed,) = participants.as_list()
        return listed["in_view"], listed["since_ns"] / SECOND_NS

    participants.update([face(4), face(5)], 0)
    now_s = 1
    participants.update([face(4), face(5)], SECOND_NS)
    participants.assign(4, "P07")
    assert since(4, 5, at_s=2) == (True, 1)
    participants.assign(5, "P07")  # the same person, in view all the time
    assert since(5, at_s=3) == (True, 1)
    assert since(at_s=4) == (True, 1)
    assert since(at_s=5) == (False, 3)
    assert since(5, at_s=6) == (True, 6)
    participants.clear_view()
    assert participants.as_list()[0]["since_ns"] == 6 * SECOND_NS
    assert since(9, at_s=20) == (False, 6)
    participants.assign(9, "P07")
    assert since(9, at_s=21) == (True, 20)


def test_the_end_of_a_participants_track_is_told_once() -> None:
    participants = make_participants()
    participants.update([face(4), face(5), face(6)], 0)
    participants.assign(4, "P07")
    participants.assign(5, "P08")
    for at_s, tracks, ended in (
        (1.0, (4,), []),
        (1.1, (4,), [(5, "P08")]),
        (1.2, (4,), []),
        (2.2, (), []),
        (2.3, (), [(4, "P07")]),
        (9.0, (), []),
    ):
        participants.update([face(track) for track in tracks], round(at_s * SECOND_NS))
        assert ended_tracks(participants) == ended, at_s


def test_an_outage_does_not_end_a_track_and_a_new_worker_does() -> None:
    participants = make_participants()
    participants.update([face(4), face(5)], 0)
    participants.assign(4, "P07")
    participants.clear_view()
    participants.update([face(4)], SECOND_NS // 2)  # the camera was opened again, in time
    assert ended_tracks(participants) == []
    participants.end_tracks()
    assert ended_tracks(participants) == [(4, "P07")]
    participants.update([face(6)], 9 * SECOND_NS)
    assert ended_tracks(participants) == []


def test_a_code_that_was_taken_from_a_track_does_not_end_with_it() -> None:
    participants = make_participants()
    participants.update([face(4), face(5)], 0)
    participants.assign(4, "P07")
    participants.assign(5, "P07")
    participants.assign(4, "P08")
    participants.release("P08")
    participants.update([], 9 * SECOND_NS)
    assert ended_tracks(participants) == [(5, "P07")]


def test_a_face_that_was_not_classified_has_its_code_and_no_affect() -> None:
    participants = make_participants()
    participants.update([face(4)], 0)
    participants.assign(4, "P07")
    assert outputs(participants, face(4, read=False), at_s=1) == [("P07", None, None)]


def test_only_a_track_in_view_can_be_assigned() -> None:
    participants = make_participants()
    with pytest.raises(RequestRefused, match="track 4 is not in view; in view: none"):
        participants.assign(4, "P07")
    participants.update([face(4), face(12), face(5)], 0)
    with pytest.raises(RequestRefused, match="track 6 is not in view; in view: 4, 5, 12"):
        participants.assign(6, "P07")
    participants.update([], SECOND_NS)  # the detector misses a frame
    participants.assign(4, "P07")
    participants.update([], SECOND_NS + 1)  # its track has ended
    with pytest.raises(RequestRefused, match="in view: none"):
        participants.assign(5, "P08")


def test_after_clear_view_no_track_is_in_view() -> None:
    participants = make_participants()
    participants.update([face(4)], 0)
    participants.assign(4, "P07")
    participants.clear_view()
    with pytest.raises(RequestRefused, match="track 4 is not in view; in view: none"):
        participants.assign(4, "P07")
    with pytest.raises(RequestRefused, match="in view: none"):
        participants.start_baseline("P07")
    # the same worker goes on
    assert outputs(participants, face(4), at_s=1) == [("P07", "none", None)]


def test_a_baseline_is_not_learnt_from_two_faces() -> None:
    participants = make_participants()
    participants.update([face(4), face(5)], 0)
    participants.assign(4, "P07")
    participants.start_baseline("P07")
    with pytest.raises(RequestRefused, match="being learnt from track 4, in view"):
        participants.assign(5, "P07")
    participants.assign(4, "P07")  # no change
    participants.update([face(5)], 2 * SECOND_NS)  # the face was lost; it has another track now
    participants.assign(5, "P07")
    assert outputs(participants, face(5), at_s=3) == [("P07", "learning", None)]


def test_release_forgets_the_baseline() -> None:
    participants = make_participants(baseline_min_s=1)
    learn(participants, [face(4)] * 4)
    assert outputs(participants, face(4), at_s=3)[0][1] == "ready"
    participants.release("P07")
    participants.assign(4, "P07")
    assert outputs(participants, face(4), at_s=4) == [("P07", "none", None)]


def test_a_restarted_clock_leaves_no_track_in_view_for_ever() -> None:
    participants = make_participants()
    participants.update([face(4)], 3600 * SECOND_NS)
    participants.update([face(1)], 0)
    with pytest.raises(RequestRefused, match="in view: 1"):
        participants.assign(4, "P07")


def test_the_number_of_codes_is_limited() -> None:
    participants = make_participants()
    participants.update([face(track) for track in range(PARTICIPANTS_MAX + 1)], 0)
    for track in range(PARTICIPANTS_MAX):
        participants.assign(track, f"P{track}")
    with pytest.raises(RequestRefused, match="known already"):
        participants.assign(PARTICIPANTS_MAX, "one-more")
    participants.assign(PARTICIPANTS_MAX, "P0")  # moves
    participants.release("P1")
    participants.assign(1, "one-more")


def test_a_baseline_is_learnt_between_start_and_stop() -> None:
    participants = make_participants()
    baseline = learn(participants, [face(4, -0.2, 0.1), face(4, -0.3, 0.3)] * 11)
    assert baseline.reason == ""
    assert (baseline.readings, baseline.read_s) == (22, 10.5)
    assert (baseline.point.valence, baseline.point.arousal) == (-0.25, 0.2)
    (code, state, relative), (_, other, _) = outputs(
        participants, face(4, -0.25, 0.2), face(5, -0.25, 0.2), at_s=12
    )
    assert (code, state, other) == ("P07", "ready", "none")
    assert (relative.valence, relative.arousal) == (0, 0)


def test_a_reading_that_is_kept_counts_once() -> None:
    read, kept = face(4, -0.2), [face(4, -0.2, reading_age_s=age / 10) for age in (2, 4)]
    baseline = learn(make_participants(), [face(4, -0.4), read, *kept] * 11, step_s=0.2)
    assert baseline.readings == 22
    assert baseline.point.valence == pytest.approx(-0.3)
    assert baseline.read_s == pytest.approx(8.2)


def test_while_learning_no_values_are_relative_to_the_earlier_baseline() -> None:
    participants = make_participants(baseline_min_s=1)
    assert learn(participants, [face(4)] * 4).reason == ""
    assert outputs(participants, face(4), at_s=3)[0][1] == "ready"
    participants.start_baseline("P07")
    assert outputs(participants, face(4), at_s=4) == [("P07", "learning", None)]
    assert participants.stop_baseline("P07").reason  # one prediction
    assert outputs(participants, face(4), at_s=5) == [("P07", "invalid", None)]


def test_the_baseline_stays_with_the_code_on_another_track() -> None:
    participants = make_participants(baseline_min_s=1)
    learn(participants, [face(4, 0.4, 0.0)] * 4)
    participants.update([face(9)], 100 * SECOND_NS)
    participants.assign(9, "P07")
    (code, state, relative), *_ = outputs(participants, face(9, 0.4, 0.0), at_s=101)
    assert (code, state, relative.valence) == ("P07", "ready", 0)


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        ([], "classified for 0.0 s only; expected 10 s or more"),
        ([face(4)] * 20, "classified for 9.5 s only"),
        ([face(4, read=False)] * 100, "classified for 0.0 s only"),
        ([face(4, 0.6, happy=0.5)] * 30, "not neutral: happy at 0.50"),
        ([face(4, 0.0, surprise=0.45, happy=0.4)] * 30, "not neutral: surprise at 0.45"),
        ([face(4, 0.4), face(4, -0.1)] * 15, "not neutral: valence varied by 0.25"),
        ([face(4, 0.0, 0.5), face(4, 0.0, 0.0)] * 15, "not neutral: arousal varied by 0.25"),
        (
            [face(4, -0.95, 0.1)] * 30,
            "too extreme for a neutral face: valence -0.95, arousal +0.10",
        ),
    ],
)
def test_a_face_that_is_not_neutral_gives_an_invalid_baseline(
    readings: list[Face], reason: str
) -> None:
    participants = make_participants()
    baseline = learn(participants, readings)
    assert reason in baseline.reason
    assert outputs(participants, face(4), at_s=60) == [("P07", "invalid", None)]


def test_a_face_that_looks_sad_or_contemptuous_gives_a_valid_baseline() -> None:
    assert learn(make_participants(), [face(4, -0.3, sad=0.6, contempt=0.3)] * 30).reason == ""


def test_an_expression_that_the_network_does_not_know_spoils_no_baseline() -> None:
    raw = face(4).model_dump()
    raw["expression"]["probabilities"]["surprise"] = None
    readings = [Face.model_validate(raw)] * 30
    assert learn(make_participants(), readings).reason == ""


def test_time_without_predictions_does_not_count() -> None:
    participants = make_participants()
    participants.update([face(4)], 0)
    participants.assign(4, "P07")
    participants.start_baseline("P07")
    for at_s in (1, 2, 3, 30, 31, 32):  # away for 27 s
        participants.update([face(4)], at_s * SECOND_NS)
    participants.update([face(4)], 5 * SECOND_NS)  # the clock started again
    assert participants.stop_baseline("P07").read_s == 5.0


def test_an_unknown_participant_cannot_be_started_stopped_or_released() -> None:
    participants = make_participants()
    participants.update([face(4)], 0)
    participants.assign(4, "P07")
    with pytest.raises(RequestRefused, match="no participant P08 in view; in view: P07;"):
        participants.start_baseline("P08")
    with pytest.raises(RequestRefused, match="no baseline of P07 is being learnt"):
        participants.stop_baseline("P07")
    with pytest.raises(RequestRefused, match="no participant P08; known: P07"):
        participants.release("P08")
    participants.start_baseline("P07")
    participants.release("P07")
    with pytest.raises(RequestRefused, match="no baseline of P07"):
        participants.stop_baseline("P07")
    participants.update([], 60 * SECOND_NS)
    with pytest.raises(RequestRefused, match="in view: none"):
        participants.start_baseline("P07")


def test_the_end_of_a_closure_has_the_code_of_its_beginning() -> None:
    participants = make_participants()
    participants.update([face(1)], 0)
    participants.assign(1, "P07")
    closed = participants.with_code(EyesClosed(track=1, closed_s=2.0, sensor_ns=0))
    participants.update([face(2)], SECOND_NS)
    participants.assign(2, "P07")  # the code moves before the old track's end is known
    lost = {"reason": "track_ended", "closed_s": 3.0, "sensor_ns": 0}
    ended = participants.with_code(EyesLost.model_validate({"track": 1, **lost}))
    assert [each.model_dump()["participant"] for each in (closed, ended)] == ["P07", "P07"]
    again = participants.with_code(EyesLost.model_validate({"track": 1, **lost}))
    assert again.model_dump()["participant"] is None
