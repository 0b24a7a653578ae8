"""When a worker counts as silent, stuck, or hanging in its start."""

from collections.abc import Callable

import pytest

from edge.config import Config
from edge.hub import supervisor as supervisor_module
from edge.hub.supervisor import CAPTURE_STUCK_S, FIRST_RESULT_S, SILENT_S, Supervisor
from edge.link import Heartbeat, Loading

Look = Callable[..., str | None]
START_S = Config().limits.start_s


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    """Return a supervisor of a worker that loads its networks."""
    monkeypatch.setattr(supervisor_module.clock, "monotonic_ns", lambda: 1)
    supervisor = Supervisor(Config(), lossless=False)
    supervisor._process = object()  # type: ignore[assignment]
    supervisor._last_report_ns = 1
    return supervisor


@pytest.fixture
def look_at_start(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Return a function that moves the clock and returns the trouble of a worker.

    It looks ten times a second meanwhile, unless the hub is ``paused``.
    """
    now_ns = 1
    monkeypatch.setattr(supervisor_module.clock, "monotonic_ns", lambda: now_ns)

    def move(
        seconds: float,
        *,
        is_opening: bool = False,
        paused: bool = False,
        report: Heartbeat | Loading | None = None,
    ) -> str | None:
        nonlocal now_ns
        for _ in range(1 if paused else round(seconds * 10)):
            now_ns += round(seconds * 1e9) if paused else 100_000_000
            if report is not None:
                supervisor.note(report)
            trouble = supervisor.trouble(is_opening=is_opening)
        return trouble

    return move


@pytest.fixture
def look(supervisor: Supervisor, look_at_start: Look) -> Look:
    """Return the same function for a worker that is ready."""
    supervisor.is_ready = True
    return look_at_start


def heartbeat(busy_s: float) -> Heartbeat:
    return Heartbeat.model_construct(busy_s={"detect": busy_s}, rss_mb=100.0)


def test_a_worker_may_be_silent_longer_while_it_opens_a_camera(look: Look) -> None:
    assert look(SILENT_S + 0.2) == "silent"
    assert look(0.1, is_opening=True) is None
    assert look(CAPTURE_STUCK_S - SILENT_S, is_opening=True) == "silent"


def test_a_worker_that_was_stopped_with_the_hub_is_not_silent(look: Look) -> None:
    look(0.1)
    assert look(60.0, paused=True) is None
    assert look(0.1) is None
    # its first report tells of a call that lasted as long as the pause
    assert look(0.1, report=heartbeat(60.0)) is None
    assert look(SILENT_S, report=heartbeat(0.01)) is None
    assert look(SILENT_S + 0.2) == "silent"


def test_a_worker_that_stays_silent_after_a_pause_is_replaced(look: Look) -> None:
    look(0.1)
    look(60.0, paused=True)
    assert look(SILENT_S + 0.2) == "silent"


def test_a_worker_that_starts_slowly_is_replaced_only_if_it_hangs(look_at_start: Look) -> None:
    for _ in range(4):
        assert look_at_start(START_S - 1) is None
        assert look_at_start(0.1, report=Loading()) is None
    assert look_at_start(START_S) is None
    assert look_at_start(0.1) == "start"


def test_a_pause_of_the_hub_is_no_time_of_the_start(look_at_start: Look) -> None:
    assert look_at_start(START_S - 10) is None
    assert look_at_start(60.0, paused=True) is None
    assert look_at_start(SILENT_S + 1) is None
    assert look_at_start(10.0) == "start"


def test_the_service_manager_waits_as_long_as_the_supervisor() -> None:
    waits_s: list[float] = []
    supervisor = Supervisor(Config(), lossless=False, on_progress=waits_s.append)
    supervisor.note(Loading())
    supervisor.note(heartbeat(0.01))
    assert waits_s == [START_S + FIRST_RESULT_S]
