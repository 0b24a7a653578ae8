"""What makes a measurement invalid: load, throttling, a clock that changed."""

import os
from pathlib import Path

import pytest

from benchmarks import board as measured
from benchmarks.board import BUSY_PERCENT, RunWatch, busy_reasons, current_cpu
from benchmarks.figures import worst_second_ms
from edge.board import Board

THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


class Sensors:
    """A board whose sensors a test changes; every processor has the same clock."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.write(THROTTLED, "0")
        self.write("sys/class/thermal/thermal_zone0/temp", "51000")
        self.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand")
        self.mhz(1800)

    def write(self, name: str, text: str) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    def mhz(self, value: int) -> None:
        for cpu in range(os.cpu_count() or 1):
            folder = f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
            self.write(f"{folder}/scaling_cur_freq", str(1000 * value))
            self.write(f"{folder}/cpuinfo_max_freq", "1800000")


@pytest.fixture
def sensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sensors:
    """The sensors of a healthy board; every sample reads them, and no other process runs."""
    monkeypatch.setattr(measured, "SAMPLE_EVERY_MS", 0.0)
    monkeypatch.setattr(measured.OtherLoad, "percent", lambda _: 3.0)
    return Sensors(tmp_path)


def test_a_healthy_run_is_valid(tmp_path: Path, sensors: Sensors) -> None:
    assert sensors
    watch = RunWatch(Board(tmp_path))
    watch.sample()
    facts = watch.facts()
    assert facts["invalid"] == []
    assert facts["throttled_during"] == []
    assert facts["mhz"] == {"min": 1800.0, "max": 1800.0, "of": 1800.0}
    assert facts["soc_celsius_max"] == 51.0


def test_throttling_that_is_over_at_the_end_counts(tmp_path: Path, sensors: Sensors) -> None:
    watch = RunWatch(Board(tmp_path))
    sensors.write(THROTTLED, "4")
    sensors.write("sys/class/thermal/thermal_zone0/temp", "82000")
    watch.sample()
    sensors.write(THROTTLED, "0")
    facts = watch.facts()
    assert facts["invalid"] == ["the board was throttled during the run: throttled"]
    assert facts["soc_celsius_max"] == 82.0


def test_a_clock_that_changes_makes_a_run_invalid(tmp_path: Path, sensors: Sensors) -> None:
    watch = RunWatch(Board(tmp_path))
    watch.sample()
    sensors.mhz(1000)
    assert watch.facts()["invalid"] == ["the clock changed between 1000 and 1800 MHz"]


def test_a_governor_that_holds_the_clock_down_makes_a_run_invalid(
    tmp_path: Path, sensors: Sensors
) -> None:
    sensors.mhz(600)
    watch = RunWatch(Board(tmp_path))
    assert watch.facts()["invalid"] == [], "a board may be built for less than its chip"
    sensors.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave")
    (reason,) = RunWatch(Board(tmp_path)).facts()["invalid"]
    assert reason == "the clock was at 600 of 1800 MHz (governor powersave)"


def test_a_board_without_sensors_is_not_invalid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured.OtherLoad, "percent", lambda _: 0.0)
    facts = RunWatch(Board(tmp_path)).facts()
    assert facts["invalid"] == []
    assert facts["mhz"] is None


def test_other_processes_make_a_run_invalid() -> None:
    assert busy_reasons(BUSY_PERCENT) == []
    (reason,) = busy_reasons(80.4)
    assert reason.startswith("the machine was busy: other processes used 80 % of a core")


def test_the_processor_of_this_thread_is_one_that_it_may_use() -> None:
    assert current_cpu() in os.sched_getaffinity(0)


def test_the_worst_second_is_the_highest_mean_over_one_second() -> None:
    every_ns = 100_000_000
    sensor_ns = [index * every_ns for index in range(40)]
    spent_ms = [1.0] * 20 + [3.0] * 10 + [1.0] * 10
    assert worst_second_ms(spent_ms, sensor_ns) == pytest.approx(3.0)
    assert worst_second_ms([50.0] + [1.0] * 39, sensor_ns) == pytest.approx(5.9)
    assert worst_second_ms([1.0] * 5, sensor_ns[:5]) is None
    assert worst_second_ms([], []) is None
