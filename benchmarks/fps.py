"""``python -m benchmarks fps``: how fast, where the time goes, and against what.

Measured in one process and one thread, configurations interleaved, after a warm-up: the pipeline
with the building and encoding of its message (what a frame costs the machine), the bare network
calls on prepared tensors (what no code of ours can save), and with ``--baseline`` the prior way.
"""

import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import zmq

from benchmarks.board import circumstances
from benchmarks.prior import PriorLoop
from edge import clock
from edge.config import Config, is_file
from edge.errors import AffectEdgeError, ConfigError, EndOfStream, FrameRefused
from edge.expression.crop import square_crop
from edge.messages import FrameInfo, FrameMessage, FrameTime, StageTimes, encode
from edge.models import open_network
from edge.pipeline import Pipeline
from edge.sources import open_source
from edge.values import Frame, FrameState
from edge.worker import frame_report, rss_mb

WARM_UP = 10
STAGES = (
    "decode", "resize", "detect", "decode_boxes", "track", "quality", "crop", "translate",
    "classify", "smooth", "message",
)  # fmt: skip


class BareNetworks:
    """The two networks' calls alone, on tensors that were prepared before the clock starts."""

    def __init__(self, config: Config) -> None:
        self._detector = open_network(
            config.detector.model, task="face-detection",
            artifact=config.detector.artifact, threads=config.detector.threads,
        )  # fmt: skip
        self._expression = open_network(
            config.expression.model, task="facial-expression",
            artifact=config.expression.artifact, threads=config.expression.threads,
        )  # fmt: skip

    def measure_ms(self, state: FrameState) -> float:
        """Return the milliseconds of the runtime's calls that ``state`` took."""
        info = self._detector.info
        picture = cv2.resize(
            state.frame.luma, (info.width, info.height), interpolation=cv2.INTER_LINEAR
        )
        tensor = self._detector.tensor(picture)
        begun_ns = clock.monotonic_ns()
        self._detector.session.run(tensor)
        total_ms = clock.elapsed_ms(begun_ns)
        side = (self._expression.info.width, self._expression.info.height)
        for face in state.faces:
            if face.reading is None:
                continue
            crop = square_crop(state.frame.luma, face.track.detection.box, side, 0.0)
            tensor = self._expression.tensor(crop)
            begun_ns = clock.monotonic_ns()
            self._expression.session.run(tensor)
            total_ms += clock.elapsed_ms(begun_ns)
        return total_ms


def read_frames(config: Config, limit: int | None) -> Iterator[Frame]:
    """Yield the frames of a finite source."""
    with open_source(config.source, small_size=(0, 0)) as source:
        for _ in itertools.count():
            try:
                frame = source.read()
            except FrameRefused:
                continue
            except EndOfStream:
                return
            yield frame
            if limit is not None and (limit := limit - 1) <= 0:
                return


def message_bytes(state: FrameState) -> bytes:
    """Return the message of a frame as the hub sends it, link included."""
    report = frame_report(state)
    report = type(report).model_validate_json(report.model_dump_json())
    now_ns = clock.monotonic_ns()
    return encode(
        FrameMessage(
            device="bench", stream="bench", epoch=1, seq=report.index,
            frame=FrameInfo(index=report.index, width=report.width, height=report.height,
                            dropped=0),
            time=FrameTime(sensor_ns=report.sensor_ns, clock=report.clock, unix_ns=now_ns,
                           published_ns=now_ns, synchronized=False),
            timing_ms=StageTimes(capture=0, detect=0, track=0, classify=0, total=0),
            faces=report.faces,
        )
    )  # fmt: skip


def measure_pipeline(
    config: Config, frames: int | None, *, in_memory: bool, baseline: bool
) -> dict[str, Any]:
    """Measure frame after frame in this thread; see the contract for the fields.

    Raises:
        ConfigError: the source is live, or holds no frames.
    """
    if not is_file(config.source):
        raise ConfigError(
            f"--source: kind {config.source.kind!r} is live; expected a video file, a folder of"
            " pictures, or demo"
        )
    cv2.setNumThreads(1)
    pipeline, bare = Pipeline.open(config), BareNetworks(config)
    prior = None
    if baseline:
        detector = config.detector
        prior = PriorLoop(
            config.expression.model, threads=detector.threads, threshold=detector.threshold
        )
    source = read_frames(config, None if in_memory else frames and frames + WARM_UP)
    if in_memory:
        held = list(itertools.islice(source, frames))
        if not held:
            raise ConfigError("--source: no frame in it")
        wanted = (frames or len(held)) + WARM_UP
        source = cycled(held, wanted)
    frame_ms: list[float] = []
    inference_ms: list[float] = []
    prior_ms: list[float] = []
    same_size_ms: list[float] = []
    stages: dict[str, list[float]] = {}
    cpu_s = wall_s = 0.0
    for number, frame in enumerate(source):
        usage, begun_ns = resource.getrusage(resource.RUSAGE_SELF), clock.monotonic_ns()
        state = pipeline.step(frame)
        stopwatch = clock.Stopwatch()
        message_bytes(state)
        stopwatch.lap("message")
        took_ms = clock.elapsed_ms(begun_ns)
        after = resource.getrusage(resource.RUSAGE_SELF)
        bare_ms = bare.measure_ms(state)
        if number < WARM_UP:
            continue
        cpu_s += after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
        wall_s += took_ms / 1e3
        decode_ms = 0.0 if in_memory else frame.capture_ms
        frame_ms.append(took_ms + decode_ms)
        inference_ms.append(bare_ms)
        for stage, spent_ms in {
            **state.stage_ms, **stopwatch.stage_ms, "decode": frame.capture_ms
        }.items():  # fmt: skip
            stages.setdefault(stage, []).append(spent_ms)
        # The prior way is slow: every tenth frame tells as much, and keeps the run short.
        if prior is not None and number % 10 == 0:
            bgr = cv2.cvtColor(frame.luma, cv2.COLOR_GRAY2BGR)
            for times, size in ((prior_ms, None), (same_size_ms, pipeline.detector.input_size)):
                begun_ns = clock.monotonic_ns()
                prior.step(bgr, size)
                times.append(clock.elapsed_ms(begun_ns))
    if not frame_ms:
        raise ConfigError(f"--source: {WARM_UP} frames or fewer; expected more to measure")
    result: dict[str, Any] = {
        "mode": "pipeline",
        "fps": 1e3 / statistics.fmean(frame_ms),
        "frames": len(frame_ms),
        "latency_ms": quantiles(frame_ms),
        "stage_ms": {
            stage: statistics.median(stages[stage]) if stage in stages else None for stage in STAGES
        },
        "inference_ms": statistics.median(inference_ms),
        "overhead": statistics.median(frame_ms) / statistics.median(inference_ms),
        "rss_mb": rss_mb(),
        "cpu_percent": 100 * cpu_s / wall_s,
    }
    if prior_ms:
        frame_mean_ms = statistics.fmean(frame_ms)
        result |= {
            "baseline_fps": 1e3 / statistics.fmean(prior_ms),
            "ratio": statistics.fmean(prior_ms) / frame_mean_ms,
            "same_size_ratio": statistics.fmean(same_size_ms) / frame_mean_ms,
            "baseline_note": "the baseline's detector sees the full frame and so smaller faces;"
            " same_size_ratio gives both the same input",
        }
    return result


