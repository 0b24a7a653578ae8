"""Clocks: wall clock health from the kernel, or from files if the kernel refuses."""

import ctypes
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge import clock
from tests.support.daemons import ROOT
from tests.support.waiting import wait_until


def test_wall_clock_health_comes_from_the_kernel() -> None:
    health = clock.wall_clock_health()
    assert isinstance(health.synchronized, bool)
    assert (health.max_error_us is None) == (not health.synchronized)


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A unit with ProtectClock: adjtimex fails with EPERM; return a folder in place of /run."""

    class Refusing:
        def __init__(self, *_: object, **__: object) -> None:
            self.adjtimex = lambda _timex: -1

    monkeypatch.setattr(ctypes, "CDLL", Refusing)
    monkeypatch.setattr(clock, "_TIMESYNCD_FLAG", tmp_path / "synchronized")
    monkeypatch.setattr(clock, "_HEALTH_FILE", tmp_path / "health")
    return tmp_path


@pytest.mark.parametrize("flag", [True, False])
def test_wall_clock_health_comes_from_the_flag_file_if_the_kernel_refuses(
    refusing: Path, flag: bool
) -> None:
    if flag:
        (refusing / "synchronized").touch()
    assert clock.wall_clock_health() == clock.ClockHealth(flag, None)


@pytest.mark.parametrize(
    "health", [clock.ClockHealth(True, 350), clock.ClockHealth(True, None),
               clock.ClockHealth(False, None)]
)  # fmt: skip
def test_the_helpers_file_wins_over_the_flag(refusing: Path, health: clock.ClockHealth) -> None:
    (refusing / "synchronized").touch()
    (refusing / "health").write_text(clock.health_line(health))
    assert clock.wall_clock_health() == health


@pytest.mark.parametrize("age_s", [61, -1])
def test_an_old_file_of_the_helper_does_not_count(refusing: Path, age_s: int) -> None:
    written_ns = clock.boottime_ns() - age_s * 10**9
    (refusing / "health").write_text(f"1 350 {written_ns}\n")
    assert clock.wall_clock_health() == clock.ClockHealth(False, None)
    (refusing / "health").write_text(f"1 350 {written_ns + age_s * 10**9}\n")
    assert clock.wall_clock_health() == clock.ClockHealth(True, 350)


@pytest.mark.parametrize("content", [b"", b"1 350", b"yes 1 2\n", b"\xff\x00", b"1 2 3 4\n"])
def test_a_damaged_file_of_the_helper_does_not_count(refusing: Path, content: bytes) -> None:
    (refusing / "health").write_bytes(content)
    assert clock.wall_clock_health() == clock.ClockHealth(False, None)


def test_the_helper_writes_what_the_kernel_says(tmp_path: Path) -> None:
    """As the service runs it: a process, a file that it replaces, a stop by SIGTERM."""
    file = tmp_path / "health"
    command = [sys.executable, "-m", "edge.clock_health", str(file)]
    with subprocess.Popen(command, cwd=ROOT) as helper:
        try:
            wait_until(file.exists)
        finally:
            helper.terminate()
    assert helper.returncode == -signal.SIGTERM
    synchronized, _, written_ns = map(int, file.read_text().split())
    kernel = clock.kernel_clock_health()
    assert kernel is not None
    assert kernel.synchronized == bool(synchronized)
    assert 0 <= clock.boottime_ns() - written_ns < 60e9


@pytest.mark.parametrize(("arguments", "code", "line"), [
    ([], 78, "expected one argument"),
    (["/no/such/folder/health"], 1, "No such file or directory"),
])  # fmt: skip
def test_the_helper_says_in_one_line_what_is_wrong(
    arguments: list[str], code: int, line: str
) -> None:
    command = [sys.executable, "-m", "edge.clock_health", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1)
    assert line in done.stderr


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
    assert abs(difference) < 60_000_000_000  # this process may be held up between them
    assert abs(clock.wall_minus_monotonic_ns() - (clock.wall_ns() - clock.monotonic_ns())) < 6e10


@pytest.mark.parametrize("held_up", ["wall_ns", "boottime_ns", "monotonic_ns"])
def test_a_process_held_up_between_two_clocks_sees_no_step(
    monkeypatch: pytest.MonkeyPatch, held_up: str
) -> None:
    """A busy machine gave false ``clock_step`` events, and frames a wrong wall time."""
    now_ns, offset_ns, holds = [0], 10**18, iter([80_000_000] * 3)

    def reading(name: str, offset_ns: int) -> Callable[[], int]:
        def read() -> int:
            now_ns[0] += 200
            at_ns = now_ns[0]
            now_ns[0] += next(holds, 0) if name == held_up else 0
            return at_ns + offset_ns

        return read

    for name, own_ns in (("wall_ns", offset_ns), ("boottime_ns", 0), ("monotonic_ns", 0)):
        monkeypatch.setattr(clock, name, reading(name, own_ns))
    difference_ns = (
        clock.wall_minus_monotonic_ns()
        if held_up == "monotonic_ns"
        else clock.wall_minus_boottime_ns()
    )
    assert difference_ns == pytest.approx(offset_ns, abs=1000)
