"""``python -m benchmarks fps``: speed, time per stage, and a baseline to compare with.

Measured in one process and one thread after a warm-up, the configurations interleaved: the pipeline
including its message (the cost of a frame), inference alone on prepared tensors (the part that our
code cannot reduce), and with ``--baseline`` the earlier approach.
"""

import itertools
import json
import resource
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.board import OtherLoad, measurement_conditions
from benchmarks.daemon import measure_daemon
from benchmarks.figures import STAGES, WARM_UP, quantiles
from benchmarks.fps_baseline import BaselineLoop
from edge import clock
from edge.board import rss_mb
from edge.config import Config, is_file
from edge.errors import ConfigError, EndOfStream, FrameRefused
from edge.protocol.messages import FrameInfo, FrameMessage, FrameTime, StageTimes, encode
from edge.validation import file_errors
from edge.vision.expression.crop import square_crop
from edge.vision.inference import Network, open_network
from edge.vision.pipeline import Pipeline
from edge.vision.resize import resize_linear
from edge.vision.sources import open_source
from edge.vision.values import Frame, FrameState
from edge.worker.report import frame_report

BASELINE_EVERY_FRAMES = 30  # the baseline is slow: this is precise enough and keeps the run short
BASELINE_CALLS = 2  # counted calls after one uncounted: in a loop, thread pools spin into the next
IDLE_WINDOW_MS = 20.0
IDLE_WAIT_MAX_MS = 1000.0


class InferenceAlone:
    """Runs the networks on tensors that were prepared before the clock starts."""

    def __init__(self, config: Config) -> None:
        self._detector = open_network(
            config.detector.model, task="face-detection",
            artifact=config.detector.artifact, threads=config.detector.threads,
        )  # fmt: skip
        self._translator: Network | None = None
        if config.translator.model:
            self._translator = open_network(
                config.translator.model, task="spectrum-translation",
                artifact=config.translator.artifact, threads=config.translator.threads,
            )  # fmt: skip
        self._expression = open_network(
            config.expression.model, task="facial-expression",
            artifact=config.expression.artifact, threads=config.expression.threads,
        )  # fmt: skip

    def wait_until_idle(self) -> None:
        """Run without counting until no other session's thread pool spins any more.

        Default thread pools of onnxruntime spin after a call (75 ms measured) and would take a core
        from the next measurement.
        """
        detector, expression = self._detector.info, self._expression.info
        picture = self._detector.tensor(np.zeros((detector.height, detector.width), np.uint8))
        face = self._expression.tensor(np.zeros((expression.height, expression.width), np.uint8))
        start_ns = clock.monotonic_ns()
        quiet = 1.1 * max(detector.threads, expression.threads)
        busy = quiet + 1
        while busy > quiet and clock.elapsed_ms(start_ns) < IDLE_WAIT_MAX_MS:
            window_ns, before_s = clock.monotonic_ns(), cpu_seconds()
            while clock.elapsed_ms(window_ns) < IDLE_WINDOW_MS:
                self._detector.session.run(picture)
                self._expression.session.run(face)
            busy = 1e3 * (cpu_seconds() - before_s) / clock.elapsed_ms(window_ns)

    def measure_ms(self, state: FrameState) -> float:
        """Return the milliseconds that the runtime takes for the inputs of ``state``."""
        info = self._detector.info
        picture = resize_linear(state.frame.luma, (info.width, info.height))
        tensor = self._detector.tensor(picture)
        start_ns = clock.monotonic_ns()
        self._detector.session.run(tensor)
        total_ms = clock.elapsed_ms(start_ns)
        networks = (
            [self._expression] if not self._translator else [self._translator, self._expression]
        )
        for face in state.faces:
            if face.prediction is None:
                continue
            for network in networks:
                side = (network.info.width, network.info.height)
                crop = square_crop(state.frame.luma, face.track.detection.box, side, 0.0)
                tensor = network.tensor(crop)
                start_ns = clock.monotonic_ns()
                network.session.run(tensor)
                total_ms += clock.elapsed_ms(start_ns)
        return total_ms


