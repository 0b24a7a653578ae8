"""Measures the whole daemon on a file, unpaced, from a subscriber's side."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import zmq

from benchmarks.board import RunWatch
from benchmarks.figures import STAGES, WARM_UP, quantiles
from edge import clock
from edge.child import child_environment
from edge.errors import EXIT_CONFIG, AffectEdgeError, ConfigError

SILENCE_MAX_S = 20.0  # a status is due every second: a daemon silent for so long has failed
CPU_EVERY_FRAMES = 10  # how often the processor time is read


def measure_daemon(arguments: list[str], frames: int | None, watch: RunWatch) -> dict[str, Any]:
    """Run the daemon and return its speed as measured by a subscriber.

    ``stage_ms`` has the groups of the frame messages: ``capture``; ``detect`` with resize and
    decode_boxes; ``track``; ``translate``; ``classify`` with everything else from quality on.

    Args:
        arguments: further arguments of ``affect-edge run``.
        frames: frames to count; None: all.
        watch: looks at the machine meanwhile.

    Raises:
        ConfigError: the daemon refused its configuration, or the source is too short.
        AffectEdgeError: the daemon failed, or sent nothing for ``SILENCE_MAX_S``.
    """
    with tempfile.TemporaryDirectory(prefix="affect-edge-") as folder:
        endpoint = f"ipc://{folder}/live"
        command = [sys.executable, "-m", "edge", "run", *arguments]
        command += ["--no-pace", "--wait-for-subscriber"]
        # no journal: a measurement must not count as a start of the device's own stream
        for setting in (
            f'publish.endpoint="{endpoint}"',
            f'publish.service_endpoint="ipc://{folder}/service"',
            'metrics.address=""',
            'journal.path=""',
        ):
            command += ["--set", setting]
        output = Path(folder) / "output"
        with output.open("wb") as file:
            daemon = subprocess.Popen(command, stderr=file, env=child_environment())
        try:
            published, rss, cpu_s = _collect(daemon, endpoint, frames, watch)
            code = daemon.wait(SILENCE_MAX_S)
        finally:
            if daemon.poll() is None:
                daemon.kill()
                daemon.wait()
        if code:
            last = output.read_text("utf-8", "replace").strip().rpartition("\n")[2]
            text = last.removeprefix("affect-edge: error: ") or f"the daemon ended with {code}"
            raise ConfigError(text) if code == EXIT_CONFIG else AffectEdgeError(text)
    measured = published[WARM_UP:]
    if len(measured) < 2:
        raise ConfigError(f"--source: {WARM_UP + 1} frames or fewer; expected more to measure")
    span_ns = measured[-1]["time"]["published_ns"] - measured[0]["time"]["published_ns"]
    timing = [message["timing_ms"] for message in measured]
    stage_ms: dict[str, float | None] = dict.fromkeys(STAGES)
    for stage in ("capture", "detect", "track", "translate", "classify"):
        stage_ms[stage] = statistics.median(each[stage] for each in timing)
    return {
        "mode": "daemon",
        "fps": (len(measured) - 1) / (span_ns / 1e9),
        "frames": len(measured),
        "latency_ms": quantiles([each["total"] for each in timing]),
        "stage_ms": stage_ms,
        # three threads overlap, so a frame has no time of its own to compare with inference alone
        "inference_ms": None,
        "overhead": None,
        "rss_mb": max(rss, default=None),
        "cpu_percent": _cpu_percent(cpu_s),
    }


def _collect(
    daemon: "subprocess.Popen[bytes]", endpoint: str, frames: int | None, watch: RunWatch
) -> tuple[list[dict[str, Any]], list[float], list[tuple[int, float]]]:
    """Return the frame messages, the worker's memory in MiB, and (time, processor seconds)."""
    published: list[dict[str, Any]] = []
    rss: list[float] = []
    cpu_s: list[tuple[int, float]] = []
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt_string(zmq.SUBSCRIBE, "affect.v1.")
        socket.connect(endpoint)
        last_message_ns = clock.monotonic_ns()
        while True:
            watch.sample()
            if not socket.poll(200):
                if daemon.poll() is not None:
                    return published, rss, cpu_s
                if clock.elapsed_ms(last_message_ns) > SILENCE_MAX_S * 1e3:
                    raise AffectEdgeError(f"the daemon sent nothing for {SILENCE_MAX_S:.0f} s")
                continue
            last_message_ns = clock.monotonic_ns()
            message = json.loads(socket.recv().partition(b" ")[2])
            if message["kind"] == "frame":
                published.append(message)
                over = len(published) - WARM_UP
                if over >= 0 and over % CPU_EVERY_FRAMES == 0:
                    cpu_s.append((last_message_ns, _tree_cpu_s(daemon.pid)))
                if frames is not None and over >= frames:
                    daemon.terminate()
                    return published, rss, cpu_s
            elif message["kind"] == "status" and message["worker_rss_mb"]:
                rss.append(message["worker_rss_mb"])
            elif message.get("event") == "epoch_ended":
                return published, rss, cpu_s


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


def _cpu_percent(cpu_s: list[tuple[int, float]]) -> float | None:
    if len(cpu_s) < 2:
        return None
    (first_ns, first_s), (last_ns, last_s) = cpu_s[0], cpu_s[-1]
    return 100 * (last_s - first_s) / ((last_ns - first_ns) / 1e9)
