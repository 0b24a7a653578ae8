"""Measures the pipeline frame by frame, in one process and one thread.

The configurations are interleaved after a warm-up: the pipeline including its message (the cost of
a frame), the same frame's inference alone (the part that our code cannot reduce), and with
``--baseline`` the earlier approach.
"""

import contextlib
import itertools
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import cv2

from benchmarks.board import RunWatch
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
from benchmarks.inference_alone import InferenceAlone, noted_inference
from benchmarks.message import message_bytes
from benchmarks.progress import ProgressLines
from benchmarks.scene import FoundFaces, Scene
from edge import clock
from edge.board import rss_mb
from edge.config import Config, is_file
from edge.errors import ConfigError, EndOfStream, FrameRefused
from edge.vision.detect import Detector
from edge.vision.pipeline import Pipeline
from edge.vision.resize import resize_linear
from edge.vision.sources import open_source
from edge.vision.values import Detection, Frame, FrameState

BASELINE_EVERY_FRAMES: Final = 30
"""The baseline is slow: this is precise enough and keeps the run short."""

SCENE_FRAMES: Final = 300
"""Measured frames of a scene, unless the user names a number."""


class FullLooks:
    """Counts the frames in which a pipeline searched the full frame.

    Neither its result nor its message says so: a full look may only confirm boxes of regions.
    """

    def __init__(self, detector: Detector) -> None:
        self._calls = 0
        genuine = detector.detect

        def counted(frame: Frame, stopwatch: clock.Stopwatch) -> tuple[Detection, ...]:
            self._calls += 1
            return genuine(frame, stopwatch)

        # the instance, as whatever searches regions holds the same one
        setattr(detector, "detect", counted)  # noqa: B010  (a method, for mypy)

    def take(self) -> bool:
        """Return whether there was one since the last call."""
        looked, self._calls = self._calls > 0, 0
        return looked


@dataclass
class Samples:
    """The times of the measured frames, in order; ``inference`` has those of the same frames."""

    spent: list[Spent] = field(default_factory=list)
    inference: list[Spent] = field(default_factory=list)
    sensor_ns: list[int] = field(default_factory=list)
    full_looks: list[bool] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    stages_cpu: dict[str, list[float]] = field(default_factory=dict)

    _order: random.Random = field(default_factory=lambda: random.Random(1))
    _in_cpu_time: bool = False

    def measure(
        self, pipeline: Pipeline, frame: Frame, decode: Spent | None, looks: FullLooks
    ) -> FrameState:
        """Run the pipeline on ``frame`` and encode its message; return its result.

        Of each two frames, the stages of one are measured in time that passed, those of the other
        in processor time, in an order that no schedule of the detector follows.

        Args:
            pipeline: what is measured.
            frame: the next one.
            decode: the time for decoding it, which counts; None: it was decoded before.
            looks: counts the full looks of ``pipeline``.
        """
        looks.take()
        first = len(self.spent) % 2 == 0
        self._in_cpu_time = self._order.random() < 0.5 if first else not self._in_cpu_time
        with clock.stages_in_processor_time() if self._in_cpu_time else contextlib.nullcontext():
            timer = Timer()
            state = pipeline.step(frame)
            stopwatch = clock.Stopwatch()
            message_bytes(state)
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
        self.full_looks.append(looks.take())
        return state

    def figures(self) -> dict[str, Any]:
        """Return the fields of ``run_fps`` that follow from the times."""
        wall_ms = [each.wall_ms for each in self.spent]
        cpu_ms = [each.cpu_ms for each in self.spent]
        alone_ms = [each.wall_ms for each in self.inference]
        alone_cpu_ms = [each.cpu_ms for each in self.inference]
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
            "inference_ms": statistics.median(alone_ms),
            "inference_cpu_ms": statistics.median(alone_cpu_ms),
            **_outside("", wall_ms, alone_ms),
            **_outside("_cpu", cpu_ms, alone_cpu_ms),
            "cpu_percent": 100 * sum(cpu_ms) / sum(wall_ms),
        }


def _outside(
    kind: str, spent_ms: Sequence[float], alone_ms: Sequence[float]
) -> dict[str, float | None]:
    """Return the fields on what a frame takes besides its own inference.

    Medians over frames: one of frames, divided by one of inference, would compare different frames.
    """
    pairs = list(zip(spent_ms, alone_ms, strict=True))
    ratios = [spent / alone for spent, alone in pairs if alone > 0]
    return {
        f"outside{kind}_ms": statistics.median(spent - alone for spent, alone in pairs),
        f"overhead{kind}": statistics.median(ratios) if ratios else None,
    }


def _per_stage(stages: dict[str, list[float]], figure: Any) -> dict[str, float | None]:
    names = dict.fromkeys((*STAGES, *stages))
    return {name: figure(stages[name]) if stages.get(name) else None for name in names}