class TimedBaseline:
    """Times the baseline at its own input size and at ours."""

    def __init__(self, config: Config, size: tuple[int, int]) -> None:
        self._size = size
        model, threshold = config.expression.model, config.detector.threshold
        self._loops = (
            BaselineLoop(model, threshold=threshold),
            BaselineLoop(model, threshold=threshold, size=size),
        )
        self._took_ms: tuple[list[float], list[float]] = ([], [])

    def measure(self, frame: Frame, inference: InferenceAlone) -> None:
        """Time both loops on ``frame``; return when their thread pools are idle."""
        bgr = cv2.cvtColor(frame.luma, cv2.COLOR_GRAY2BGR)
        for loop, took_ms in zip(self._loops, self._took_ms, strict=True):
            loop.step(bgr)
            for _ in range(BASELINE_CALLS):
                start_ns = clock.monotonic_ns()
                loop.step(bgr)
                took_ms.append(clock.elapsed_ms(start_ns))
            inference.wait_until_idle()

    def figures(self, frame_mean_ms: float) -> dict[str, Any]:
        """Return the comparison with the pipeline's mean time per frame."""
        full_ms, same_ms = (statistics.fmean(each) for each in self._took_ms)
        width, height = self._size
        return {
            "baseline_fps": 1e3 / full_ms,
            "ratio": full_ms / frame_mean_ms,
            "same_size_ratio": same_ms / frame_mean_ms,
            "baseline_note": "the baseline's detector sees the full frame, ours"
            f" {width}x{height}, so the baseline finds smaller faces: ratio is not at equal"
            " capability; same_size_ratio gives both the same input. The baseline's networks"
            " have the runtime's defaults, a thread for every core; ours have the threads named",
        }


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
    """Return the message of a frame as the hub sends it, after encoding for the link."""
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
    """Measure the pipeline frame by frame in this thread; return the fields of ``run_fps``.

    Raises:
        ConfigError: the source is live, or holds no frames.
    """
    if not is_file(config.source):
        raise ConfigError(
            f"--source: kind {config.source.kind!r} is live; expected a video file, a folder of"
            " pictures, or demo"
        )
    cv2.setNumThreads(1)
    pipeline = Pipeline.open(config)
    source = read_frames(config, None if in_memory else frames and frames + WARM_UP)
    decoded: list[Frame] = []
    if in_memory:
        decoded = list(itertools.islice(source, frames))
        if not decoded:
            raise ConfigError("--source: no frame in it")
        source = repeated_frames(decoded, (frames or len(decoded)) + WARM_UP)
    for frame in itertools.islice(source, WARM_UP):
        message_bytes(pipeline.step(frame))
    # measured here: without the networks and frames that only the benchmark needs
    pipeline_rss_mb = rss_mb() - sum(frame.luma.nbytes for frame in decoded) / 2**20
    inference = InferenceAlone(config)
    inference.wait_until_idle()
    timed_baseline = TimedBaseline(config, pipeline.detector.input_size) if baseline else None
    frame_ms: list[float] = []
    inference_ms: list[float] = []
    stages: dict[str, list[float]] = {}
    cpu_s = wall_s = 0.0
    for number, frame in enumerate(source):
        if timed_baseline is not None and number % BASELINE_EVERY_FRAMES == 0:
            timed_baseline.measure(frame, inference)
        before_s, start_ns = cpu_seconds(), clock.monotonic_ns()
        state = pipeline.step(frame)
        stopwatch = clock.Stopwatch()
        message_bytes(state)
        stopwatch.lap("message")
        took_ms = clock.elapsed_ms(start_ns)
        cpu_s += cpu_seconds() - before_s
        inference_ms.append(inference.measure_ms(state))
        wall_s += took_ms / 1e3
        frame_ms.append(took_ms + (0.0 if in_memory else frame.capture_ms))
        for stage, spent_ms in {
            **state.stage_ms, **stopwatch.stage_ms, "decode": frame.capture_ms
        }.items():  # fmt: skip
            stages.setdefault(stage, []).append(spent_ms)
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
        "rss_mb": pipeline_rss_mb,
        "cpu_percent": 100 * cpu_s / wall_s,
    }
    if timed_baseline is not None:
        result |= timed_baseline.figures(statistics.fmean(frame_ms))
    return result


def cpu_seconds() -> float:
    """Return the processor time that all threads of this process have used, seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def repeated_frames(decoded: list[Frame], count: int) -> Iterator[Frame]:
    """Yield ``count`` frames, ``decoded`` repeated, with continuing indices and times."""
    span_ns = decoded[-1].sensor_ns - decoded[0].sensor_ns + 40_000_000
    for index in range(count):
        lap, place = divmod(index, len(decoded))
        frame = decoded[place]
        yield replace(frame, index=index, sensor_ns=frame.sensor_ns + lap * span_ns)


def run_fps(
    config: Config,
    *,
    frames: int | None,
    in_memory: bool,
    mode: str,
    baseline: bool,
    daemon_arguments: list[str],
) -> dict[str, Any]:
    """Return the measured figures and the measurement conditions.

    Raises:
        ConfigError: the options contradict one another, or the source is not finite.
        ModelError: a configured network cannot be trusted.
    """
    if mode == "daemon" and (in_memory or baseline):
        raise ConfigError("--mode daemon: goes neither with --in-memory nor with --baseline")
    conditions = measurement_conditions(config)
    other_load = OtherLoad()
    if mode == "daemon":
        result = measure_daemon(daemon_arguments, frames)
    else:
        result = measure_pipeline(config, frames, in_memory=in_memory, baseline=baseline)
    return {"benchmark": "fps", **result, **conditions, "other_cpu_percent": other_load.percent()}


def save(result: dict[str, Any], path: Path) -> None:
    """Write a result as JSON.

    Raises:
        ConfigError: the file cannot be written.
    """
    with file_errors("--json", path, kind=ConfigError):
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
