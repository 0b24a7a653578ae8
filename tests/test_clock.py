"""Clocks: wall clock health from the kernel, or from the flag file if the kernel refuses."""

import ctypes
import select
import time
from pathlib import Path

import pytest

from edge import clock


def test_wall_clock_health_comes_from_the_kernel() -> None:
    health = clock.wall_clock_health()
    assert isinstance(health.synchronized, bool)
    assert (health.max_error_us is None) == (not health.synchronized)


@pytest.mark.parametrize("flag", [True, False])
def test_wall_clock_health_comes_from_the_flag_file_if_the_kernel_refuses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flag: bool
) -> None:
    class Refusing:
        """libc in a unit with ProtectClock: adjtimex fails with EPERM."""

        def __init__(self, *_: object, **__: object) -> None:
            self.adjtimex = lambda _timex: -1

    path = tmp_path / "synchronized"
    if flag:
        path.touch()
    monkeypatch.setattr(ctypes, "CDLL", Refusing)
    monkeypatch.setattr(clock, "_TIMESYNCD_FLAG", path)
    assert clock.wall_clock_health() == clock.ClockHealth(flag, None)


def test_laps_of_one_name_add_up_to_the_elapsed_time_at_most() -> None:
    start_ns = clock.monotonic_ns()
    stopwatch = clock.Stopwatch()
    for _ in range(3):
        stopwatch.lap("a")
        stopwatch.lap("b")
    total_ms = clock.elapsed_ms(start_ns)
    assert set(stopwatch.stage_ms) == {"a", "b"}
    assert 0 <= sum(stopwatch.stage_ms.values()) <= total_ms


def test_stopwatches_can_measure_processor_time() -> None:
    """A wait takes time, and no processor time."""
    passed = clock.Stopwatch()
    with clock.stages_in_processor_time():
        used = clock.Stopwatch()
    select.select([], [], [], 0.2)
    passed.lap("wait")
    used.lap("wait")
    assert used.stage_ms["wait"] < 100 <= passed.stage_ms["wait"]
    assert clock.Stopwatch.now_ns is time.monotonic_ns


def test_each_function_reads_the_clock_of_its_name() -> None:
    assert clock.boottime_ns() >= clock.monotonic_ns() - 1_000_000_000
    assert clock.wall_ns() > 1_700_000_000_000_000_000
    difference = clock.wall_minus_boottime_ns() - (clock.wall_ns() - clock.boottime_ns())
    assert abs(difference) < 50_000_000
