"""Grades and rates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.hub.health import Incidents, RateMeter, grade

FINE = {
    "source_state": "running",
    "live": True,
    "expected_hz": 30.0,
    "published_hz": 30.0,
    "stalls_1h": 0,
    "restarts_1h": 0,
    "throttled": [],
}


@pytest.mark.parametrize(
    ("change", "expected", "reason"),
    [
        ({}, "excellent", None),
        ({"published_hz": 26.0}, "fair", "rate"),
        ({"published_hz": 14.0}, "poor", "rate"),
        ({"published_hz": 0.0}, "unusable", "no_frames"),
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
        ({"live": False, "published_hz": 3.0}, "excellent", None),
        ({"expected_hz": None, "published_hz": 0.1}, "excellent", None),
    ],
)
def test_grades(change: dict[str, object], expected: str, reason: str | None) -> None:
    health = grade(**{**FINE, **change})  # type: ignore[arg-type]
    assert health.grade == expected
    assert health.reasons == ([reason] if reason else [])


def test_the_worst_reason_decides_and_all_are_named() -> None:
    health = grade(**{**FINE, "published_hz": 14.0, "stalls_1h": 1})  # type: ignore[arg-type]
    assert (health.grade, health.reasons) == ("poor", ["rate", "stalls"])


@given(st.floats(0.5, 60), st.integers(20, 200))
def test_a_steady_rate_is_measured(rate_hz: float, count: int) -> None:
    meter = RateMeter()
    for index in range(count):
        meter.mark(round(index * 1e9 / rate_hz), index)
    assert meter.rate_hz() == pytest.approx(rate_hz, rel=1e-6)


def test_a_dead_source_loses_its_rate_and_a_new_worker_begins_again() -> None:
    meter = RateMeter()
    assert meter.rate_hz() == 0
    for second in range(10):
        meter.mark(second * 1_000_000_000, min(second, 3) * 30)
    assert meter.rate_hz() == 0
    meter.mark(10_000_000_000, 0)
    meter.mark(11_000_000_000, 30)
    assert meter.rate_hz() == 30


def test_incidents_are_forgotten_after_an_hour() -> None:
    incidents = Incidents()
    for minute in (0, 30, 59):
        incidents.add(minute * 60_000_000_000)
    assert incidents.within(59 * 60_000_000_000) == 3
    assert incidents.within(59 * 60_000_000_000, span_s=600) == 1
    assert incidents.within(100 * 60_000_000_000) == 1
