"""A day of messages in the journal, fetched by a logger while the daemon goes on publishing.

Environment variables: ``BACKLOG_MESSAGES`` (2,600,000: a day at 30 a second), ``FAULTS_LIMITS``
(1; 0: the rates are measured, and not required, as on a machine that does other work).
"""

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.backlog import make_journal
from tests.support.fleet import FleetDaemon, Program
from tests.support.live_probe import LiveProbe
from tests.support.postgres import running_server
from tests.support.thread_times import ThreadTimes

pytestmark = [pytest.mark.stage, pytest.mark.timeout(7200)]

MESSAGES = int(os.environ.get("BACKLOG_MESSAGES", "2600000"))
HAS_LIMITS = os.environ.get("FAULTS_LIMITS", "1") == "1"
SQLITE_MIN_HZ = 20_000
POSTGRESQL_MIN_HZ = 10_000
LIVE_P99_MAX_MS = 50.0
_CALM_S = 10.0


@pytest.fixture(scope="module")
def backlog() -> Iterator[tuple[FleetDaemon, str]]:
    """A running daemon with the journal, and the name of its stream."""
    folder = Path(tempfile.mkdtemp(prefix="affect-edge-backlog-"))  # short: in socket names
    daemon = FleetDaemon(
        folder / "0",
        0,
        30.0,
        changed={"journal.max_mb": "100000", "journal.keep_h": "1000"},
    )
    try:
        stream = make_journal(folder / "0" / "journal", MESSAGES)
        daemon.start()
        daemon.newest()
        yield daemon, stream
    finally:
        if daemon.process is not None:
            daemon.kill()
        shutil.rmtree(folder)


def drain(
    daemon: FleetDaemon, folder: Path, out: str, environment: dict[str, str]
) -> tuple[dict[str, Any], float]:
    """Log everything that is stored; return the figures, and the messages a second."""
    logger = Program(
        folder / "logger",
        environment,
        *("edge", "log", "--once", "--out", out, "--name", "backlog"),
        *("--connect", daemon.endpoint, "--service", daemon.service),
    )
    assert daemon.process is not None
    with LiveProbe(daemon.endpoint, folder / "probe") as probe:
        probe.wait_for_frames(int(_CALM_S * 30))
        start_ns = time.monotonic_ns()
        logger.start()
        assert logger.process is not None
        threads = ThreadTimes({"logger": logger.process.pid, "daemon": daemon.process.pid})
        while (code := logger.process.poll()) is None:
            threads.sample()
            time.sleep(0.2)
        end_ns = time.monotonic_ns()
        calm_ms = probe.way_ms(start_ns - int(_CALM_S * 1e9), start_ns)
        live_ms = probe.way_ms(start_ns, end_ns)
        live, lost = probe.count(start_ns, end_ns)
    assert code == 0, logger.stderr
    seconds = (end_ns - start_ns) / 1e9  # with the start of the interpreter
    with contextlib.suppress(StopIteration):
        print(next(line for line in logger.stderr.splitlines() if "caught up" in line))
    return {
        "messages": MESSAGES,
        "seconds": round(seconds, 1),
        "messages_per_s": round(MESSAGES / seconds),
        "live_before_ms": [round(each, 2) for each in calm_ms],
        "live_during_ms": [round(each, 2) for each in live_ms],
        "live_messages": live,
        "live_lost": lost,
        "thread_seconds": threads.table(),
        "load": os.getloadavg()[0],
    }, MESSAGES / seconds


def check(
    measured: tuple[dict[str, Any], float],
    stored: Callable[[], list[tuple[int, int, int, int]]],
    *,
    min_hz: float,
) -> None:
    figures, rate_hz = measured
    print(json.dumps(figures, indent=2))
    epochs = {epoch: (count, first, last) for epoch, count, first, last in stored()}
    assert epochs[1] == (MESSAGES, 0, MESSAGES - 1)
    for count, first, last in epochs.values():
        assert (first, last) == (0, count - 1)
    assert figures["live_lost"] == 0
    if HAS_LIMITS:
        assert rate_hz >= min_hz
        assert figures["live_during_ms"][1] <= LIVE_P99_MAX_MS


_EPOCHS = "SELECT epoch, count(*), min(seq), max(seq) FROM {} GROUP BY epoch"  # seq is a key


def test_a_day_goes_into_sqlite_while_live(
    backlog: tuple[FleetDaemon, str], tmp_path: Path
) -> None:
    daemon, stream = backlog
    out = tmp_path / "log.sqlite"

    def stored() -> list[tuple[int, int, int, int]]:
        with contextlib.closing(sqlite3.connect(out)) as database:
            assert database.execute("SELECT * FROM gaps").fetchall() == []
            streams = database.execute("SELECT DISTINCT stream FROM messages").fetchall()
            assert streams == [(stream,)]
            return database.execute(_EPOCHS.format("messages")).fetchall()

    check(drain(daemon, tmp_path, str(out), {}), stored, min_hz=SQLITE_MIN_HZ)


def test_a_day_goes_into_postgresql_while_live(
    backlog: tuple[FleetDaemon, str], tmp_path: Path
) -> None:
    daemon, _stream = backlog
    with running_server() as server:
        database = server.new_database()

        def stored() -> list[tuple[int, int, int, int]]:
            assert database.rows("SELECT * FROM affect.gaps") == []
            return database.rows(_EPOCHS.format("affect.messages"))  # type: ignore[return-value]

        measured = drain(daemon, tmp_path, database.url, database.environment)
        check(measured, stored, min_hz=POSTGRESQL_MIN_HZ)
