"""Subscribers that stop reading: the daemon and everybody else go on as before.

Environment variables: ``STOPPED_SECONDS`` (600), ``STOPPED_RATE_HZ`` (60, frames a second),
``FAULTS_LIMITS`` (1; 0: latency and rate are measured, and not required).

Two daemons run at the same time, and only one of them has the stopped subscriber, so other load of
the machine is in both figures.
"""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import zmq

from tests.support.backlog import make_journal
from tests.support.fleet import FleetDaemon, Program
from tests.support.live_probe import LiveProbe

pytestmark = [pytest.mark.stage, pytest.mark.timeout(7200)]

SECONDS = float(os.environ.get("STOPPED_SECONDS", "600"))
RATE_HZ = float(os.environ.get("STOPPED_RATE_HZ", "60"))
HAS_LIMITS = os.environ.get("FAULTS_LIMITS", "1") == "1"
P99_GROWTH_MAX_MS = 1.0
RSS_GROWTH_MAX_MB = 16.0
RATE_LOSS_MAX = 0.02
_STALLED = 8
_REPLAYING = 2
_BACKLOG = 50_000
_CALM_S = 30.0


@dataclass(frozen=True, slots=True)
class Pair:
    """A daemon to disturb and one to compare it with, each with a subscriber that is measured."""

    folder: Path
    disturbed: FleetDaemon
    compared: FleetDaemon
    probes: tuple[LiveProbe, LiveProbe]


@contextlib.contextmanager
def running_pair(messages: int = 0) -> Iterator[Pair]:
    """Run both daemons; the first has a journal with ``messages``."""
    folder = Path(tempfile.mkdtemp(prefix="affect-edge-stopped-"))  # short: in socket names
    changed = {"journal.keep_h": "1000"}
    daemons = [FleetDaemon(folder / f"{each}", each, RATE_HZ, changed=changed) for each in (0, 1)]
    try:
        if messages:
            make_journal(folder / "0" / "journal", messages)
        for daemon in daemons:
            daemon.start()
            daemon.newest()
        with (
            LiveProbe(daemons[0].endpoint, folder / "probe-0") as first,
            LiveProbe(daemons[1].endpoint, folder / "probe-1") as second,
        ):
            first.wait_for_frames(100)
            second.wait_for_frames(100)
            yield Pair(folder, daemons[0], daemons[1], (first, second))
    finally:
        for daemon in daemons:
            if daemon.process is not None:
                daemon.kill()
        shutil.rmtree(folder)


def disturb(pair: Pair, seconds: float, begin: Callable[[], None]) -> dict[str, float]:
    """Measure before and during ``begin`` and the seconds after it; return the figures."""
    start_ns = time.monotonic_ns()
    time.sleep(min(_CALM_S, seconds))
    usual_mb = grown_to_mb = pair.disturbed.rss_mb()
    begin()
    begun_ns = time.monotonic_ns()
    while time.monotonic_ns() < begun_ns + seconds * 1e9:
        time.sleep(0.2)
        grown_to_mb = max(grown_to_mb, pair.disturbed.rss_mb())
    end_ns = time.monotonic_ns()
    spans = {"before": (start_ns, begun_ns), "during": (begun_ns, end_ns)}
    figures = {"seconds": round(seconds, 1), "rss_growth_mb": round(grown_to_mb - usual_mb, 2)}
    for name, probe in zip(("disturbed", "compared"), pair.probes, strict=True):
        for when, span in spans.items():
            median_ms, p99_ms = probe.way_ms(*span)
            received, lost = probe.count(*span)
            figures[f"{name}_{when}_median_ms"] = round(median_ms, 3)
            figures[f"{name}_{when}_p99_ms"] = round(p99_ms, 3)
            figures[f"{name}_{when}_hz"] = round(received / ((span[1] - span[0]) / 1e9), 2)
            figures[f"{name}_{when}_lost"] = lost
    return figures


def check(figures: dict[str, float]) -> None:
    print(json.dumps(figures, indent=2))
    assert figures["disturbed_during_lost"] == 0
    assert figures["rss_growth_mb"] <= RSS_GROWTH_MAX_MB
    usual_hz = figures["compared_during_hz"]
    assert not HAS_LIMITS or figures["disturbed_during_hz"] >= (1 - RATE_LOSS_MAX) * usual_hz


