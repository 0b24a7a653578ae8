"""The limit of the frame rate by temperature and voltage, on a simulated clock."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.hub.rate_limit import CHANGE_S, DIVISORS, HYSTERESIS_CELSIUS, RateLimit

SECOND_NS = 1_000_000_000
HOT = 78.0
Reading = tuple[float | None, dict[str, bool] | None]


def levels(readings: list[Reading]) -> tuple[list[int], list[str | None]]:
    """Return divisor and reason after each reading, one a second."""
    limit = RateLimit(HOT)
    divisors, reasons = [], []
    for second, (celsius, flags) in enumerate(readings):
        limit.update(second * SECOND_NS, celsius, flags)
        divisors.append(limit.divisor)
        reasons.append(limit.reason)
    return divisors, reasons


def changes(divisors: list[int]) -> list[int]:
    """Return the seconds at which the divisor changed."""
    return [at for at, (one, other) in enumerate(pairwise([1, *divisors])) if one != other]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("slope", [0.02, 0.1, 2.0])
def test_a_ramp_with_noise_changes_the_rate_at_most_once_a_minute(seed: int, slope: float) -> None:
    noise = random.Random(seed)
    up = [60 + slope * at for at in range(int(26 / slope))]
    ramp = [*up, *[86.0] * 300, *reversed(up), *[60.0] * 400]
    divisors, reasons = levels([(each + noise.uniform(-1, 1), None) for each in ramp])
    times = changes(divisors)
    assert all(later - earlier >= CHANGE_S for earlier, later in pairwise(times))
    assert max(divisors) == DIVISORS[-1]
    assert (divisors[0], divisors[-1]) == (1, 1)
    assert {reason for one, reason in zip(divisors, reasons, strict=True) if one > 1} == {
        "temperature"
    }
    assert {reason for one, reason in zip(divisors, reasons, strict=True) if one == 1} == {None}
    # up and down once: noise does not make it flicker
    peak = divisors.index(DIVISORS[-1])
    assert divisors[:peak] == sorted(divisors[:peak])
    assert divisors[peak:] == sorted(divisors[peak:], reverse=True)


def test_between_the_limits_the_rate_stays() -> None:
    warm = HOT - HYSTERESIS_CELSIUS / 2
    divisors, _ = levels([(HOT, None), *[(warm, None)] * 500])
    assert set(divisors) == {2}
    divisors, _ = levels([(warm, None)] * 500)
    assert set(divisors) == {1}


def test_low_voltage_limits_the_rate_until_a_minute_without_it() -> None:
    low, fine = {"under_voltage": True, "throttled": True}, {"under_voltage": False}
    divisors, reasons = levels([(50.0, low), *[(50.0, fine)] * 70])
    assert divisors[:61] == [2] * 61
    assert divisors[61:] == [1] * 10
    assert reasons[0] == "under_voltage"
    assert reasons[-1] is None


@pytest.mark.parametrize(
    "flags", [None, {}, {"under_voltage": False, "frequency_capped": True, "throttled": True}]
)
def test_what_is_unknown_and_other_flags_do_not_limit_the_rate(
    flags: dict[str, bool] | None,
) -> None:
    divisors, reasons = levels([(None, flags), (60.0, flags)] * 200)
    assert set(divisors) == {1}
    assert set(reasons) == {None}


def test_a_sensor_that_disappears_does_not_hold_the_limit_for_ever() -> None:
    divisors, _ = levels([(90.0, None), *[(None, None)] * 130])
    assert divisors[-1] == 1


READING = st.tuples(
    st.one_of(st.none(), st.floats(-50, 200)),
    st.one_of(st.none(), st.fixed_dictionaries({"under_voltage": st.booleans()})),
)


@given(st.lists(st.tuples(READING, st.integers(1, 90)), max_size=40))
def test_whatever_the_board_reports(spans: list[tuple[Reading, int]]) -> None:
    readings = [reading for reading, seconds in spans for _ in range(seconds)]
    cool = [(40.0, {"under_voltage": False})] * int(len(DIVISORS) * CHANGE_S + 1)
    divisors, reasons = levels([*readings, *cool])
    times = changes(divisors)
    assert all(later - earlier >= CHANGE_S for earlier, later in pairwise(times))
    steps = [abs(DIVISORS.index(a) - DIVISORS.index(b)) for a, b in pairwise(divisors)]
    assert max(steps) <= 1
    assert divisors[-1] == 1, "it recovers"
    for divisor, reason in zip(divisors, reasons, strict=True):
        assert (divisor == 1) == (reason is None)
