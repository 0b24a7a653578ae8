"""Blinks, closed eyes and PERCLOS, from series of openness with known closures."""

import numpy as np
import pytest

from benchmarks.evaluation.turned_faces import FaceModel
from edge.protocol.detail import Detail
from edge.protocol.lid_events import Blink, EyesClosed, EyesLost, EyesOpened
from edge.vision.mesh.lids import TOO_SELDOM, TOO_SHORT, LidWatch
from edge.vision.values import LidMeasures
from tests.vision.mesh.conftest import Measuring


def watched(
    openness: np.ndarray, rate_hz: float, watch: LidWatch | None = None
) -> tuple[LidMeasures, list[Detail]]:
    """Return what is known after a series of one face, and all events."""
    watch, events = watch or LidWatch(2.0, vanish_s=1.0), []
    measures = LidMeasures(None, None, "", "")
    for index, value in enumerate(openness.tolist()):
        now_ns = 10**9 + round(index * 1e9 / rate_hz)
        events += watch.begin({1: None}, now_ns)
        measures, found = watch.update(1, value, now_ns)
        events += found
    return measures, events


def series(seconds: float, rate_hz: float, closures: list[tuple[float, float]]) -> np.ndarray:
    """Return openness with noise; eyes close in 80 ms, open in 120 ms, and are shut between.

    ``closures``: when the lids are at a quarter of their height on the way down, and for how long.
    """
    times = np.arange(0, seconds, 1 / rate_hz)
    openness = np.full(len(times), 0.9)
    for begin, length in closures:
        shape = np.interp(
            times, [begin - 0.06, begin + 0.02, begin + length - 0.03, begin + length + 0.09],
            [0.9, 0.03, 0.03, 0.9],
        )  # fmt: skip
        openness = np.minimum(openness, shape)
    noise = np.random.default_rng(7).normal(0, 0.05, len(times))
    return np.clip(openness + noise, 0, 1)


def test_blinks_of_25_measurements_a_second_are_found_with_their_durations() -> None:
    random = np.random.default_rng(3)
    closures = [
        (begin + random.uniform(0, 1), random.uniform(0.1, 0.4)) for begin in range(2, 302, 3)
    ]
    _, events = watched(series(310, 25, closures), 25)
    blinks = [each for each in events if isinstance(each, Blink)]
    assert len(events) == len(blinks)
    found = 0
    for begin, length in closures:
        near = [each for each in blinks if abs(each.sensor_ns / 1e9 - 1 - begin) < 0.1]
        found += len(near) == 1
        assert all(abs(each.duration_ms / 1e3 - length) < 0.1 for each in near)
    assert found >= 0.95 * len(closures)
    assert len(blinks) - found <= 5  # one a minute


def test_open_and_half_closed_eyes_do_not_blink() -> None:
    random = np.random.default_rng(5)
    for level, at_most in ((1.0, 0), (0.7, 0), (0.5, 5)):  # in five minutes
        _, events = watched(np.clip(random.normal(level, 0.07, 25 * 300), 0, 1), 25)
        assert len(events) <= at_most


def test_closed_eyes_are_reported_once_and_end() -> None:
    measures, events = watched(series(70, 25, [(20, 5.0), (40, 0.3)]), 25)
    closed, opened, blink = events
    assert isinstance(closed, EyesClosed)
    assert isinstance(opened, EyesOpened)
    assert isinstance(blink, Blink)
    assert closed.closed_s == pytest.approx(2.0, abs=0.05)
    assert closed.sensor_ns == pytest.approx(21e9, abs=1e8)
    assert opened.closed_s == pytest.approx(5.0, abs=0.1)
    assert measures.perclos == pytest.approx(5.3 / 60, abs=0.01)
    assert measures.blinks_per_min == pytest.approx(1, abs=0.1)


def test_a_measurement_says_for_how_long_the_eyes_have_been_closed() -> None:
    watch = LidWatch(2.0, vanish_s=1.0)
    found = []
    for second, openness in ((10.0, 0.9), (10.04, 0.1), (10.08, 0.0), (13.0, 0.3), (13.5, 0.3)):
        watch.begin({1: None}, round(second * 1e9))
        found.append(watch.update(1, openness, round(second * 1e9))[0].closed_ns)
    # after a hole of more than a second nobody knows since when
    assert found == [None, 0, 40_000_000, None, None]
    shut = np.concatenate([series(5, 25, []), np.full(250, 0.35), np.full(250, 0.05)])
    measures, _ = watched(shut, 25)
    assert measures.closed_ns == pytest.approx(249 / 25 * 1e9, abs=1)