def cycled(held: list[Frame], count: int) -> Iterator[Frame]:
    """Yield ``count`` frames, beginning again at the end, with indices and times that go on."""
    span_ns = held[-1].sensor_ns - held[0].sensor_ns + 40_000_000
    for index in range(count):
        lap, place = divmod(index, len(held))
        frame = held[place]
        yield replace(frame, index=index, sensor_ns=frame.sensor_ns + lap * span_ns)


def measure_daemon(arguments: list[str], frames: int | None) -> dict[str, Any]:
    """Run the real daemon through a file and measure at a subscriber.

    Raises:
        AffectEdgeError: the daemon failed; it has said why.
    """
    published: list[dict[str, Any]] = []
    rss: list[float] = []
    with tempfile.TemporaryDirectory(prefix="affect-edge-") as folder, zmq.Context() as context:
        endpoint = f"ipc://{folder}/live"
        with context.socket(zmq.SUB) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.RCVHWM, 0)
            socket.setsockopt_string(zmq.SUBSCRIBE, "affect.v1.")
            socket.connect(endpoint)
            command = [sys.executable, "-m", "edge", "run", *arguments, "--no-pace"]
            command += ["--wait-for-subscriber", "--set", f'publish.endpoint="{endpoint}"']
            with subprocess.Popen([*command, "--set", 'metrics.address=""']) as daemon:
                ended = False
                while not ended and (socket.poll(500) or daemon.poll() is None):
                    if not socket.poll(0):
                        continue
                    message = json.loads(socket.recv().partition(b" ")[2])
                    if message["kind"] == "frame":
                        published.append(message)
                    elif message["kind"] == "status" and message["worker_rss_mb"]:
                        rss.append(message["worker_rss_mb"])
                    ended = message.get("event") == "epoch_ended"
                    if frames is not None and len(published) >= frames + WARM_UP:
                        daemon.terminate()
                        break
            if daemon.returncode:
                raise AffectEdgeError(f"the daemon ended with exit code {daemon.returncode}")
    measured = published[WARM_UP:]
    if len(measured) < 2:
        raise ConfigError(f"--source: {WARM_UP} frames or fewer; expected more to measure")
    span_ns = measured[-1]["time"]["published_ns"] - measured[0]["time"]["published_ns"]
    timing = [message["timing_ms"] for message in measured]
    return {
        "mode": "daemon",
        "fps": (len(measured) - 1) / (span_ns / 1e9),
        "frames": len(measured),
        "latency_ms": quantiles([each["total"] for each in timing]),
        "stage_ms": {
            stage: statistics.median(each[stage] for each in timing)
            for stage in ("capture", "detect", "track", "classify")
        },
        "rss_mb": max(rss, default=None),
    }


def quantiles(values: list[float]) -> dict[str, float]:
    """Return the 50th, 95th and 99th percentile."""
    p50, p95, p99 = np.percentile(values, [50, 95, 99]).tolist()
    return {"p50": p50, "p95": p95, "p99": p99}


def run_fps(
    config: Config,
    *,
    frames: int | None,
    in_memory: bool,
    mode: str,
    baseline: bool,
    daemon_arguments: list[str],
) -> dict[str, Any]:
    """Return the measured figures and what they were measured on."""
    if mode == "daemon":
        if in_memory or baseline:
            raise ConfigError("--mode daemon: goes neither with --in-memory nor with --baseline")
        result = measure_daemon(daemon_arguments, frames)
    else:
        result = measure_pipeline(config, frames, in_memory=in_memory, baseline=baseline)
    return {"benchmark": "fps", **result, **circumstances(config)}


def save(result: dict[str, Any], path: Path) -> None:
    """Write a result as JSON.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--json {path}: {error.strerror}") from error
