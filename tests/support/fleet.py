"""Many daemons, one logger and one PostgreSQL, all killed at random, and the count afterwards."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg

from edge.client import Subscriber
from edge.client.ask import ask
from edge.errors import AffectEdgeError
from edge.protocol.requests import StatusRequest
from tests.support.daemons import PURPOSE, ROOT, resident_mb
from tests.support.postgres import Database
from tests.support.synthetic_daemon import SYNTHETIC

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Return the processor time of a process, with that of its children, also of ended ones."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    total = sum(int(each) for each in fields[11:15]) / _TICKS_PER_S
    for child in children:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            total += cpu_s(int(child))
    return total


class Program:
    """A process that is started again after each kill."""

    def __init__(self, stderr: Path, environment: dict[str, str], *arguments: str) -> None:
        self._stderr = stderr
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        self._arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; what it says goes on in the same file."""
        with self._stderr.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self._arguments],
                stderr=stderr,
                cwd=ROOT,
                env=self._environment,
            )

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def cpu_s(self) -> float:
        """Return the processor time of the present process."""
        assert self.process is not None
        return cpu_s(self.process.pid)

    def rss_mb(self) -> float:
        """Return the resident memory of the present process."""
        assert self.process is not None
        return resident_mb(self.process.pid)

    @property
    def stderr(self) -> str:
        """What it has said."""
        return self._stderr.read_text()


