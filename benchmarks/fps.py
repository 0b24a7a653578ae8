"""``python -m benchmarks fps``: speed, time per stage, and a baseline to compare with.

Measured in one process and one thread after a warm-up, the configurations interleaved: the pipeline
including its message (the cost of a frame), inference alone on prepared tensors (the part that our
code cannot reduce), and with ``--baseline`` the earlier approach.

``benchmarks/compare_side.py`` uses ``message_bytes``, ``Frame`` and ``Pipeline`` of this module, in
older revisions too: keep these names.
"""

import contextlib
import itertools
import json
import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import cv2

from benchmarks.board import RunWatch, measurement_conditions
from benchmarks.daemon import measure_daemon
from benchmarks.figures import (
    STAGES,
    WARM_UP,
    Spent,
    Timer,
    percentiles,
    quantiles,
    worst_second_ms,
)
from benchmarks.fps_baseline import TimedBaseline
from benchmarks.inference_alone import InferenceAlone
from edge import clock
from edge.board import rss_mb
from edge.config import Config, is_file
from edge.errors import ConfigError, EndOfStream, FrameRefused
from edge.protocol.messages import FrameInfo, FrameMessage, FrameTime, StageTimes, encode
from edge.validation import file_errors
from edge.vision.pipeline import Pipeline
from edge.vision.sources import open_source
from edge.vision.values import Frame, FrameState
from edge.worker.report import frame_report

BASELINE_EVERY_FRAMES: Final = 30
"""The baseline is slow: this is precise enough and keeps the run short."""

FULL_LOOK: Final = "full"
"""What a face's ``found`` says after the detector saw the whole frame."""


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


def is_full_look(message: bytes) -> bool:
    """Return whether the detector saw the whole frame, from the message of that frame.

    A frame without a face is a full look: where no face is known, there is no region to look at.
    A message whose faces do not say how they were found is one, too.
    """
    faces = json.loads(message.partition(b" ")[2] if message[:1] != b"{" else message)["faces"]
    return not faces or any(face.get("found", FULL_LOOK) == FULL_LOOK for face in faces)


@dataclass
class Samples:
    """The times of the measured frames, in order."""

    spent: list[Spent] = field(default_factory=list)
    inference: list[Spent] = field(default_factory=list)
    sensor_ns: list[int] = field(default_factory=list)
    full_looks: list[bool] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    stages_cpu: dict[str, list[float]] = field(default_factory=dict)

    _order: random.Random = field(default_factory=lambda: random.Random(1))
    _in_cpu_time: bool = False

    def measure(self, pipeline: Pipeline, frame: Frame, decode: Spent | None) -> FrameState:
        """Run the pipeline on ``frame`` and encode its message; return its result.

        Of each two frames, the stages of one are measured in time that passed, those of the other
        in processor time, in an order that no schedule of the detector follows.

        Args:
            pipeline: what is measured.
            frame: the next one.
            decode: the time for decoding it, which counts; None: it was decoded before.
        """
        first = len(self.spent) % 2 == 0
        self._in_cpu_time = self._order.random() < 0.5 if first else not self._in_cpu_time
        with clock.stages_in_processor_time() if self._in_cpu_time else contextlib.nullcontext():
            timer = Timer()
            state = pipeline.step(frame)
            stopwatch = clock.Stopwatch()
            message = message_bytes(state)
            stopwatch.lap("message")
            spent = timer.spent()
        stage_ms = {**state.stage_ms, **stopwatch.stage_ms}
        if decode is not None:
            spent = Spent(spent.wall_ms + decode.wall_ms, spent.cpu_ms + decode.cpu_ms)
            stage_ms["decode"] = decode.cpu_ms if self._in_cpu_time else decode.wall_ms
        elif not self._in_cpu_time:
            stage_ms["decode"] = frame.capture_ms  # done before, and not part of the frame
        stages = self.stages_cpu if self._in_cpu_time else self.stages
        for stage, spent_ms in stage_ms.items():
            stages.setdefault(stage, []).append(spent_ms)
        self.spent.append(spent)
        self.sensor_ns.append(frame.sensor_ns)
        self.full_looks.append(is_full_look(message))
        return state

    def figures(self) -> dict[str, Any]:
        """Return the fields of ``run_fps`` that follow from the times."""
        wall_ms = [each.wall_ms for each in self.spent]
        cpu_ms = [each.cpu_ms for each in self.spent]
        inference_ms = statistics.median(each.wall_ms for each in self.inference)
        inference_cpu_ms = statistics.median(each.cpu_ms for each in self.inference)
        steady = [each for each, full in zip(self.spent, self.full_looks, strict=True) if not full]
        full = [each for each, full in zip(self.spent, self.full_looks, strict=True) if full]
        return {
            "fps": 1e3 / statistics.fmean(wall_ms),
            "frames": len(wall_ms),
            "latency_ms": quantiles(wall_ms),
            "latency_cpu_ms": quantiles(cpu_ms),
            # where every frame is a full look, that is the steady state
            "steady": percentiles(steady or full),
            "worst": {
                "full_look": percentiles(full if steady else []),
                "second_ms": worst_second_ms(wall_ms, self.sensor_ns),
                "second_cpu_ms": worst_second_ms(cpu_ms, self.sensor_ns),
                "frame_ms": max(wall_ms),
                "frame_cpu_ms": max(cpu_ms),
            },
            "full_looks_per_1000": 1000 * len(full) / len(self.spent),
            "stage_ms": _per_stage(self.stages, statistics.median),
            "stage_cpu_ms": _per_stage(self.stages_cpu, statistics.median),
            "stage_cpu_mean_ms": _per_stage(self.stages_cpu, statistics.fmean),
            "inference_ms": inference_ms,
            "inference_cpu_ms": inference_cpu_ms,
            "overhead": statistics.median(wall_ms) / inference_ms,
            "overhead_cpu": statistics.median(cpu_ms) / inference_cpu_ms,
            "cpu_percent": 100 * sum(cpu_ms) / sum(wall_ms),
        }


