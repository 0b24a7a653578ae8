"""Turns: who is read in a frame, how long anybody waits, and what is kept meanwhile."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clock import Stopwatch
from edge.config import Config, DetectorConfig, ExpressionConfig, QualityConfig
from edge.errors import InferenceError
from edge.vision.expression.turns import READ_WITHIN_NS, Readings, faces_to_read
from edge.vision.pipeline import Pipeline
from edge.vision.regions import RegionFinder
from edge.vision.values import Affect, Box, Frame, FrameState, Prediction, SmoothedPrediction
from tests.support.rectangles import Faces, RectangleDetector, box, frame_at

MS = 1_000_000
PREDICTION = Prediction(np.full(8, 0.125, np.float32), Affect(0.0, 0.0))
SMOOTHED = SmoothedPrediction(Affect(0.0, 0.0), "neutral")
BOX = Box(1.0, 1.0, 8.0, 8.0)


def blank(sensor_ns: int) -> Frame:
    return Frame(np.zeros((10, 10), np.uint8), 0, sensor_ns, "media", 0)


class CountingExpression:
    """An expression network whose prediction grows with each call.

    Attributes:
        frames: number of predictions of each frame, by its time.
    """

    info = golden = None

    def __init__(self, fails_at: Callable[[Frame, Box], bool] = lambda frame, box: False) -> None:
        self.frames: dict[int, int] = {}
        self._fails_at = fails_at

    def predict(
        self, frame: Frame, box: Box, stopwatch: Stopwatch, translator: object
    ) -> Prediction:
        self.frames[frame.sensor_ns] = self.frames.get(frame.sensor_ns, 0) + 1
        if self._fails_at(frame, box):
            raise InferenceError("not finite")
        count = sum(self.frames.values())
        return Prediction(np.eye(8, dtype=np.float32)[count % 8], Affect(count / 1e5, 0.0))


def pipeline(
    faces_per_frame: int,
    expression: CountingExpression,
    full: tuple[int, int] = (320, 192),
    **settings: bool,
) -> Pipeline:
    config = Config(
        # a rectangle has no detail
        quality=QualityConfig(sharpness_min=0.0, brightness_min=0.0, brightness_max=1.0),
        expression=ExpressionConfig(faces_per_frame=faces_per_frame, **settings),
        detector=DetectorConfig(schedule="region"),
    )
    detector = RectangleDetector(full)
    finder = RegionFinder(
        detector,  # type: ignore[arg-type]
        RectangleDetector((96, 96)),  # type: ignore[arg-type]
        full_every_s=0.5,
        sure_score=0.5,
        nms_iou=0.3,
        iou_min=0.3,
    )
    return Pipeline(detector, expression, config, finder=finder)  # type: ignore[arg-type]


def crowd(count: int) -> Faces:
    """Return so many faces, side by side."""
    return {
        100 + number: box(50 + 90 * (number % 7), 40 + 75 * (number // 7), 40)
        for number in range(count)
    }


def watch(runner: Pipeline, rate_hz: int, seconds: float, faces: Faces) -> list[FrameState]:
    return [runner.step(frame_at(n / rate_hz, faces)) for n in range(round(seconds * rate_hz))]


# -- the rule --------------------------------------------------------------------------------------


def test_without_a_limit_and_below_it_every_face_is_read() -> None:
    ages = {1: 0, 2: None, 3: 40 * MS}
    assert faces_to_read(ages, 40 * MS, 0) == {1, 2, 3}
    assert faces_to_read(ages, 40 * MS, 3) == {1, 2, 3}
    assert faces_to_read({}, 40 * MS, 3) == frozenset()


def test_the_oldest_readings_come_first_and_new_faces_at_once() -> None:
    ages = {1: 40 * MS, 2: 120 * MS, 3: 80 * MS, 4: 120 * MS, 5: 40 * MS}
    assert faces_to_read(ages, 40 * MS, 2) == {2, 4}
    assert faces_to_read(ages | {6: None, 7: None, 8: None}, 40 * MS, 2) == {6, 7, 8}
    assert faces_to_read(ages | {6: None}, 40 * MS, 2) == {6, 2}


def test_whoever_would_wait_for_more_than_a_second_is_read_whatever_the_limit() -> None:
    ages = dict.fromkeys(range(1, 9), 970 * MS)
    assert faces_to_read(ages, 40 * MS, 1) == set(ages)
    # 30 faces at 10 pictures a second: three a picture
    assert len(faces_to_read(dict.fromkeys(range(30), 0), 100 * MS, 1)) == 3


@given(
    st.integers(1, 48),
    st.integers(1, 60),
    st.integers(0, 50),
    st.lists(st.sets(st.integers(0, 47)), min_size=1, max_size=20),
)
@settings(deadline=None)
def test_every_face_is_read_within_a_second_at_any_rate(
    faces: int, rate_hz: int, limit: int, hidden: list[set[int]]
) -> None:
    readings, read_ns = Readings(), dict[int, int]()
    step_ns = 1_000_000_000 // rate_hz
    for number in range(4 * rate_hz):
        now_ns = number * step_ns
        # some cannot be read for a part of the time
        tracks = set(range(faces)) - hidden[number * len(hidden) // (4 * rate_hz)]
        frame = blank(now_ns)
        chosen = readings.begin(frame, dict.fromkeys(tracks, BOX), limit)
        assert chosen <= tracks
        for track in chosen:
            read_ns[track] = now_ns
            readings.note(frame, track, BOX, PREDICTION, SMOOTHED)
        for track in tracks:
            assert now_ns - read_ns[track] <= READ_WITHIN_NS


def test_a_clock_that_starts_again_and_a_gap_leave_no_old_reading() -> None:
    readings = Readings()
    for now_ns in (10**12, 5 * 10**8, 5 * 10**8 + 2 * READ_WITHIN_NS):
        assert readings.begin(blank(now_ns), {1: BOX, 2: BOX}, 1) == {1, 2}
        for track in (1, 2):
            readings.note(blank(now_ns), track, BOX, PREDICTION, SMOOTHED)
    assert readings.begin(blank(now_ns + 40 * MS), {1: BOX, 2: BOX}, 1) == {1}


# -- thirty faces ----------------------------------------------------------------------------------


@pytest.mark.parametrize("full", [(320, 192), (640, 384)], ids=["full looks", "regions"])
@pytest.mark.parametrize(("rate_hz", "limit", "most"), [(10, 1, 3), (25, 4, 4), (10, 0, 30)])
def test_thirty_faces_have_boxes_in_each_picture_and_are_read_each_second(
    full: tuple[int, int], rate_hz: int, limit: int, most: int
) -> None:
    expression, faces = CountingExpression(), 30 if full == (320, 192) else 25
    seen = watch(pipeline(limit, expression, full), rate_hz, 4.0, crowd(faces))
    for state in seen:
        assert {face.track.id for face in state.faces} == set(range(1, faces + 1))
        assert all(face.prediction is not None for face in state.faces)
        assert max(face.reading_age_ns for face in state.faces) < READ_WITHIN_NS
    # the first picture has only new faces
    counts = list(expression.frames.values())
    assert counts[0] == faces
    assert max(counts[1:]) == min(most, faces)
    # of two pictures, each face is searched in one at least
    for before, after in itertools.pairwise(seen):
        for one, other in zip(before.faces, after.faces, strict=True):
            assert "predicted" not in (one.track.detection.found, other.track.detection.found) or (
                one.track.detection.found != other.track.detection.found
            )


@pytest.mark.parametrize(("configured", "limit", "read"), [(0, 2, 2), (5, 2, 2), (2, 5, 2)])
def test_a_limit_from_outside_holds_from_the_next_frame_on(
    configured: int, limit: int, read: int
) -> None:
    expression = CountingExpression()
    runner = pipeline(configured, expression)
    watch(runner, 25, 0.2, crowd(9))
    runner.limit(faces_per_frame=limit, full_every_factor=1)
    runner.step(frame_at(0.2, crowd(9)))
    assert expression.frames[200 * MS] == read
    runner.limit(faces_per_frame=0, full_every_factor=1)
    runner.step(frame_at(0.24, crowd(9)))
    assert expression.frames[240 * MS] == (configured or 9)


def test_a_face_that_waits_keeps_its_reading_and_says_how_old_it_is() -> None:
    seen = watch(pipeline(1, CountingExpression()), 25, 1.0, crowd(3))
    for before, after in itertools.pairwise(seen):
        for one, other in zip(before.faces, after.faces, strict=True):
            if other.reading_age_ns:
                assert other.reading_age_ns == one.reading_age_ns + 40 * MS
                assert (other.prediction, other.smoothed) == (one.prediction, one.smoothed)
            else:
                assert other.prediction is not one.prediction
    assert {face.reading_age_ns // MS for face in seen[-1].faces} == {0, 40, 80}


def test_a_face_that_cannot_be_read_keeps_nothing() -> None:
    def fails(frame: Frame, at: Box) -> bool:
        return frame.sensor_ns >= 400 * MS and at.x < 100

    seen = watch(pipeline(1, CountingExpression(fails)), 25, 2.0, crowd(3))
    failed = [state.faces[0] for state in seen[10:]]
    assert any(not face.quality.usable and face.prediction is None for face in failed)
    # what was read before is kept for a second at most; then there is nothing
    assert all(face.prediction is None for face in failed[26:])
    assert all(face.prediction is not None for state in seen for face in state.faces[1:])


def test_the_same_frames_give_the_same_readings() -> None:
    one, other = (watch(pipeline(2, CountingExpression()), 25, 1.0, crowd(9)) for _ in range(2))
    for first, second in zip(one, other, strict=True):
        assert [face.reading_age_ns for face in first.faces] == [
            face.reading_age_ns for face in second.faces
        ]


# -- unchanged faces -------------------------------------------------------------------------------


def ages_ms(seen: list[FrameState]) -> list[list[int]]:
    return [[face.reading_age_ns // MS for face in state.faces] for state in seen]


def test_a_face_that_does_not_change_is_read_once_a_second() -> None:
    expression = CountingExpression()
    seen = watch(pipeline(0, expression, keep_unchanged=True), 25, 3.0, crowd(2))
    assert ages_ms(seen) == [[40 * (number % 25)] * 2 for number in range(75)]
    every = CountingExpression()
    watch(pipeline(0, every), 25, 3.0, crowd(2))
    assert (sum(expression.frames.values()), sum(every.frames.values())) == (6, 150)


def test_a_face_that_changes_is_read_at_once_and_the_others_keep_theirs() -> None:
    runner = pipeline(0, CountingExpression(), keep_unchanged=True)
    watch(runner, 25, 0.4, crowd(3))
    changed = frame_at(0.4, crowd(3))
    luma = changed.luma.copy()
    luma[45:50, 140:148] += 30  # a part of the second face
    assert ages_ms([runner.step(replace(changed, luma=luma))]) == [[400, 0, 400]]


def test_a_face_that_moves_is_read_in_each_frame() -> None:
    runner = pipeline(0, CountingExpression(), keep_unchanged=True)
    seen = [runner.step(frame_at(n / 25, {100: box(100.0 + 4 * n)})) for n in range(25)]
    assert ages_ms(seen) == [[0]] * 25


def test_turns_are_for_faces_that_have_changed() -> None:
    runner = pipeline(1, CountingExpression(), keep_unchanged=True)
    ages = ages_ms(
        [
            runner.step(frame_at(n / 25, {**crowd(4), 100: box(50, 40 + 3 * (n % 2), 40)}))
            for n in range(24)
        ]
    )
    assert [row[0] for row in ages] == [0] * 24
    assert [row[1:] for row in ages] == [[40 * n] * 3 for n in range(24)]