def logger_of(daemon: FleetDaemon, folder: Path, out: Path, *options: str) -> Program:
    return Program(
        folder / f"{out.name}.stderr",
        {},
        *("edge", "log", "--out", str(out), "--name", out.stem, *options),
        *("--connect", daemon.endpoint, "--service", daemon.service),
    )


def holes_in(out: Path) -> list[tuple[int, int]]:
    """Return the epochs of a SQLite log whose numbers have holes, with how many are missing."""
    query = (
        "SELECT epoch, max(seq) + 1 - count(*) AS missing FROM messages GROUP BY epoch"
        " HAVING missing > 0 UNION SELECT epoch, last_missing FROM gaps"
    )
    with contextlib.closing(sqlite3.connect(out)) as database:
        return database.execute(query).fetchall()


def newest_in(out: Path) -> tuple[int, int]:
    with contextlib.closing(sqlite3.connect(out)) as database:
        rows = database.execute("SELECT epoch, seq FROM cursors").fetchall()
    return max(rows, default=(0, -1))


def wait_until_logged(daemon: FleetDaemon, out: Path) -> None:
    """Wait until the log has what the daemon has published by now."""
    _stream, *newest = daemon.newest()
    deadline = time.monotonic() + 120
    while newest_in(out) < tuple(newest):
        assert time.monotonic() < deadline, (newest_in(out), newest)
        time.sleep(0.1)


def test_a_stopped_logger_disturbs_nobody_and_loses_nothing() -> None:
    with running_pair() as pair:
        out = pair.folder / "stopped.sqlite"
        logger = logger_of(pair.disturbed, pair.folder, out)
        logger.start()
        assert logger.process is not None
        process = logger.process
        try:
            while not out.exists():
                assert process.poll() is None, logger.stderr
                time.sleep(0.05)
            figures = disturb(pair, SECONDS, lambda: process.send_signal(signal.SIGSTOP))
            process.send_signal(signal.SIGCONT)
            resumed_s = time.monotonic()
            wait_until_logged(pair.disturbed, out)
            figures["caught_up_after_s"] = round(time.monotonic() - resumed_s, 1)
            process.terminate()
            assert process.wait(30) == 0, logger.stderr
            assert holes_in(out) == []
        finally:
            logger.kill()
        check(figures)
        usual_ms = max(figures["disturbed_before_p99_ms"], figures["compared_during_p99_ms"])
        grown_ms = figures["disturbed_during_p99_ms"] - usual_ms
        assert not HAS_LIMITS or grown_ms <= P99_GROWTH_MAX_MS


def test_stalled_and_replaying_subscribers_cost_no_frame() -> None:
    """Eight subscribers that never read, and two that fetch 50,000 messages again and again."""
    is_over = threading.Event()
    replays: list[Path] = []

    def replay(pair: Pair, number: int) -> None:
        count = 0
        while not is_over.is_set():
            out = pair.folder / f"replay-{number}-{count}.sqlite"
            logger = logger_of(pair.disturbed, pair.folder, out, "--once")
            logger.start()
            assert logger.process is not None
            if logger.process.wait(300) == 0:  # the last one ends after the measurement
                replays.append(out)
            count += 1

    with running_pair(_BACKLOG) as pair, zmq.Context() as context, contextlib.ExitStack() as held:
        threads = [threading.Thread(target=replay, args=(pair, n)) for n in range(_REPLAYING)]

        def begin() -> None:
            for _ in range(_STALLED):
                socket = held.enter_context(context.socket(zmq.SUB))
                socket.setsockopt(zmq.LINGER, 0)
                socket.setsockopt(zmq.RCVHWM, 1)
                socket.subscribe(b"")
                socket.connect(pair.disturbed.endpoint)
            for thread in threads:
                thread.start()

        try:
            figures = disturb(pair, min(SECONDS, 120.0), begin)
        finally:
            is_over.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        figures["replays"] = len(replays)
        check(figures)
        assert replays
        assert [holes_in(out) for out in replays] == [[]] * len(replays)