def test_what_too_few_measurements_cannot_show_is_null_with_a_reason() -> None:
    measures, _ = watched(series(50, 25, []), 25)
    assert measures == LidMeasures(None, None, TOO_SHORT, TOO_SHORT)
    measures, events = watched(series(90, 5, [(10, 0.3), (20, 3.0), (60, 6.0)]), 5)
    assert measures.perclos == pytest.approx(6 / 60, abs=0.02)
    assert (measures.blinks_per_min, measures.blinks_reason) == (None, TOO_SELDOM)
    assert [type(each) for each in events] == [EyesClosed, EyesOpened] * 2
    measures, events = watched(series(300, 0.5, [(20, 100)]), 0.5)
    assert measures == LidMeasures(None, None, TOO_SELDOM, TOO_SELDOM)
    assert events == []


def closed_for_4_s(watch: LidWatch) -> None:
    """Measure closed eyes from 0 to 4 s."""
    for index in range(101):
        watch.begin({1: "left"}, index * 40_000_000)
        watch.update(1, 0.0, index * 40_000_000, "left")


def test_a_mesh_that_measures_once_a_second_follows_a_closure() -> None:
    watch, events = LidWatch(2.0, vanish_s=3.0), []
    for number in range(10):
        sensor_ns = number * 10**9 + (-1) ** number * 400_000  # some are late
        watch.begin({1: None}, sensor_ns)
        events += watch.update(1, 0.0, sensor_ns)[1]
    assert [type(each) for each in events] == [EyesClosed]


def test_a_closure_that_is_not_measured_any_more_ends_when_nothing_is_known() -> None:
    watch = LidWatch(2.0, vanish_s=1.0)
    closed_for_4_s(watch)
    assert watch.begin({1: "left"}, 5_500_000_000) == []
    (lost,) = watch.begin({1: "left"}, 5_500_000_001)
    # the time after the last measurement is not counted
    assert lost == EyesLost(
        track=1, seat="left", reason="not_measured", closed_s=4.0, sensor_ns=4 * 10**9
    )
    assert watch.begin({1: "left"}, 60 * 10**9) == []  # once
    measures, events = watch.update(1, 0.0, 60 * 10**9)
    assert (measures.closed_ns, events) == (0, [])  # a new closure
    assert watch.update(1, 0.9, 61 * 10**9)[1] == []


def test_a_closure_ends_with_its_track() -> None:
    watch = LidWatch(2.0, vanish_s=0.5)
    closed_for_4_s(watch)
    assert watch.begin({2: None}, 4_500_000_000) == []
    (lost,) = watch.begin({2: None}, 4_500_000_001)
    assert isinstance(lost, EyesLost)
    assert (lost.reason, lost.closed_s) == ("track_ended", 4.0)
    assert not watch._tracks


def test_a_face_that_is_lost_for_a_moment_keeps_its_minute_and_its_closure() -> None:
    """The detector misses a face now and then: its minute began anew each time."""
    watch, events = LidWatch(2.0, vanish_s=1.0), []
    for index in range(25 * 70):
        now_ns = index * 40_000_000
        is_lost = index % 100 in (60, 61)
        events += watch.begin({} if is_lost else {1: None}, now_ns)
        if not is_lost:
            measures, found = watch.update(1, 0.0 if index >= 25 * 66 else 0.9, now_ns)
            events += found
    assert measures.perclos == pytest.approx(4 / 60, abs=0.005)
    assert measures.closed_ns == pytest.approx(4e9, abs=5e7)
    assert [type(each) for each in events] == [EyesClosed]


def test_tracks_are_forgotten_when_the_clock_starts_again() -> None:
    watch = LidWatch(2.0, vanish_s=1.0)
    watch.update(1, 0.0, 10**9)
    assert watch.update(1, 0.9, 5)[1] == []
    closed_for_4_s(watch)
    (lost,) = watch.begin({}, 5)
    assert isinstance(lost, EyesLost)
    assert not watch._tracks


def test_memory_is_a_minute() -> None:
    watch = LidWatch(2.0, vanish_s=1.0)
    watched(series(200, 25, [(each, 0.2) for each in range(1, 199, 2)]), 25, watch)
    (track,) = watch._tracks.values()
    assert len(track.steps) <= 1500
    assert len(track.blinks) <= 31


def test_lids_of_a_real_face_blink(measure: Measuring, clip_face: FaceModel) -> None:
    eyes = {}
    for lids in (1.0, 0.5, 0.0):
        mesh = measure(clip_face.with_lids(lids))
        eyes[lids] = (mesh.left_eye + mesh.right_eye) / 2
    lids = [1.0] * 10 + [0.5, 0.0, 0.0, 0.0, 0.5] + [1.0] * 10
    _, events = watched(np.array([eyes[each] for each in lids]), 25)
    (blink,) = events
    assert isinstance(blink, Blink)
    assert blink.duration_ms == pytest.approx(120, abs=41)