@dataclass(frozen=True)
class Recording:
    """The frames of a measurement, those of the warm-up first.

    Attributes:
        frames: the warm-up and what is measured.
        held_mb: memory of the frames that were decoded before; None: each is decoded when needed.
        count: frames that are measured; None: all, and nobody has counted them yet.
        found: compares the faces that are found with the true ones; None where they are not known.
    """

    frames: Iterator[Frame]
    held_mb: float | None = None
    count: int | None = None
    found: FoundFaces | None = None


def open_recording(
    config: Config,
    frames: int | None,
    *,
    in_memory: bool,
    scene: Scene | None = None,
    size: tuple[int, int] | None = None,
) -> Recording:
    """Return the frames of the configured source, or of a scene.

    Args:
        config: its source is read, unless there is a scene.
        frames: frames to measure; None: all of the source, or ``SCENE_FRAMES``.
        in_memory: whether they are decoded now, and repeated as often as needed.
        scene: frames with known faces; always in memory.
        size: width and height to which frames in memory are scaled; None: as they are.

    Raises:
        ConfigError: the source is live, or holds no frames.
    """
    if scene is not None:
        held_mb = sum(frame.luma.nbytes for frame in scene.frames) / 2**20
        count = frames or SCENE_FRAMES
        repeated = repeated_frames(scene.frames, count + WARM_UP)
        return Recording(repeated, held_mb, count, FoundFaces(scene))
    if not is_file(config.source):
        raise ConfigError(
            f"--source: kind {config.source.kind!r} is live; expected a video file, a folder of"
            " pictures, or demo"
        )
    if not in_memory:
        return Recording(read_frames(config, frames and frames + WARM_UP), count=frames)
    decoded = list(itertools.islice(read_frames(config, None), frames))
    if size is not None:
        decoded = [replace(each, luma=resize_linear(each.luma, size)) for each in decoded]
    if not decoded:
        raise ConfigError("--source: no frame in it")
    held_mb = sum(frame.luma.nbytes for frame in decoded) / 2**20
    count = frames or len(decoded)
    return Recording(repeated_frames(decoded, count + WARM_UP), held_mb, count)


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
    with noted_inference() as inference:
        for frame in itertools.islice(recording.frames, WARM_UP):
            message_bytes(pipeline.step(frame))
            inference.measure()
            first_result_ms = first_result_ms or opening.spent().wall_ms
        # measured here: without the frames and networks that only the benchmark needs
        pipeline_rss_mb = rss_mb() - (recording.held_mb or 0.0)
        inference.wait_until_idle()
        timed_baseline = None
        if baseline:
            size = pipeline.detector.input_size
            timed_baseline = TimedBaseline(config, size, threads=baseline_threads)
        samples = _measure_frames(pipeline, recording, inference, timed_baseline, watch)
    if not samples.spent:
        raise ConfigError(f"--source: {WARM_UP} frames or fewer; expected more to measure")
    result: dict[str, Any] = {
        "mode": "pipeline",
        **samples.figures(),
        "open_ms": open_ms,
        "first_result_ms": first_result_ms,
        "rss_mb": pipeline_rss_mb,
    }
    if recording.found is not None:
        result["faces"] = recording.found.figures()
    if timed_baseline is not None:
        result |= timed_baseline.figures(samples.spent)
    return result


def _measure_frames(
    pipeline: Pipeline,
    recording: Recording,
    inference: InferenceAlone,
    timed_baseline: TimedBaseline | None,
    watch: RunWatch,
) -> Samples:
    """Measure what is left of ``recording``, each frame before its own inference alone."""
    samples, looks, reading = Samples(), FullLooks(pipeline.detector), Timer()
    lines, of_all = ProgressLines("fps"), f" of {recording.count}" if recording.count else ""
    for number, frame in enumerate(recording.frames):
        decode = None
        if recording.held_mb is None:
            decode = Spent(frame.capture_ms, reading.spent().cpu_ms)
        lines.show(f"{number}{of_all} frames measured")  # in no measured time
        if timed_baseline is not None and number % BASELINE_EVERY_FRAMES == 0:
            timed_baseline.measure(frame, inference)
        watch.sample()
        state = samples.measure(pipeline, frame, decode, looks)
        samples.inference.append(inference.measure())
        if recording.found is not None:
            recording.found.update(frame.index, [
                (
                    face.track.id,
                    face.track.detection.box,
                    None if face.prediction is None else face.reading_age_ns / 1e9,
                )
                for face in state.faces
            ])  # fmt: skip
        reading = Timer()
    return samples


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


def repeated_frames(decoded: Sequence[Frame], count: int) -> Iterator[Frame]:
    """Yield ``count`` frames, ``decoded`` repeated, with continuing indices and times."""
    span_ns = decoded[-1].sensor_ns - decoded[0].sensor_ns + 40_000_000
    for index in range(count):
        lap, place = divmod(index, len(decoded))
        frame = decoded[place]
        yield replace(frame, index=index, sensor_ns=frame.sensor_ns + lap * span_ns)