def _per_stage(stages: dict[str, list[float]], figure: Any) -> dict[str, float | None]:
    names = dict.fromkeys((*STAGES, *stages))
    return {name: figure(stages[name]) if stages.get(name) else None for name in names}


@dataclass(frozen=True)
class Recording:
    """The frames of a measurement, those of the warm-up first.

    ``held_mb``: memory of the frames that were decoded before; None: each is decoded when needed.
    """

    frames: Iterator[Frame]
    held_mb: float | None = None


def open_recording(config: Config, frames: int | None, *, in_memory: bool) -> Recording:
    """Return the frames of the configured source.

    Args:
        config: its source is read.
        frames: frames to measure; None: all of the source.
        in_memory: whether they are decoded now, and repeated as often as needed.

    Raises:
        ConfigError: the source is live, or holds no frames.
    """
    if not is_file(config.source):
        raise ConfigError(
            f"--source: kind {config.source.kind!r} is live; expected a video file, a folder of"
            " pictures, or demo"
        )
    if not in_memory:
        return Recording(read_frames(config, frames and frames + WARM_UP))
    decoded = list(itertools.islice(read_frames(config, None), frames))
    if not decoded:
        raise ConfigError("--source: no frame in it")
    held_mb = sum(frame.luma.nbytes for frame in decoded) / 2**20
    return Recording(repeated_frames(decoded, (frames or len(decoded)) + WARM_UP), held_mb)


def measure_pipeline(
    config: Config,
    recording: Recording,
    *,
    baseline: bool,
    baseline_threads: int | None,
    watch: RunWatch,
) -> dict[str, Any]:
    """Measure the pipeline frame by frame in this thread; return the fields of ``run_fps``.

    Raises:
        ConfigError: the recording is no longer than the warm-up.
    """
    cv2.setNumThreads(1)
    opening = Timer()
    pipeline = Pipeline.open(config)
    open_ms = opening.spent().wall_ms
    first_result_ms: float | None = None
    for frame in itertools.islice(recording.frames, WARM_UP):
        message_bytes(pipeline.step(frame))
        first_result_ms = first_result_ms or opening.spent().wall_ms
    # measured here: without the networks and frames that only the benchmark needs
    pipeline_rss_mb = rss_mb() - (recording.held_mb or 0.0)
    inference = InferenceAlone(config)
    inference.wait_until_idle()
    timed_baseline = None
    if baseline:
        size = pipeline.detector.input_size
        timed_baseline = TimedBaseline(config, size, threads=baseline_threads)
    samples, reading = Samples(), Timer()
    for number, frame in enumerate(recording.frames):
        decode = None
        if recording.held_mb is None:
            decode = Spent(frame.capture_ms, reading.spent().cpu_ms)
        if timed_baseline is not None and number % BASELINE_EVERY_FRAMES == 0:
            timed_baseline.measure(frame, inference)
        watch.sample()
        state = samples.measure(pipeline, frame, decode)
        samples.inference.append(inference.measure(state))
        reading = Timer()
    if not samples.spent:
        raise ConfigError(f"--source: {WARM_UP} frames or fewer; expected more to measure")
    result: dict[str, Any] = {
        "mode": "pipeline",
        **samples.figures(),
        "open_ms": open_ms,
        "first_result_ms": first_result_ms,
        "rss_mb": pipeline_rss_mb,
    }
    if timed_baseline is not None:
        result |= timed_baseline.figures(samples.spent)
    return result


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
    baseline_threads: int | None = None,
    daemon_arguments: list[str],
) -> dict[str, Any]:
    """Return the measured figures, the measurement conditions, and what makes them invalid.

    Raises:
        ConfigError: the options contradict one another, or the source is not finite.
        ModelError: a configured network cannot be trusted.
    """
    if mode == "daemon" and (in_memory or baseline):
        raise ConfigError("--mode daemon: goes neither with --in-memory nor with --baseline")
    conditions = measurement_conditions(config)
    watch = RunWatch()
    if mode == "daemon":
        result = measure_daemon(daemon_arguments, frames, watch)
    else:
        result = measure_pipeline(
            config,
            open_recording(config, frames, in_memory=in_memory),
            baseline=baseline,
            baseline_threads=baseline_threads,
            watch=watch,
        )
    return {"benchmark": "fps", **result, **conditions, **watch.facts()}


def save(result: dict[str, Any], path: Path) -> None:
    """Write a result as JSON.

    Raises:
        ConfigError: the file cannot be written.
    """
    with file_errors("--json", path, kind=ConfigError):
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
