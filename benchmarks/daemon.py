"""Measures the whole daemon on a file, unpaced, from a subscriber's side."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import zmq

from benchmarks.board import RunWatch
from benchmarks.figures import STAGES, WARM_UP, quantiles
from benchmarks.progress import ProgressLines
from benchmarks.scene import FoundFaces
from edge import clock
from edge.child import child_environment
from edge.errors import EXIT_CONFIG, AffectEdgeError, ConfigError
from edge.vision.values import Box

SILENCE_MAX_S = 20.0  # a status is due every second: a daemon silent for so long has failed
_THREADS: Final = {
    "capture": ("capture",),
    "detect": ("detect", "track"),
    "classify": ("translate", "classify"),
}
"""The stages in ``timing_ms`` of each thread of the worker; link and hub have none there."""

MEMORY_EVERY_FRAMES: Final = 10
CPU_EVERY_MS: Final = 250.0
"""How often the processor time is read: that takes 3 ms, in which the daemon lacks a core."""


def measure_daemon(
    arguments: list[str],
    frames: int | None,
    watch: RunWatch,
    *,
    paced: bool = False,
    found: FoundFaces | None = None,
) -> dict[str, Any]:
    """Run the daemon and return its speed as measured by a subscriber.

    ``stage_ms`` has the groups of the frame messages: ``capture``; ``detect`` with resize and
    decode_boxes; ``track``; ``translate``; ``classify`` with everything else from quality on.
    ``threads_ms`` adds them up for each thread of the worker, as means: the slowest thread limits
    the rate, and ``efficiency`` is the rate relative to that limit. ``frame_cpu_ms`` is the
    processor time of worker and hub for a frame: with it all cores together limit the rate, too.

    Args:
        arguments: further arguments of ``affect-edge run``.
        frames: frames to count; None: all.
        watch: looks at the machine meanwhile.
        paced: whether frames come at the rate of the recording, as from a camera, and are dropped
            where the daemon is too slow; else every frame is processed as fast as possible.
        found: compares the faces that are found with the true ones.

    Raises:
        ConfigError: the daemon refused its configuration, or the source is too short.
        AffectEdgeError: the daemon failed, or sent nothing for ``SILENCE_MAX_S``.
    """
    with tempfile.TemporaryDirectory(prefix="affect-edge-") as folder:
        endpoint = f"ipc://{folder}/live"
        command = [sys.executable, "-m", "edge", "run", *arguments, "--wait-for-subscriber"]
        if not paced:
            command.append("--no-pace")
        # no journal: a measurement must not count as a start of the device's own stream
        for setting in (
            f'publish.endpoint="{endpoint}"',
            f'publish.service_endpoint="ipc://{folder}/service"',
            'metrics.address=""',
            'journal.path=""',
        ):
            command += ["--set", setting]
        output = Path(folder) / "output"
        start_ns = clock.monotonic_ns()
        with output.open("wb") as file:
            daemon = subprocess.Popen(command, stderr=file, env=child_environment())
        try:
            received = _collect(daemon, endpoint, frames, watch)
            code = daemon.wait(SILENCE_MAX_S)
        finally:
            if daemon.poll() is None:
                daemon.kill()
                daemon.wait()
        if code:
            last = output.read_text("utf-8", "replace").strip().rpartition("\n")[2]
            text = last.removeprefix("affect-edge: error: ") or f"the daemon ended with {code}"
            raise ConfigError(text) if code == EXIT_CONFIG else AffectEdgeError(text)
    measured = received.frames[WARM_UP:]
    if len(measured) < 2:
        raise ConfigError(f"--source: {WARM_UP + 1} frames or fewer; expected more to measure")
    speed, cpu_percent = _speed(measured, paced=paced), _cpu_percent(received.cpu_s)
    frame_cpu_ms = None if cpu_percent is None else 10 * cpu_percent / speed["fps"]
    cores = len(os.sched_getaffinity(0))
    result = {
        "mode": "daemon",
        "paced": paced,
        **speed,
        # three threads overlap, so a frame has no time of its own to compare with inference alone
        "inference_ms": None,
        "overhead": None,
        "start_to_first_result_ms": received.first_ns and (received.first_ns - start_ns) / 1e6,
        "rss_mb": max(received.rss_mb, default=None),
        "hub_rss_mb": max(received.hub_rss_mb, default=None),
        "rss_growth_mb": growth_mb(received.rss_mb),
        "hub_rss_growth_mb": growth_mb(received.hub_rss_mb),
        "cpu_percent": cpu_percent,
        "frame_cpu_ms": frame_cpu_ms,
        "cores_limit_fps": frame_cpu_ms and 1e3 * cores / frame_cpu_ms,
    }
    if found is not None:
        for message in measured:
            found.update(message["frame"]["index"], [
                (
                    face["track"],
                    Box(*face["box"]),
                    face["expression"] and face["expression"]["age_s"],
                )
                for face in message["faces"]
            ])  # fmt: skip
        result["faces"] = found.figures()
    return result


def _speed(measured: list[dict[str, Any]], *, paced: bool) -> dict[str, Any]:
    """Return rate, latency and stages of the frame messages."""
    span_ns = measured[-1]["time"]["published_ns"] - measured[0]["time"]["published_ns"]
    timing = [message["timing_ms"] for message in measured]
    stage_ms: dict[str, float | None] = dict.fromkeys(STAGES)
    for stage in ("capture", "detect", "track", "translate", "classify"):
        stage_ms[stage] = statistics.median(each[stage] for each in timing)
    threads_ms = {
        thread: statistics.fmean(sum(each[stage] for stage in stages) for each in timing)
        for thread, stages in _THREADS.items()
    }
    rate_hz = (len(measured) - 1) / (span_ns / 1e9)
    limit_hz = 1e3 / max(threads_ms.values())
    latency_ms = quantiles([each["total"] for each in timing])
    return {
        "fps": rate_hz,
        "frames": len(measured),
        "dropped": sum(message["frame"]["dropped"] for message in measured),
        "latency_ms": latency_ms,
        "latency_p99_to_median": latency_ms["p99"] / latency_ms["p50"],
        "stage_ms": stage_ms,
        "threads_ms": threads_ms,
        "slowest_thread": max(threads_ms, key=lambda name: threads_ms[name]),
        "limit_fps": limit_hz,
        # a paced source decides about the rate
        "efficiency": None if paced else rate_hz / limit_hz,
    }


@dataclass
class _Received:
    """What a subscriber received, and what it measured of the processes meanwhile."""

    frames: list[dict[str, Any]] = field(default_factory=list)
    first_ns: int | None = None
    rss_mb: list[float] = field(default_factory=list)
    hub_rss_mb: list[float] = field(default_factory=list)
    cpu_s: list[tuple[int, float]] = field(default_factory=list)


def _collect(
    daemon: "subprocess.Popen[bytes]", endpoint: str, frames: int | None, watch: RunWatch
) -> _Received:
    """Receive until the daemon ends, or ``frames`` are measured."""
    received, lines = _Received(), ProgressLines("fps")
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt_string(zmq.SUBSCRIBE, "affect.v1.")
        socket.connect(endpoint)
        last_message_ns = clock.monotonic_ns()
        while True:
            watch.sample()
            has_ended = daemon.poll() is not None  # before the wait: what it sent is read first
            if not socket.poll(200):
                if has_ended:
                    return received
                if clock.elapsed_ms(last_message_ns) > SILENCE_MAX_S * 1e3:
                    raise AffectEdgeError(f"the daemon sent nothing for {SILENCE_MAX_S:.0f} s")
                continue
            last_message_ns = clock.monotonic_ns()
            message = json.loads(socket.recv().partition(b" ")[2])
            if message["kind"] == "frame":
                received.first_ns = received.first_ns or last_message_ns
                received.frames.append(message)
                lines.show(f"{len(received.frames)} frames of the daemon received")
                over = len(received.frames) - WARM_UP
                if over >= 0 and over % MEMORY_EVERY_FRAMES == 0:
                    # twice at once, so that a short run has them, too
                    if len(received.cpu_s) < 2 or (
                        clock.elapsed_ms(received.cpu_s[-1][0]) >= CPU_EVERY_MS
                    ):
                        received.cpu_s.append((last_message_ns, _tree_cpu_s(daemon.pid)))
                    if (hub_mb := _hub_rss_mb(daemon.pid)) is not None:
                        received.hub_rss_mb.append(hub_mb)
                if frames is not None and over >= frames:
                    daemon.terminate()
                    return received
            elif message["kind"] == "status" and message["worker_rss_mb"]:
                received.rss_mb.append(message["worker_rss_mb"])
            elif message.get("event") == "epoch_ended":
                return received


def growth_mb(rss_mb: Sequence[float]) -> float | None:
    """Return by how much memory grew over the second half of a run; None: too few values."""
    return rss_mb[-1] - rss_mb[len(rss_mb) // 2] if len(rss_mb) >= 4 else None


def _tree_cpu_s(root: int) -> float:
    """Return the processor seconds of process ``root`` and its children, also of ended ones.

    It never falls: a worker may end while its last messages wait to be received.
    """
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text("ascii", "replace")
        except OSError:
            continue  # it ended meanwhile
        fields = text.rpartition(")")[2].split()  # proc(5), from the third field on
        if int(stat.parent.name) == root:
            total += sum(map(int, fields[11:15]))  # its own, and that of children it has waited for
        elif int(fields[1]) == root:
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def _hub_rss_mb(hub: int) -> float | None:
    try:
        pages = int(Path(f"/proc/{hub}/statm").read_text("ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _cpu_percent(cpu_s: list[tuple[int, float]]) -> float | None:
    if len(cpu_s) < 2:
        return None
    (first_ns, first_s), (last_ns, last_s) = cpu_s[0], cpu_s[-1]
    return 100 * (last_s - first_s) / ((last_ns - first_ns) / 1e9)
