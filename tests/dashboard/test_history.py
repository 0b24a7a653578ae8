"""Histories: constant memory, any order of time, means over periods."""

from hypothesis import given
from hypothesis import strategies as st

from edge.dashboard.history import COARSE_SIZE, FINE_SIZE, History, HistoryPoint, Ring


def test_a_period_has_the_mean_of_its_values() -> None:
    ring = Ring(1, 10)
    ring.add(100.1, 0.5, 0.0)
    ring.add(100.9, 0.7, 0.5)
    ring.add(101.0, -1.0, 1.0)
    assert list(ring) == [HistoryPoint(100, 0.6, 0.25), HistoryPoint(101, -1.0, 1.0)]


@given(st.permutations(range(100, 130)))
def test_the_order_of_values_does_not_matter(seconds: list[int]) -> None:
    ring = Ring(1, 10)
    for second in seconds:
        ring.add(second, second / 1000, 0)
    assert [point.t_s for point in ring] == list(range(120, 130))


def test_a_history_of_a_day_keeps_twelve_hours_in_constant_memory() -> None:
    history = History()
    for second in range(1_000_000, 1_000_000 + 86_400):
        history.add(second, 0.25, -0.5)
    points = history.points()
    assert FINE_SIZE <= len(points) <= FINE_SIZE + COARSE_SIZE
    assert points[-1].t_s == 1_000_000 + 86_399
    assert 12 * 3600 - 20 <= points[-1].t_s - points[0].t_s <= 12 * 3600
    times = [point.t_s for point in points]
    assert times == sorted(set(times))
    assert {point[1:] for point in points} == {(0.25, -0.5)}


def test_a_value_that_is_too_old_is_left_out() -> None:
    ring = Ring(1, 10)
    ring.add(100, 1, 1)
    ring.add(90, -1, -1)  # the same place, ten seconds before
    assert list(ring) == [HistoryPoint(100, 1.0, 1.0)]
    assert ring.point(90) is None
