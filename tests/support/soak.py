"""Two daemons and their loggers for hours, with faults at random, and what was wrong afterwards.

The hub of the first daemon is never killed, so that its memory and open files can be followed; its
worker, disk, network and clients fail. The second daemon is killed, too. Each log must have every
message of both exactly once. Run it with ``python -m benchmarks soak``.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zmq

from edge.client.keys import SECRET_VARIABLE, SERVER_VARIABLE, apply_client_keys, set_default_keys
from tests.support.fleet import FleetDaemon, Program
from tests.support.keys import KeyFolder
from tests.support.live_probe import LiveProbe
from tests.support.ports import free_port
from tests.support.postgres import Database
from tests.support.raw_peer import Flood, frame
from tests.support.relay import TcpRelay
from tests.support.soak_count import Counted, Ends, count_database, count_parquet, count_sqlite

_DISK_MB = 96
_JOURNAL = {"journal.max_mb": "48", "journal.keep_h": "2"}
_SAMPLE_S = 1.0
_CATCH_UP_S = 180.0
_BAD_REQUESTS = (b"", b"{}", b"\xff\x00", b'{"request":"fetch","seq":-5}', b"[" * 2000)

Sample = tuple[float, float, int]
"""Monotonic seconds, resident MB and open files of the first hub."""


class Soak:
    """The processes; ``running_soak`` makes one and ends it.

    Args:
        folder: with a short name, which is in the names of sockets.
        rate_hz: frames a second of each daemon.
        seed: of the faults.
        database: for a third log; None: none.

    Attributes:
        faults: how often each was injected.
        skipped: faults that cannot be injected here -> why.
        ended: processes that ended by themselves, with what they said last.
        samples: taken each second.
    """

    def __init__(self, folder: Path, rate_hz: float, seed: int, database: Database | None) -> None:
        self._folder = folder
        self._choose = random.Random(seed)
        self._database = database
        self._keys = KeyFolder(folder / "keys", "client", "other")
        self._disk = self._mounted_disk()
        security = {
            "security.secret_key": f'"{self._keys.secret}"',
            "security.allowed_keys": f'"{self._keys.allowed}"',
        }
        self.daemons = [
            FleetDaemon(
                folder / f"{number}",
                number,
                rate_hz,
                ports=(free_port(), free_port()),
                changed={**_JOURNAL, **security},
            )
            for number in (0, 1)
        ]
        self._relays = [TcpRelay(each, seed) for each in self._addresses(self.daemons[0])]
        variables = {
            SECRET_VARIABLE: str(self._keys.folder / "client.key_secret"),
            SERVER_VARIABLE: str(self._keys.public),
        }
        os.environ.update(variables)  # of every process that is started here
        set_default_keys(self._keys.keys("client"))
        self.outs = {name: str(folder / name) for name in ("log.sqlite", "log.parquet")}
        if database is not None:
            self.outs["postgresql"] = database.url
        self.loggers = {name: self._logger(name, out) for name, out in self.outs.items()}
        self.faults: Counter[str] = Counter()
        self.skipped: dict[str, str] = {}
        self.ended: list[str] = []
        self.samples: list[Sample] = []
        self._is_over = threading.Event()
        self._sampling = threading.Thread(target=self._sample)
        self._probes: list[LiveProbe] = []
        self._opened = contextlib.ExitStack()

    def _addresses(self, daemon: FleetDaemon) -> tuple[str, str]:
        return daemon.endpoint, daemon.service

    def _mounted_disk(self) -> Path | None:
        """Return a small file system for the first journal; None without the right to mount."""
        place = self._folder / "0" / "journal"
        place.mkdir(parents=True)
        if os.geteuid():
            return None
        command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "none", str(place)]
        done = subprocess.run(command, capture_output=True, check=False)
        return place if done.returncode == 0 else None

    def _logger(self, name: str, out: str) -> Program:
        first, second = (self._addresses(daemon) for daemon in self.daemons)
        if name == "log.sqlite":  # its network can fail
            first = (self._relays[0].endpoint, self._relays[1].endpoint)
        environment = self._database.environment if self._database and "postgres" in name else {}
        words = ["edge", "log", "--out", out, "--name", name]
        for endpoint, service in (first, second):
            words += ["--connect", endpoint, "--service", service]
        return Program(self._folder / f"{name}.stderr", environment, *words)

    def start(self) -> None:
        """Start everything, and wait until both daemons have published."""
        for relay in self._relays:
            self._opened.enter_context(relay)
        for program in (*self.loggers.values(), *self.daemons):
            program.start()
        for number, daemon in enumerate(self.daemons):
            daemon.newest()
            probe = LiveProbe(daemon.endpoint, self._folder / f"probe-{number}")
            self._probes.append(self._opened.enter_context(probe))
        for probe in self._probes:
            probe.wait_for_frames(30)
        self._sampling.start()

    def _sample(self) -> None:
        process = self.daemons[0].process
        assert process is not None
        while not self._is_over.wait(_SAMPLE_S):
            with contextlib.suppress(OSError):
                files = len(os.listdir(f"/proc/{process.pid}/fd"))
                self.samples.append((time.monotonic(), self.daemons[0].rss_mb(), files))

    # -- faults ------------------------------------------------------------------------------------

    def run(self, seconds: float, *, fault_every_s: float | None) -> None:
        """Wait, and inject a fault every ``fault_every_s`` on average; None: no faults."""
        kinds = self._kinds()
        end = time.monotonic() + seconds
        while (left_s := end - time.monotonic()) > 0:
            pause_s = self._choose.uniform(0, 2 * fault_every_s) if fault_every_s else 5.0
            time.sleep(min(left_s, pause_s))
            self._restart_ended()
            if fault_every_s and time.monotonic() < end:
                name = self._choose.choice(list(kinds))
                kinds[name]()
                self.faults[name] += 1

    def _kinds(self) -> dict[str, Callable[[], None]]:
        kinds: dict[str, Callable[[], None]] = {
            "worker killed": self._kill_worker,
            "hub killed": lambda: self._restart(self.daemons[1]),
            "logger killed": lambda: self._restart(self._any_logger()),
            "logger stopped": self._stop_logger,
            "network lost": self._lose_network,
            "connections cut": self._cut_connections,
            "bad requests": self._send_bad_requests,
            "flood without a key": self._flood,
            "keys reloaded": self._reload_keys,
        }
        if self._disk is None:
            self.skipped["disk full"] = "needs the right to mount"
        else:
            kinds["disk full"] = self._fill_disk
        self.skipped["clock set"] = "it is the machine's; tests/system/test_clock_steps.py"
        return kinds

    def _any_logger(self) -> Program:
        return self._choose.choice(list(self.loggers.values()))

    def _restart(self, program: Program) -> None:
        program.kill()
        program.start()

    def _restart_ended(self) -> None:
        """Note programs that have ended by themselves, and start them again."""
        for program in (*self.loggers.values(), *self.daemons):
            assert program.process is not None
            if (code := program.process.poll()) is not None:
                self.ended.append(f"exit code {code}: {program.stderr[-400:]}")
                program.start()

    def _kill_worker(self) -> None:
        process = self._choose.choice(self.daemons).process
        assert process is not None
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)

    def _stop_logger(self) -> None:
        process = self._any_logger().process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        time.sleep(self._choose.uniform(1, 10))
        process.send_signal(signal.SIGCONT)

    def _lose_network(self) -> None:
        for relay in self._relays:
            relay.is_black_hole = True
        time.sleep(self._choose.uniform(1, 10))
        for relay in self._relays:
            relay.is_black_hole = False

    def _cut_connections(self) -> None:
        for relay in self._relays:
            relay.cut()

    def _send_bad_requests(self) -> None:
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            apply_client_keys(socket, self._keys.keys("client"))
            socket.connect(self.daemons[0].service)
            end = time.monotonic() + 2
            while time.monotonic() < end:
                with contextlib.suppress(zmq.Again):
                    socket.send(self._choose.choice(_BAD_REQUESTS), zmq.NOBLOCK)
                time.sleep(0.001)

    def _flood(self) -> None:
        endpoint = self._choose.choice(self._addresses(self.daemons[0]))
        with Flood(endpoint, "DEALER", frame(b"x" * 4096, more=True)):
            time.sleep(1)

    def _reload_keys(self) -> None:
        """Revoke a client's key, or allow it again. The second hub reads them at its starts."""
        allowed = self._keys.allowed / "other.key"
        away = self._folder / "other.key"
        source, target = (allowed, away) if allowed.exists() else (away, allowed)
        source.rename(target)
        process = self.daemons[0].process
        assert process is not None
        process.send_signal(signal.SIGHUP)

    def _fill_disk(self) -> None:
        assert self._disk is not None
        filler = self._disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        time.sleep(self._choose.uniform(1, 8))
        filler.unlink()

    # -- the end -----------------------------------------------------------------------------------

    def count(self) -> dict[str, Counted]:
        """Let every logger catch up and end; return what is in each log."""
        self._is_over.set()
        self._sampling.join()
        ends: Ends = {}
        newest: Ends = {}
        for daemon, probe in zip(self.daemons, self._probes, strict=True):
            stream, epoch, seq = daemon.newest()
            ends |= {(stream, each): last for each, last in probe.last_of_epochs().items()}
            newest[stream, epoch] = seq
        ends |= newest
        return {name: self._count(name, ends, newest) for name in self.loggers}

    def _count(self, name: str, ends: Ends, newest: Ends) -> Counted:
        program = self.loggers[name]
        deadline = time.monotonic() + _CATCH_UP_S
        while True:
            time.sleep(3.0)
            assert program.process is not None
            program.process.terminate()  # so that it writes what it has
            if (code := program.process.wait(60)) != 0:
                self.ended.append(f"{name} exit code {code}: {program.stderr[-400:]}")
            counted = self._read(name, ends, newest)
            if not counted.missing or time.monotonic() > deadline:
                return counted
            program.start()

    def _read(self, name: str, ends: Ends, newest: Ends) -> Counted:
        match name:
            case "log.sqlite":
                return count_sqlite(self.outs[name], ends, newest)
            case "log.parquet":
                return count_parquet(self.outs[name], ends, newest)
            case _:
                assert self._database is not None
                return count_database(self._database, ends, newest)

    def way_ms(self) -> tuple[float, float]:
        """Return median and 99th percentile from publishing to receipt, of the first daemon."""
        return self._probes[0].way_ms()

    def close(self) -> None:
        """End every process and remove the disk."""
        self._is_over.set()
        if self._sampling.ident is not None:
            self._sampling.join()
        for program in (*self.loggers.values(), *self.daemons):
            if program.process is not None and program.process.poll() is None:
                program.kill()
        self._opened.close()
        set_default_keys(None)
        for name in (SECRET_VARIABLE, SERVER_VARIABLE):
            os.environ.pop(name, None)
        if self._disk is not None:
            subprocess.run(["umount", str(self._disk)], check=True)


@contextlib.contextmanager
def running_soak(rate_hz: float, seed: int, database: Database | None) -> Iterator[Soak]:
    """Start everything for a ``with`` block."""
    folder = Path(tempfile.mkdtemp(prefix="affect-edge-soak-"))
    soak = Soak(folder, rate_hz, seed, database)
    try:
        soak.start()
        yield soak
    finally:
        soak.close()
        shutil.rmtree(folder)


def report(soak: Soak) -> dict[str, Any]:
    """Return the figures after ``Soak.run``."""
    median_ms, p99_ms = soak.way_ms()
    logs = soak.count()
    return {
        "faults": dict(sorted(soak.faults.items())),
        "faults_skipped": soak.skipped,
        "ended_by_themselves": soak.ended,
        "publish_ms": {"p50": round(median_ms, 3), "p99": round(p99_ms, 3)},
        "logs": {name: each.figures() for name, each in logs.items()},
    }
