"""Health grades and rates."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.hub.health import RATE_PERIODS, RATE_WINDOW_S, Incidents, RateMeter, grade

FINE = {
    "source_state": "running",
    "live": True,
    "delivered": 1.0,
    "stalls_1h": 0,
    "restarts_1h": 0,
    "throttled": [],
}


@pytest.mark.parametrize(
    ("change", "expected", "reason"),
    [
        ({}, "excellent", None),
        ({"delivered": 0.89}, "fair", "rate"),
        ({"delivered": 0.49}, "poor", "rate"),
        ({"delivered": 0.0}, "unusable", "no_frames"),
        ({"source_state": "stalled"}, "unusable", "source_stalled"),
        ({"source_state": "absent"}, "unusable", "source_absent"),
        ({"source_state": "restarting"}, "unusable", "source_restarting"),
        ({"stalls_1h": 1}, "fair", "stalls"),
        ({"restarts_1h": 5}, "poor", "restarts"),
        ({"throttled": ["under_voltage"]}, "fair", "throttled"),
        ({"throttled": None}, "excellent", None),
        ({"swap": "possible"}, "fair", "swap_possible"),
        ({"swap": "prevented"}, "excellent", None),
        ({"swap": None}, "excellent", None),
        ({"picture_state": "dark"}, "poor", "picture_dark"),
        ({"picture_state": "flat", "live": False}, "poor", "picture_flat"),
        ({"picture_state": "frozen"}, "poor", "picture_frozen"),
        ({"picture_state": "still", "live": False}, "fair", "picture_still"),
        ({"picture_state": "dark", "source_state": "absent"}, "unusable", "source_absent"),
        ({"live": False, "delivered": 0.1}, "excellent", None),
    ],
)
def test_each_fault_gives_its_grade_and_reason(
    change: dict[str, object], expected: str, reason: str | None
) -> None:
    health = grade(**{**FINE, **change})  # type: ignore[arg-type]
    assert health.grade == expected
    assert health.reasons == ([reason] if reason else [])


def test_the_worst_reason_sets_the_grade_and_all_are_listed() -> None:
    health = grade(**{**FINE, "delivered": 0.4, "stalls_1h": 1})  # type: ignore[arg-type]
    assert (health.grade, health.reasons) == ("poor", ["rate", "stalls"])


@given(st.floats(0.5, 60), st.integers(20, 200))
def test_the_meter_measures_a_steady_rate(rate_hz: float, count: int) -> None:
    meter = RateMeter()
    for index in range(count):
        meter.mark(round(index * 1e9 / rate_hz), index)
    assert meter.rate_hz() == pytest.approx(rate_hz, rel=1e-6)


def test_the_rate_falls_to_zero_without_frames_and_recovers_with_a_new_worker() -> None:
    meter = RateMeter()
    assert meter.rate_hz() == 0
    for second in range(10):
        meter.mark(second * 1_000_000_000, min(second, 3) * 30)
    assert meter.rate_hz() == 0
    meter.mark(10_000_000_000, 0)
    meter.mark(11_000_000_000, 30)
    assert meter.rate_hz() == 30


def grades(
    frames_s: Iterable[float], expected_hz: float | None, first_status_s: float, end_s: float
) -> list[tuple[float, str]]:
    """Return time and grade of each status, for frames published at ``frames_s``.

    The camera runs from time 0 on; a status comes once a second.
    """
    meter = RateMeter()
    meter.mark(-3_000_000_000, 0)  # before the camera was open
    meter.expected_hz = expected_hz
    meter.restart(0, 0)
    statuses_s = [first_status_s + at for at in range(int(end_s - first_status_s))]
    timeline = sorted([(at, True) for at in frames_s] + [(at, False) for at in statuses_s])
    graded, count = [], 0
    for at_s, is_frame in timeline:
        count += is_frame
        meter.mark(round(at_s * 1e9), count)
        if not is_frame:
            health = grade(**{**FINE, "delivered": meter.delivered()})  # type: ignore[arg-type]
            graded.append((at_s, health.grade))
    return graded


RATES_HZ = (0.5, 0.7, 0.9, 1.0, 1.3, 2.0, 5.0, 8.0, 15.0, 30.0)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@given(
    phase_s=st.floats(0, 1),
    latency=st.floats(0, 1),
    jitter=st.sampled_from([0.0, 0.1, 0.4]),
    seed=st.integers(0, 9),
)
def test_a_camera_without_losses_is_excellent_in_every_status(
    rate_hz: float, phase_s: float, latency: float, jitter: float, seed: int
) -> None:
    generator = random.Random(seed)
    end_s = max(15, 30 / rate_hz)
    frames_s = [
        (index + latency + generator.uniform(0, 2 * jitter)) / rate_hz
        for index in range(int(end_s * rate_hz))
    ]
    graded = grades(frames_s, rate_hz, phase_s, end_s)
    assert {each for _, each in graded} == {"excellent"}


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@given(phase_s=st.floats(0, 1), slower=st.sampled_from([0.5, 0.25]))
def test_a_falling_rate_lowers_the_grade(rate_hz: float, phase_s: float, slower: float) -> None:
    window_s = max(RATE_WINDOW_S, RATE_PERIODS / rate_hz)
    fine_s, end_s = 2 * window_s, 4 * window_s
    frames_s = [index / rate_hz for index in range(int(fine_s * rate_hz))]
    while frames_s[-1] < end_s:
        frames_s.append(frames_s[-1] + 1 / (slower * rate_hz))
    graded = grades(frames_s, rate_hz, phase_s, end_s)
    assert {each for at, each in graded if at < fine_s - 1} == {"excellent"}
    assert "excellent" not in {each for at, each in graded if at > fine_s + window_s + 1}
    if slower < 0.5:
        assert {each for at, each in graded if at > fine_s + window_s + 1} == {"poor"}


@pytest.mark.parametrize("expected_hz", [None, *RATES_HZ])
def test_a_camera_without_frames_is_unusable(expected_hz: float | None) -> None:
    rate_hz = expected_hz or 10.0
    window_s = max(RATE_WINDOW_S, RATE_PERIODS / rate_hz)
    graded = grades([index / rate_hz for index in range(30)], expected_hz, 0.5, 60 + 2 * window_s)
    assert graded[-1][1] == "unusable"
    never = grades([], expected_hz, 0.5, 12)
    assert (never[0][1], never[-1][1]) == ("excellent", "unusable")


def test_without_an_expected_rate_the_rate_does_not_lower_the_grade() -> None:
    graded = grades([0.3 * index**1.5 for index in range(12)], None, 0.5, 11)
    assert {each for _, each in graded} == {"excellent"}


def test_incidents_are_forgotten_after_an_hour() -> None:
    incidents = Incidents()
    for minute in (0, 30, 59):
        incidents.add(minute * 60_000_000_000)
    assert incidents.within(59 * 60_000_000_000) == 3
    assert incidents.within(59 * 60_000_000_000, span_s=600) == 1
    assert incidents.within(100 * 60_000_000_000) == 1
