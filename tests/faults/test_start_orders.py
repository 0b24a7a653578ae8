"""A daemon and a logger, started in any order: every log begins with the first message.

Environment variables: ``STARTS`` (100), ``STARTS_SEED``. The formats take turns, with and without
``journal.path``.
"""

import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from edge.client.ask import ask
from edge.errors import AffectEdgeError
from edge.protocol.requests import StatusRequest
from tests.support.fleet import FleetDaemon, Program
from tests.support.logged import logged_messages
from tests.support.postgres import Database, running_server

pytestmark = [pytest.mark.stage, pytest.mark.timeout(7200)]

STARTS = int(os.environ.get("STARTS", "100"))
SEED = int(os.environ.get("STARTS_SEED", str(time.time_ns() % 10**6)))
OUTS = ("log.sqlite", "log.csv", "log.jsonl", "log.parquet", "postgresql")
RATE_HZ = 30.0


def wait_until_acknowledged(daemon: FleetDaemon, logger: Program, name: str) -> None:
    """Wait until the logger has stored frames and has caught up."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert logger.process is not None
        assert logger.process.poll() is None, logger.stderr
        try:
            status = ask(daemon.service, StatusRequest(), 2.0)["status"]
        except AffectEdgeError:  # it starts
            continue
        consumer = status and status["journal"]["consumers"].get(name)
        if consumer and consumer["lag"] < 3 * RATE_HZ and status["last_seq"] > 5 * RATE_HZ:
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing acknowledged; logger: {logger.stderr}; daemon: {daemon.stderr}")


def messages_in(out: str, database: Database) -> Counter[tuple[str, int, int]]:
    if not out.startswith("postgresql"):
        return logged_messages(out)
    assert database.rows("SELECT * FROM affect.gaps") == []
    rows = database.rows("SELECT stream::text, epoch, seq FROM affect.messages")
    return Counter(tuple(row) for row in rows)


def run_once(folder: Path, out_name: str, database: Database, choose: random.Random) -> str:
    """Run a daemon and a logger to their ends; check the log; return which was first."""
    # without a folder, the daemon keeps its newest messages in memory, and each start is a stream
    without_folder = {"journal.path": '""'} if choose.random() < 0.5 else {}
    daemon = FleetDaemon(folder / "d", 0, RATE_HZ, changed=without_folder)
    out = database.url if out_name == "postgresql" else str(folder / out_name)
    logger = Program(
        folder / "logger", database.environment,
        *("edge", "log", "--out", out, "--name", "x", "--until-end"),
        *("--connect", daemon.endpoint, "--service", daemon.service),
    )  # fmt: skip
    programs = [daemon, logger]
    choose.shuffle(programs)
    try:
        programs[0].start()
        time.sleep(choose.choice([0.0, choose.uniform(0, 1), choose.uniform(1, 6)]))
        programs[1].start()
        wait_until_acknowledged(daemon, logger, "x")
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(30) == 0, daemon.stderr
        assert logger.process is not None
        assert logger.process.wait(60) == 0, logger.stderr
    finally:
        for program in programs:
            if program.process is not None and program.process.poll() is None:
                program.kill()
    found = messages_in(out, database)
    numbers = sorted(seq for _stream, _epoch, seq in found)
    assert set(found.values()) == {1}
    assert numbers == list(range(len(numbers)))
    assert {(stream, epoch) for stream, epoch, _ in found} == {(next(iter(found))[0], 1)}
    assert len(numbers) > 3
    return "daemon first" if programs[0] is daemon else "logger first"


def test_every_log_begins_with_the_first_message() -> None:
    choose = random.Random(SEED)
    orders: Counter[str] = Counter()
    start_s = time.monotonic()
    with running_server() as server:
        for number in range(STARTS):
            folder = Path(tempfile.mkdtemp(prefix="affect-edge-starts-"))  # short, for the sockets
            out_name = OUTS[number % len(OUTS)]
            try:
                orders[
                    f"{out_name}, {run_once(folder, out_name, server.new_database(), choose)}"
                ] += 1
            except AssertionError as error:
                raise AssertionError(f"start {number} of seed {SEED}, {out_name}") from error
            finally:
                shutil.rmtree(folder)
    figures = {
        "seed": SEED,
        "starts": STARTS,
        "seconds": round(time.monotonic() - start_s),
        **orders,
    }
    print(json.dumps(figures, indent=2))
