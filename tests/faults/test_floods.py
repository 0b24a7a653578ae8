"""Hostile programs on this machine: memory stays bounded, and consumers lose nothing."""

import contextlib
import math
import os
import random
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.client.ask import ask
from edge.protocol.requests import FetchRequest, TimeRequest
from tests.support.daemons import RunningDaemon
from tests.support.ports import free_port
from tests.support.raw_peer import Flood, connect, frame, shake_hands
from tests.support.small_pictures import small_pictures

GROWTH_MAX_MB = 64.0
SECONDS = float(os.environ.get("AFFECT_EDGE_FLOOD_SECONDS", "20"))
LARGE_FRAME = b"\x02" + (1 << 33).to_bytes(8, "big")
SUBSCRIPTION = frame(b"\x01" + b"x" * 400, more=False)


class Victim:
    """A daemon under attack: its messages, and how its memory grows.

    Attributes:
        daemon: as started.
        growth_mb: most that its memory has grown.
    """

    def __init__(self, daemon: RunningDaemon, metrics_port: int) -> None:
        self.daemon = daemon
        self._metrics_port = metrics_port
        self._usual_mb = math.inf  # until the daemon has settled
        self.growth_mb = 0.0
        self._began_s = time.monotonic()
        daemon.wait_for_frame()
        self.watch(1.0)
        self._usual_mb = daemon.resident_mb()
        self._first = len(daemon.messages)

    def watch(self, seconds: float) -> None:
        """Receive messages and note the memory for that long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.daemon.receive(0.002)
            grown_mb = self.daemon.resident_mb() - self._usual_mb
            self.growth_mb = max(self.growth_mb, grown_mb)

    def latency_ms(self) -> tuple[float, float]:
        """Return median and 99th percentile from publishing to receipt since the start."""
        spans = [
            (each["received_ns"] - each["time"]["published_ns"]) / 1e6
            for each in self.daemon.messages[self._first :]
            if each["kind"] == "frame"
        ]
        return statistics.median(spans), statistics.quantiles(spans, n=100)[-1]

    def cuts(self) -> float:
        """Return how many connections the daemon has cut."""
        address = f"http://127.0.0.1:{self._metrics_port}/metrics"
        with urllib.request.urlopen(address, timeout=5) as page:
            lines = page.read().decode().splitlines()
        name = "affect_edge_connections_cut_total{"
        return sum(float(each.split()[-1]) for each in lines if each.startswith(name))

    def check(self, growth_max_mb: float = GROWTH_MAX_MB) -> None:
        """Fail if the daemon died, grew too much, or if a message cannot be had any more."""
        self.watch(1.0)
        assert self.daemon.process.poll() is None
        assert self.growth_mb < growth_max_mb
        live = [each["seq"] for each in self.daemon.messages if each["kind"] != "status"]
        assert live == sorted(set(live))
        fetched, reply = [], ask(self.daemon.service, FetchRequest())
        while True:
            fetched += [each["seq"] for each in reply["messages"]]
            if reply["caught_up"]:
                break
            reply = ask(self.daemon.service, FetchRequest(stream=reply["stream"], **reply["next"]))
        assert fetched == list(range(len(fetched)))
        assert fetched[-1] >= live[-1]
        assert ask(self.daemon.service, TimeRequest())["ok"]
        warnings = [line for line in self.daemon.stderr.splitlines() if "were cut" in line]
        periods = 2 + (time.monotonic() - self._began_s) / 10
        assert len(warnings) <= 2 * periods, "one line a reason in 10 s"


@contextlib.contextmanager
def running(folder: Path, transport: str, seconds: float) -> Iterator[Victim]:
    """Run a daemon for ``seconds`` at most."""
    publish, service, metrics = free_port(), free_port(), free_port()
    source = small_pictures(folder / "pictures", seconds=seconds)
    address = ["--set", f'metrics.address="127.0.0.1:{metrics}"']
    ports = (publish, service) if transport == "tcp" else None
    with RunningDaemon(folder, *source, *address, metrics=True, ports=ports) as daemon:
        yield Victim(daemon, metrics)


def target(victim: Victim, kind: str) -> str:
    return victim.daemon.endpoint if kind == "SUB" else victim.daemon.service


def attacks() -> list[tuple[str, str, bytes]]:
    """Return name, kind of the sending socket, and data of each kind of flood."""
    return [
        ("endless, parts of 4 KiB", "DEALER", frame(b"x" * 4096, more=True)),
        ("endless, parts of 1 byte", "DEALER", frame(b"x", more=True)),
        ("endless, parts of 4 KiB", "SUB", frame(b"x" * 4096, more=True)),
        ("endless, parts of 1 byte", "SUB", frame(b"x", more=True)),
        ("requests", "DEALER", frame(b"", more=True) + frame(b"{}", more=False)),
        ("subscriptions", "SUB", SUBSCRIPTION),
        ("small subscriptions", "SUB", frame(b"\x01", more=False)),
        ("frame of 8 GiB", "DEALER", LARGE_FRAME + b"x" * 4000),
        ("frame of 8 GiB", "SUB", LARGE_FRAME + b"x" * 4000),
        ("no handshake", "", b"\xff" + bytes(8) + b"\x7f"),
    ]


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_floods_are_bounded(tmp_path: Path, transport: str) -> None:
    with running(tmp_path, transport, 60) as victim:
        for _, kind, data in attacks()[:4]:
            with Flood(target(victim, kind), kind, data):
                victim.watch(0.5)
        assert victim.cuts() > 0
        send_random(victim, 50_000)
        # Unguarded, these floods add more than 1 GB. The limit is for a machine whose processors
        # are not busy with other tests: then the guard's thread runs when it is due.
        victim.check(growth_max_mb=4 * GROWTH_MAX_MB)


@pytest.mark.stage
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
@pytest.mark.parametrize(("name", "kind", "data"), attacks())
def test_long_floods_are_bounded(
    tmp_path: Path, transport: str, name: str, kind: str, data: bytes
) -> None:
    with running(tmp_path, transport, 80) as victim:
        with Flood(target(victim, kind), kind, data, threads=4) as flood:
            victim.watch(SECONDS)
        cuts = victim.cuts()
        victim.check()
        median_ms, p99_ms = victim.latency_ms()
        print(
            f"\n{transport} {kind or '-':6} {name}: {flood.sent / 1e6:.0f} MB in"
            f" {flood.connections} connections, {cuts:.0f} cut,"
            f" memory +{victim.growth_mb:.0f} MB, live {median_ms:.1f} ms, p99 {p99_ms:.1f} ms"
        )


def send_random(victim: Victim, size: int) -> int:
    """Send ``size`` random bytes in many connections; return their number."""
    dice = random.Random(11)
    sent = connections = 0
    while sent < size:
        kind = dice.choice(["SUB", "DEALER"])
        data = dice.randbytes(dice.randrange(1, 2000))
        with contextlib.suppress(OSError), connect(target(victim, kind)) as peer:
            if dice.random() < 0.7:
                shake_hands(peer, kind)
            if dice.random() < 0.5:
                data = frame(data, more=dice.random() < 0.5)
            peer.sendall(data)
        sent += len(data)
        connections += 1
        victim.watch(0.002)
    return connections


@pytest.mark.stage
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_a_million_random_bytes(tmp_path: Path, transport: str) -> None:
    with running(tmp_path, transport, 120) as victim:
        connections = send_random(victim, 1_000_000)
        victim.check()
        print(f"\n{transport}: {connections} connections, memory +{victim.growth_mb:.0f} MB")


@pytest.mark.stage
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_a_thousand_half_open_connections(tmp_path: Path, transport: str) -> None:
    with running(tmp_path, transport, 80) as victim, contextlib.ExitStack() as held:
        for _ in range(1000):
            for kind in ("SUB", "DEALER"):
                with contextlib.suppress(OSError):
                    held.enter_context(connect(target(victim, kind)))
        victim.watch(2)
        opened = len(os.listdir(f"/proc/{victim.daemon.process.pid}/fd"))
        assert opened < 2048
        victim.check()
        print(f"\n{transport}: {opened} open files, memory +{victim.growth_mb:.0f} MB")


FETCHER = """
import sys, time, zmq
context, counts = zmq.Context(), [0, 0]
peers = [context.socket(zmq.DEALER) for _ in range(8)]
for peer in peers:
    peer.linger = 0
    peer.connect(sys.argv[1])