class FleetDaemon(Program):
    """A daemon with the synthetic worker, a journal and sockets of its own.

    Args:
        folder: created; its name is in the names of the sockets.
        number: of the device ``chamber-NUMBER``.
        rate_hz: frames a second.
        ports: of the two sockets on 127.0.0.1; None: they are in the folder.
        changed: settings besides, or instead of, the usual ones.
    """

    def __init__(
        self,
        folder: Path,
        number: int,
        rate_hz: float,
        *,
        ports: tuple[int, int] | None = None,
        changed: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.endpoint, self.service = f"ipc://{folder}/live", f"ipc://{folder}/service"
        if ports is not None:
            self.endpoint, self.service = (f"tcp://127.0.0.1:{port}" for port in ports)
        settings = {
            "device.name": f'"chamber-{number}"',
            "publish.endpoint": f'"{self.endpoint}"',
            "publish.service_endpoint": f'"{self.service}"',
            "metrics.address": '""',
            "journal.path": f'"{folder}/journal"',
            "journal.tail": f'"{folder}/tail"',
            **changed,
        }
        super().__init__(
            folder / "stderr",
            {"SYNTHETIC_RATE_HZ": str(rate_hz)},
            *(SYNTHETIC, "run", "--source", "/dev/video0", *PURPOSE),
            *(word for key, value in settings.items() for word in ("--set", f"{key}={value}")),
        )

    def newest(self) -> tuple[str, int, int]:
        """Return stream, epoch and number of its newest message; wait until it answers."""
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(AffectEdgeError):
                status = ask(self.service, StatusRequest(), 2.0)["status"]
                if status is not None:
                    return status["stream"], status["epoch"], status["last_seq"]
            assert time.monotonic() < deadline, self.stderr[-2000:]
            time.sleep(0.05)

    def journaled(self, to: tuple[int, int]) -> set[tuple[int, int]]:
        """Return epoch and number of every message in its journal up to a position."""
        found: set[tuple[int, int]] = set()
        deadline = time.monotonic() + 120
        with Subscriber([self.endpoint], services=[self.service]) as subscriber:
            while True:
                assert time.monotonic() < deadline
                received = subscriber.receive(1.0)
                if received is None or received.message.kind == "status":
                    continue
                assert received.gap is None, received.gap
                identity = (received.message.epoch, received.message.seq)
                found.add(identity)
                if identity >= to:
                    return {each for each in found if each <= to}


class Fleet:
    """Daemons and the logger that writes their messages to a database.

    Args:
        database: empty.
        count: number of daemons.
        rate_hz: frames a second of each.
        metrics: a port of each daemon for its metrics; none: they have no metrics.
    """

    def __init__(
        self,
        folder: Path,
        database: Database,
        count: int,
        rate_hz: float,
        metrics: Sequence[int] = (),
    ) -> None:
        self._database = database
        addresses = [f"127.0.0.1:{port}" for port in metrics] or [""] * count
        self.daemons = [
            FleetDaemon(
                folder / f"{number}", number, rate_hz, changed={"metrics.address": f'"{address}"'}
            )
            for number, address in enumerate(addresses)
        ]
        endpoints: list[str] = []
        for daemon in self.daemons:
            endpoints += ["--connect", daemon.endpoint, "--service", daemon.service]
        self.logger = Program(
            folder / "logger",
            database.environment,
            *("edge", "log", "--out", database.url, "--name", "fleet", *endpoints),
        )
        self.kills = {"daemon": 0, "logger": 0, "server": 0}

    def start(self) -> None:
        """Start everything, and wait until each daemon has published."""
        for daemon in self.daemons:
            daemon.start()
        for daemon in self.daemons:
            daemon.newest()
        self.logger.start()

    def kill_at_random(self, seconds: float, *, every_s: float, seed: int) -> None:
        """Kill daemons, logger and server at random for some seconds; start each again at once."""
        choose = random.Random(seed)
        end = time.monotonic() + seconds
        while (left_s := end - time.monotonic()) > 0:
            time.sleep(min(left_s, choose.uniform(0, 2 * every_s)))
            self.kill(choose.choices(("daemon", "logger", "server"), (6, 3, 1))[0], choose)

    def kill(self, what: str, choose: random.Random) -> None:
        """Kill a daemon, the logger or the server, and start it again at once."""
        self.kills[what] += 1
        match what:
            case "daemon":
                daemon = choose.choice(self.daemons)
                daemon.kill()
                daemon.start()
            case "logger":
                self.logger.kill()
                self.logger.start()
            case "server":
                self._database.server.kill()
                self._database.server.start()

    def missing_and_stored(self) -> tuple[int, int]:
        """Wait until the database has what is journaled now; return how much of it is missing.

        Also return how much of it is stored. Fail if a gap or a repeat is stored.
        """
        newest = {daemon: daemon.newest() for daemon in self.daemons}
        deadline = time.monotonic() + 300
        behind = dict(newest)
        while behind:
            assert time.monotonic() < deadline, (behind, self.logger.stderr[-3000:])
            time.sleep(0.2)
            reached = self._cursors()
            behind = {
                daemon: (stream, epoch, seq)
                for daemon, (stream, epoch, seq) in behind.items()
                if reached.get(stream, (0, -1)) < (epoch, seq)
            }
        assert self._database.rows("SELECT * FROM affect.gaps") == []
        missing = stored = 0
        for daemon, (stream, epoch, seq) in newest.items():
            journaled = daemon.journaled((epoch, seq))
            logged = self._database.rows(
                f"SELECT epoch, seq FROM affect.messages WHERE stream = '{stream}'"
                f" AND (epoch, seq) <= ({epoch}, {seq})"
            )
            assert len(logged) == len(set(logged))
            missing += len(journaled - set(logged))
            stored += len(logged)
        return missing, stored

    def _cursors(self) -> dict[str, tuple[int, int]]:
        try:
            rows = self._database.rows("SELECT stream, epoch, seq FROM affect.devices")
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return {}  # the logger has not connected yet
        return {stream: (epoch, seq) for stream, epoch, seq in rows}

    def measure(self, seconds: float) -> dict[str, Any]:
        """Return what the logger and the database take, without kills; shares are of a core."""
        server = self._database.server
        count, size, written = self._count_and_bytes()
        started, logger_s, server_s = time.monotonic(), self.logger.cpu_s(), cpu_s(server.pid)
        time.sleep(seconds)
        elapsed_s = time.monotonic() - started
        logger_s, server_s = self.logger.cpu_s() - logger_s, cpu_s(server.pid) - server_s
        after, size_after, written_after = self._count_and_bytes()
        rows = after - count
        return {
            "daemons": len(self.daemons),
            "rows_per_s": round(rows / elapsed_s, 1),
            "bytes_per_row": round((size_after - size) / max(1, rows)),
            "wal_bytes_per_row": round((written_after - written) / max(1, rows)),
            "logger_cpu_share": round(logger_s / elapsed_s, 4),
            "server_cpu_share": round(server_s / elapsed_s, 4),
            "logger_rss_mb": round(self.logger.rss_mb(), 1),
        }

    def _count_and_bytes(self) -> tuple[int, int, int]:
        """Return rows, their bytes with the index, and bytes of the write-ahead log so far."""
        row = self._database.rows(
            "SELECT count(*), pg_total_relation_size('affect.messages'),"
            " pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint FROM affect.messages"
        )[0]
        return row[0], row[1], row[2]

    def close(self) -> None:
        """End every process."""
        for program in (self.logger, *self.daemons):
            if program.process is not None and program.process.poll() is None:
                program.process.send_signal(signal.SIGTERM)
        for program in (self.logger, *self.daemons):
            if program.process is not None:
                try:
                    program.process.wait(15)
                except subprocess.TimeoutExpired:
                    program.kill()


@contextlib.contextmanager
def running_fleet(
    database: Database, count: int, rate_hz: float, metrics: Sequence[int] = ()
) -> Iterator[Fleet]:
    """Start a fleet for a ``with`` block."""
    folder = Path(tempfile.mkdtemp(prefix="affect-edge-fleet-"))  # short: it is in socket names
    fleet = Fleet(folder, database, count, rate_hz, metrics)
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.close()
        shutil.rmtree(folder)
