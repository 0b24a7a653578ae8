"""Clocks: health from the kernel or, where that is refused, from the flag file."""

import ctypes
from pathlib import Path

import pytest

from edge import clock


def test_the_kernel_tells_the_health_of_the_wall_clock() -> None:
    health = clock.wall_clock_health()
    assert isinstance(health.synchronized, bool)
    assert (health.max_error_us is None) == (not health.synchronized)


@pytest.mark.parametrize("flag", [True, False])
def test_a_kernel_that_refuses_leaves_the_flag(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flag: bool
) -> None:
    class Refusing:
        """What a unit with ProtectClock sees: adjtimex fails with EPERM."""

        def __init__(self, *_: object, **__: object) -> None:
            self.adjtimex = lambda _timex: -1

    path = tmp_path / "synchronized"
    if flag:
        path.touch()
    monkeypatch.setattr(ctypes, "CDLL", Refusing)
    monkeypatch.setattr(clock, "_TIMESYNCD_FLAG", path)
    assert clock.wall_clock_health() == clock.ClockHealth(flag, None)


def test_laps_of_one_name_add_up_and_cover_the_time() -> None:
    begun_ns = clock.monotonic_ns()
    stopwatch = clock.Stopwatch()
    for _ in range(3):
        stopwatch.lap("a")
        stopwatch.lap("b")
    total_ms = clock.elapsed_ms(begun_ns)
    assert set(stopwatch.stage_ms) == {"a", "b"}
    assert 0 <= sum(stopwatch.stage_ms.values()) <= total_ms


def test_clocks_agree_with_their_names() -> None:
    assert clock.boottime_ns() >= clock.monotonic_ns() - 1_000_000_000
    assert clock.wall_ns() > 1_700_000_000_000_000_000
    difference = clock.wall_minus_boottime_ns() - (clock.wall_ns() - clock.boottime_ns())
    assert abs(difference) < 50_000_000
