"""The tracker: ids in motion and through gaps, and properties for any input."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config import TrackingConfig
from edge.vision import tracking
from edge.vision.tracking import Tracker, assign
from edge.vision.values import Box, Detection, Track

CONFIG = TrackingConfig()
SIZE = 100.0


def ns(seconds: float) -> int:
    return round(seconds * 1e9)


def face(x: float, y: float = 0.0, score: float = 0.9, size: float = SIZE) -> Detection:
    """Return a face whose box is centred on (x, y)."""
    box = Box(x - size / 2, y - size / 2, size, size)
    return Detection(box, np.full((5, 2), [x, y], np.float32), score)


# Plausible faces, and boxes of a broken detector.
plausible = st.builds(
    face,
    st.integers(0, 12).map(lambda n: n * 40.0),
    st.sampled_from([0.0, 60.0, 300.0]),
    st.sampled_from([0.5, 0.55, 0.6, 0.9]),
    st.sampled_from([60.0, 100.0, 130.0]),
)
finite = st.floats(allow_nan=False, allow_infinity=False)
absurd = st.builds(
    lambda x, y, w, h, score: Detection(Box(x, y, w, h), np.zeros((5, 2), np.float32), score),
    *[finite] * 4,
    st.floats(0, 1),
)
times = st.integers(-(10**10), 10**10) | st.integers(0, 2**63)
steps_ns = st.sampled_from([0, 1, 33_000_000, 200_000_000, 900_000_000, 1_100_000_000, -5_000_000])


def run(frames: list[list[Detection]], rate_hz: float) -> list[tuple[Track, ...]]:
    tracker = Tracker(CONFIG)
    return [tracker.update(found, ns(i / rate_hz)) for i, found in enumerate(frames)]


# --- assignment -----------------------------------------------------------------------------


def maximum_by_enumeration(weights: np.ndarray) -> float:
    rows, columns = weights.shape
    wide = weights if rows <= columns else weights.T
    return max(
        sum(wide[row, column] for row, column in enumerate(chosen))
        for chosen in itertools.permutations(range(wide.shape[1]), wide.shape[0])
    )


weights = st.tuples(st.integers(1, 6), st.integers(1, 6), st.randoms(use_true_random=False)).map(
    lambda drawn: np.array(
        [
            [drawn[2].choice([0.0, 0.0, 0.5, 0.5, 1.0, drawn[2].random()]) for _ in range(drawn[1])]
            for _ in range(drawn[0])
        ]
    )
)


@settings(max_examples=200)
@given(weights)
def test_assignment_has_the_maximum_sum(weights):
    pairs = assign(weights)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert all(weights[pair] > 0 for pair in pairs)
    assert sum(weights[pair] for pair in pairs) == pytest.approx(maximum_by_enumeration(weights))


def test_assignment_of_empty_or_zero_weights_is_empty():
    assert assign(np.zeros((0, 3))) == assign(np.zeros((3, 0))) == assign(np.zeros((2, 2))) == []


def test_assignment_finds_the_pairs_of_a_large_matrix():
    rng = np.random.default_rng(1)
    hidden = rng.permutation(60)
    weights = rng.uniform(0, 0.5, (60, 60))
    weights[np.arange(60), hidden] = rng.uniform(0.9, 1.0, 60)
    assert assign(weights) == [(row, int(column)) for row, column in enumerate(hidden)]


# --- properties for any input ---------------------------------------------------------------


@settings(max_examples=80)
@given(st.lists(st.tuples(st.lists(plausible | absurd, max_size=5), times), max_size=12))
def test_any_finite_input_gives_finite_tracks_of_the_given_detections(frames):
    tracker = Tracker(CONFIG)
    highest = 0
    for found, sensor_ns in frames:
        tracks = tracker.update(found, sensor_ns)
        ids = [track.id for track in tracks]
        assert ids == sorted(set(ids))
        assert all(identity >= 1 for identity in ids)
        given_out = [id(track.detection) for track in tracks]
        assert len(given_out) == len(set(given_out)) or len({id(f) for f in found}) < len(found)
        assert set(given_out) <= {id(one) for one in found}
        assert all(math.isfinite(track.age_s) and track.age_s >= 0 for track in tracks)
        fresh = [identity for identity in ids if identity > highest]
        assert fresh == list(range(highest + 1, highest + 1 + len(fresh)))
        highest += len(fresh)


@settings(max_examples=80)
@given(st.lists(st.tuples(st.lists(plausible, max_size=5), steps_ns), min_size=2, max_size=14))
def test_ids_are_not_reused_after_vanish_s(frames):
    tracker = Tracker(CONFIG)
    now_ns, last_seen_ns = 0, {}
    for found, step_ns in frames:
        now_ns += max(0, step_ns)
        for track in tracker.update(found, now_ns):
            seen_ns = last_seen_ns.get(track.id, now_ns)
            assert now_ns - seen_ns <= ns(CONFIG.vanish_s)
            last_seen_ns[track.id] = now_ns


@settings(max_examples=80)
@given(
    st.lists(st.tuples(st.lists(plausible, max_size=5), steps_ns), max_size=8),
    st.randoms(use_true_random=False),
)
def test_order_of_detections_does_not_matter(frames, rng):
    one, other = Tracker(CONFIG), Tracker(CONFIG)
    now_ns = 0
    for found, step_ns in frames:
        now_ns += step_ns
        shuffled = rng.sample(found, len(found))
        as_given, as_shuffled = one.update(found, now_ns), other.update(shuffled, now_ns)
        results = [
            [(t.id, t.detection.box, t.detection.score, t.age_s) for t in tracks]
            for tracks in (as_given, as_shuffled)
        ]
        assert results[0] == results[1]


@settings(max_examples=200)
@given(st.lists(st.tuples(st.lists(plausible | absurd, max_size=4), steps_ns), max_size=10))
def test_pairs_without_a_choice_are_those_of_the_assignment(frames):
    def tracks():
        tracker, now_ns, seen = Tracker(CONFIG), 0, []
        for found, step_ns in frames:
            now_ns += step_ns
            seen.append([(t.id, t.detection.box, t.age_s) for t in tracker.update(found, now_ns)])
        return seen

    expected = tracks()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "_FEW_PAIRS", 0)
        assert tracks() == expected


# --- motion ---------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.sampled_from([5.0, 10.0, 30.0]),
    st.floats(0, 1),
    st.floats(0, 2 * math.pi),
    st.integers(0, 2**32 - 1),
)
def test_moving_face_keeps_its_id(rate_hz, faces_per_s, direction, seed):
    rng = np.random.default_rng(seed)
    tracker = Tracker(CONFIG)
    for i in range(round(4 * rate_hz)):
        away = faces_per_s * SIZE * i / rate_hz
        x, y = away * math.cos(direction), away * math.sin(direction)
        noisy = face(
            x + rng.normal(0, 2), y + rng.normal(0, 2), size=SIZE * rng.uniform(0.95, 1.05)
        )
        (track,) = tracker.update([noisy], ns(i / rate_hz))
        assert track.id == 1
        assert track.age_s == pytest.approx(i / rate_hz)
        assert track.detection is noisy


@pytest.mark.parametrize("rate_hz", [5.0, 10.0, 30.0])
@pytest.mark.parametrize("faces_per_s", [0.0, 0.5, 1.0])
def test_face_undetected_for_half_a_second_keeps_its_id_and_is_not_reported(rate_hz, faces_per_s):
    tracker = Tracker(CONFIG)
    for i in range(round(3 * rate_hz)):
        now_s = i / rate_hz
        hidden = 1.0 < now_s < 1.5
        found = [] if hidden else [face(faces_per_s * SIZE * now_s)]
        tracks = tracker.update(found, ns(now_s))
        assert [track.id for track in tracks] == ([] if hidden else [1])


@pytest.mark.parametrize("rate_hz", [5.0, 10.0, 30.0])
@pytest.mark.parametrize("height", [0.3, 0.6])
@pytest.mark.parametrize("faces_per_s", [0.25, 1.0])
def test_crossing_faces_keep_their_ids(rate_hz, height, faces_per_s):
    tracker = Tracker(CONFIG)
    ids = None
    for i in range(round(8 / faces_per_s * rate_hz) // 2):
        away = faces_per_s * SIZE * i / rate_hz
        left, right = face(away), face(4 * SIZE - 2 * away, height * SIZE)
        tracks = tracker.update([left, right], ns(i / rate_hz))
        by_face = {id(track.detection): track.id for track in tracks}
        now = by_face[id(left)], by_face[id(right)]
        ids = ids or now
        assert now == ids


@pytest.mark.parametrize("rate_hz", [5.0, 10.0, 30.0])
def test_occluded_face_keeps_its_id(rate_hz):
    tracker = Tracker(CONFIG)
    for i in range(round(6 * rate_hz)):
        now_s = i / rate_hz
        passing, sitting = face(1.5 * SIZE * (now_s - 3), 0.1 * SIZE), face(0.0)
        hidden = passing.box.iou(sitting.box) > 0.3  # non-maximum suppression would drop the other
        tracks = tracker.update([passing] if hidden else [passing, sitting], ns(now_s))
        by_face = {id(track.detection): track.id for track in tracks}
        assert by_face[id(passing)] == 1
        assert hidden or by_face[id(sitting)] == 2


def test_jump_without_overlap_keeps_the_id():
    first, second = run([[face(0)], [face(0.8 * SIZE)]], rate_hz=5)
    assert first[0].id == second[0].id == 1


def test_face_elsewhere_or_of_another_size_gets_a_new_id():
    for other in (face(1.5 * SIZE), face(0, size=3 * SIZE)):
        _, (track,) = run([[face(0)], [other]], rate_hz=5)
        assert track.id == 2


def test_forty_faces_keep_their_ids():
    rng = np.random.default_rng(2)
    places = [(150.0 * column, 150.0 * row) for row in range(5) for column in range(8)]
    tracker = Tracker(CONFIG)
    numbers = []
    for i in range(20):
        found = [face(x + rng.normal(0, 4) + 5 * i, y + rng.normal(0, 4)) for x, y in places]
        order = rng.permutation(len(found))
        tracks = tracker.update([found[k] for k in order], ns(i / 10))
        assert [track.id for track in tracks] == list(range(1, 41))
        number_of = {id(track.detection): track.id for track in tracks}
        numbers.append([number_of[id(one)] for one in found])
    assert all(now == numbers[0] for now in numbers)


# --- appearing and vanishing ----------------------------------------------------------------


def test_high_score_appears_at_once_and_low_score_after_appear_s():
    rate_hz = 30
    high = run([[face(0, score=0.6)]] * 3, rate_hz)
    assert [len(tracks) for tracks in high] == [1, 1, 1]
    weak = run([[face(0, score=0.55)]] * 12, rate_hz)
    appeared = [len(tracks) for tracks in weak].index(1)
    assert appeared / rate_hz == pytest.approx(CONFIG.appear_s)
    assert weak[appeared][0].age_s == pytest.approx(CONFIG.appear_s)
    assert {track.id for tracks in weak for track in tracks} == {1}


def test_one_high_score_is_enough_and_low_scores_keep_the_track():
    scores = [0.55, 0.7, 0.5, 0.5]
    tracks = run([[face(0, score=score)] for score in scores], rate_hz=30)
    assert [len(frame) for frame in tracks] == [0, 1, 1, 1]


def test_time_without_detection_does_not_count_towards_appear_s():
    tracker = Tracker(CONFIG)
    weak = face(0, score=0.55)
    for i in range(8):  # detected in single frames, 0.2 s apart: never in consecutive frames
        assert tracker.update([weak], ns(i * 0.2)) == ()
        assert tracker.update([], ns(i * 0.2 + 0.1)) == ()


def test_face_that_never_appears_uses_no_id():
    tracker = Tracker(CONFIG)
    assert tracker.update([face(500, score=0.55)], 0) == ()
    assert [track.id for track in tracker.update([face(0)], ns(0.1))] == [1]


def test_track_ends_after_vanish_s():
    for gap_s, expected in ((1.0, 1), (1.001, 2)):
        tracker = Tracker(CONFIG)
        tracker.update([face(0)], 0)
        assert [track.id for track in tracker.update([face(0)], ns(gap_s))] == [expected]


def test_long_gap_ends_every_track():
    tracker = Tracker(CONFIG)
    tracker.update([face(0), face(300)], 0)
    tracks = tracker.update([face(0), face(300)], ns(5))
    assert [(track.id, track.age_s) for track in tracks] == [(3, 0.0), (4, 0.0)]


# --- time -----------------------------------------------------------------------------------


def test_equal_or_earlier_time_stamps_count_as_no_time():
    tracker = Tracker(CONFIG)
    stamps_and_ages = [(10.0, 0), (10.0, 0), (10.2, 0.2), (0.0, 0.2), (0.5, 0.7), (0.4, 0.7)]
    for stamp_s, age_s in stamps_and_ages:
        (track,) = tracker.update([face(0)], ns(stamp_s))
        assert (track.id, track.age_s) == (1, pytest.approx(age_s))


@settings(max_examples=50)
@given(st.lists(st.integers(1, 300_000_000), min_size=1, max_size=6))
def test_frames_without_faces_only_advance_time(steps):
    """Predicting in many steps equals predicting in one step."""
    total_ns = sum(steps)
    one, other = Tracker(CONFIG), Tracker(CONFIG)
    for tracker in (one, other):
        for i in range(5):
            tracker.update([face(20.0 * i)], ns(i / 5))
    for passed_ns in itertools.accumulate(steps[:-1]):
        assert one.update([], ns(0.8) + passed_ns) == ()
    for tracker in (one, other):
        tracker.update([face(80 + 100 * total_ns / 1e9)], ns(0.8) + total_ns)
    after = [
        [(t.mean, t._speed, t._p00, t._p01, t._p11) for t in tracker._states]
        for tracker in (one, other)
    ]
    for left, right in zip(*after, strict=True):
        for mine, theirs in zip(left, right, strict=True):
            assert mine == pytest.approx(theirs, rel=1e-6, abs=1e-9)


def test_tracker_is_deterministic():
    rng = np.random.default_rng(3)
    frames = [[face(*rng.uniform(0, 600, 2), score=rng.uniform(0.5, 1)) for _ in range(6)]] * 30
    assert run(frames, 10) == run(frames, 10)


# --- prediction -----------------------------------------------------------------------------


@given(st.lists(st.lists(plausible, max_size=5), min_size=1, max_size=8), steps_ns)
@settings(deadline=None)
def test_expected_faces_are_those_of_the_next_update_and_change_nothing(
    frames: list[list[Detection]], step_ns: int
) -> None:
    asked, other = Tracker(CONFIG), Tracker(CONFIG)
    for number, found in enumerate(frames):
        at_ns = number * 40_000_000
        assert asked.expected(at_ns + step_ns) == asked.expected(at_ns + step_ns)
        asked.expected(at_ns)
        assert asked.update(found, at_ns) == other.update(found, at_ns)


def test_expected_boxes_move_on_with_the_face_and_end_with_it() -> None:
    tracker = Tracker(CONFIG)
    for number in range(25):
        tracker.update([face(100.0 + 4 * number)], ns(number / 25))
    (near,), (far,) = tracker.expected(ns(1.0)), tracker.expected(ns(1.2))
    assert near.box.x + near.box.width / 2 == pytest.approx(200.0, abs=2.0)
    assert far.box.x > near.box.x + 10
    assert (near.id, near.missed, near.undetected_ns) == (1, False, ns(0.04))
    assert tracker.expected(ns(3.0)) == ()


def test_a_skipped_track_is_returned_with_its_predicted_box_and_is_not_missed() -> None:
    tracker = Tracker(CONFIG)
    for number in range(25):
        tracker.update([face(100.0 + 4 * number), face(500.0)], ns(number / 25))
    moving, still = tracker.update([face(500.0)], ns(1.0), skipped={1})
    assert (moving.id, moving.detection.found, still.detection.found) == (1, "predicted", "full")
    box = moving.detection.box
    assert box.x + box.width / 2 == pytest.approx(200.0, abs=2.0)
    assert moving.detection.landmarks[:, 0] == pytest.approx(box.x + box.width / 2, abs=1.0)
    assert [each.missed for each in tracker.expected(ns(1.04))] == [False, False]
    assert [each.id for each in tracker.update([face(500.0)], ns(1.04))] == [2]
    assert [each.missed for each in tracker.expected(ns(1.08))] == [True, False]


def test_a_skipped_track_that_is_detected_all_the_same_is_measured() -> None:
    tracker = Tracker(CONFIG)
    tracker.update([face(100.0)], 0)
    (track,) = tracker.update([face(102.0)], ns(0.04), skipped={1})
    assert (track.detection.box, track.detection.found) == (face(102.0).box, "full")
