"""Daemons and loggers of every format that are killed at random, and the count afterwards.

A *witness* subscribes to every daemon as any program could: what it received was published, so it
has to be in every log, whatever was killed when.
"""

import contextlib
import random
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import zmq

from edge.protocol import messages
from tests.support.fleet import FleetDaemon, Program
from tests.support.logged import Identity, logged_messages
from tests.support.postgres import Database

FILES = ("log.sqlite", "log.csv", "log.jsonl", "log.parquet")


class Witness:
    """Receives live messages in a thread; not all: what is sent while it reconnects is missed."""

    def __init__(self, endpoints: list[str]) -> None:
        self.seen: Counter[Identity] = Counter()
        self.devices: dict[str, tuple[int, int]] = {}  # epoch and number of the newest message
        self._endpoints = endpoints
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.RCVHWM, 0)
            socket.setsockopt(zmq.RECONNECT_IVL, 20)
            socket.subscribe(b"")
            for endpoint in self._endpoints:
                socket.connect(endpoint)
            while not self._stop.is_set():
                if socket.poll(100):
                    message = messages.decode(socket.recv())
                    if not isinstance(message, messages.StatusMessage):
                        self.seen[message.stream, message.epoch, message.seq] += 1
                        self.devices[message.device] = (message.epoch, message.seq)

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()


class KilledSystem:
    """Two daemons at ``rate_hz`` each, and a logger of each format for both."""

    def __init__(self, folder: Path, database: Database | None, rate_hz: float) -> None:
        self._database = database
        self.daemons = [FleetDaemon(folder / f"{number}", number, rate_hz) for number in range(2)]
        addresses: list[str] = []
        for daemon in self.daemons:
            addresses += ["--connect", daemon.endpoint, "--service", daemon.service]
        self.outs = {name: str(folder / name) for name in FILES}
        self.loggers: dict[str, Program] = {}
        if database is not None:
            self.outs["postgresql"] = database.url
        for name, out in self.outs.items():
            environment = database.environment if database and name == "postgresql" else {}
            arguments = ("edge", "log", "--out", out, "--name", name, *addresses)
            self.loggers[name] = Program(folder / f"{name}.stderr", environment, *arguments)
        self.witness = Witness([daemon.endpoint for daemon in self.daemons])
        self.kills: Counter[str] = Counter()
        self._before: dict[str, object] = {}  # progress of each program when it was last started

    def start(self) -> None:
        """Start everything; the loggers first, so that both orders are tried."""
        for program in (*self.loggers.values(), *self.daemons):
            program.start()

    def kill_at_random(self, kills: int, *, every_s: float, seed: int) -> None:
        """Kill a daemon or a logger and start it again, ``kills`` times.

        One of ten is killed whatever it does, such as in its start; the others when they have done
        some of their work since their start: published, or written to the log.
        """
        choose = random.Random(seed)
        names = [*(["daemon-0", "daemon-1"] * 2), *self.loggers]
        for _ in range(kills):
            time.sleep(choose.uniform(0, 2 * every_s))
            name = choose.choice(names)
            at_work = choose.random() < 0.9
            deadline = time.monotonic() + 60
            while at_work and not self._works(name):
                assert time.monotonic() < deadline, f"{name} does nothing"
                time.sleep(0.01)
            self._restart(name)

    def _program(self, name: str) -> Program:
        if name.startswith("daemon-"):
            return self.daemons[int(name[-1])]
        return self.loggers[name]

    def _progress(self, name: str) -> object:
        """Return something that changes while the program works."""
        if name.startswith("daemon-"):
            return self.witness.devices.get(f"chamber-{name[-1]}")
        if name == "postgresql":
            assert self._database is not None
            with contextlib.suppress(psycopg.Error):  # before the first start of the logger
                return self._database.rows("SELECT sum(epoch * 1e9 + seq) FROM affect.devices")
            return None
        out = Path(self.outs[name])
        paths = out.parent.glob(f"{out.name}*") if name != "log.parquet" else out.rglob("*")
        return {path: _changed_ns(path) for path in paths}

    def _works(self, name: str) -> bool:
        return self._progress(name) != self._before.setdefault(name, None)

    def _restart(self, name: str) -> None:
        program = self._program(name)
        self.kills[name] += 1
        assert program.process is not None
        code = program.process.poll()
        assert code is None, f"{name} ended by itself with {code}: {program.stderr[-2000:]}"
        program.kill()
        self._before[name] = self._progress(name)
        program.start()

    def missing_and_repeated(self) -> dict[str, dict[str, int]]:
        """End the daemons' frames, let every logger catch up; return what each log lacks."""
        newest = {daemon: daemon.newest() for daemon in self.daemons}
        published = {
            (stream, *identity)
            for daemon, (stream, epoch, seq) in newest.items()
            for identity in daemon.journaled((epoch, seq))
        }
        self.witness.close()
        ends = {stream: (epoch, seq) for stream, epoch, seq in newest.values()}
        seen = {each for each in self.witness.seen if each[1:] <= ends.get(each[0], (0, 0))}
        for daemon in self.daemons:  # each epoch is complete: numbers from 0 on
            self._check_epochs(published, newest[daemon][0])
        found = {}
        for name, program in self.loggers.items():
            stored = self._stored(name, program, published)
            found[name] = {
                "published": len(published),
                "missing": len((published | seen) - set(stored)),
                "repeated": sum(count - 1 for count in stored.values()),
            }
        found["journal"] = {"witnessed": len(seen), "missing": len(seen - published)}
        return found

    def _check_epochs(self, published: set[Identity], stream: str) -> None:
        epochs: dict[int, set[int]] = {}
        for each_stream, epoch, seq in published:
            if each_stream == stream:
                epochs.setdefault(epoch, set()).add(seq)
        for epoch, numbers in epochs.items():
            assert numbers == set(range(max(numbers) + 1)), f"epoch {epoch} has holes"

    def _stored(self, name: str, program: Program, published: set[Identity]) -> Counter[Identity]:
        """Wait until the log has everything, for three minutes at most, and return what it has."""
        assert program.process is not None
        deadline = time.monotonic() + 180
        while True:
            program.process.send_signal(signal.SIGTERM)  # so that it writes what it has
            assert program.process.wait(60) == 0, program.stderr[-3000:]
            stored = self._read(name)
            if published <= set(stored) or time.monotonic() > deadline:
                return stored
            program.start()
            time.sleep(3.0)

    def _read(self, name: str) -> Counter[Identity]:
        if name != "postgresql":
            return logged_messages(self.outs[name])
        assert self._database is not None
        assert self._database.rows("SELECT * FROM affect.gaps") == []
        rows = self._database.rows("SELECT stream::text, epoch, seq FROM affect.messages")
        return Counter(tuple(row) for row in rows)

    def close(self) -> None:
        """End every process."""
        self.witness.close()
        for program in (*self.loggers.values(), *self.daemons):
            if program.process is not None and program.process.poll() is None:
                program.kill()


def _changed_ns(path: Path) -> int:
    """Return when a file was changed; 0 if it is gone, as a write-ahead log may be."""
    with contextlib.suppress(OSError):
        return path.stat().st_mtime_ns
    return 0


@contextlib.contextmanager
def killed_system(database: Database | None, rate_hz: float) -> Iterator[KilledSystem]:
    """Start daemons and loggers for a ``with`` block."""
    folder = Path(tempfile.mkdtemp(prefix="affect-edge-kills-"))  # short: it is in socket names
    system = KilledSystem(folder, database, rate_hz)
    try:
        system.start()
        yield system
    finally:
        system.close()
        shutil.rmtree(folder)