start, sent = time.monotonic(), 0
while (elapsed_s := time.monotonic() - start) < 15:
    while sent < elapsed_s * 1000:
        peers[sent % 8].send(b'{"request":"fetch"}')
        sent += 1
    for peer in peers:
        while peer.poll(0):
            counts[peer.recv().startswith(b'{"ok": true')] += 1
    time.sleep(0.001)
print(f"{sent} requests, {counts[True]} answered, {counts[False]} refused", flush=True)
context.destroy(linger=0)
"""


@pytest.mark.stage
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_a_thousand_fetches_a_second(tmp_path: Path, transport: str) -> None:
    with running(tmp_path, transport, 120) as victim:
        victim.watch(15)
        calm_ms = victim.latency_ms()
        victim._first = len(victim.daemon.messages)
        command = [sys.executable, "-c", FETCHER, victim.daemon.service]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as fetcher:
            while fetcher.poll() is None:
                victim.watch(0.5)
            assert fetcher.stdout is not None
            outcome = fetcher.stdout.read().strip()
        flooded_ms = victim.latency_ms()
        victim.check()
        print(
            f"\n{transport}: {outcome}, memory +{victim.growth_mb:.0f} MB; live median and p99"
            f" {calm_ms[0]:.1f} {calm_ms[1]:.1f} ms, during the flood"
            f" {flooded_ms[0]:.1f} {flooded_ms[1]:.1f} ms"
        )
