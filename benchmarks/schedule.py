"""``python -m benchmarks schedule``: what region-of-interest detection gains, and what it loses.

Every frame goes through four pipelines in turn: every frame in full by the float network at
640x384, which is the reference; every frame in full at 320x192; and regions with full looks in
either size. Sources are the demo clip and, with ``--images``, moving scenes made from photographs.
"""

import argparse
import itertools
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import cv2
from rich.console import Console
from rich.table import Table

from benchmarks.arguments import add_configuration, add_result_file, configuration_of
from benchmarks.board import OtherLoad, measurement_conditions
from benchmarks.evaluation.face_agreement import FaceAgreement
from benchmarks.evaluation.motion import RATE_HZ, scenes
from benchmarks.evaluation.pictures import Pictures, float_network, photographs
from benchmarks.figures import quantiles
from benchmarks.pipeline import read_frames
from benchmarks.show_fps import show_conditions, show_load
from edge import clock
from edge.clock import Stopwatch
from edge.config import Config, DemoSource
from edge.errors import ConfigError
from edge.vision.detect import Detector, detector_for, open_detector
from edge.vision.expression import open_expression
from edge.vision.pipeline import Pipeline
from edge.vision.regions import open_finder
from edge.vision.values import Detection, Frame, FrameState

_SMALL: Final = "centerface-320x192"
_LARGE: Final = "centerface-640x384"
REFERENCE: Final = "every frame, 640x384, float"

VARIANTS: Final[dict[str, dict[str, str]]] = {
    REFERENCE: {"model": _LARGE, "artifact": "centerface.onnx", "schedule": "every-frame"},
    "every frame, 320x192": {"model": _SMALL, "schedule": "every-frame"},
    "regions and full 640x384": {"model": _LARGE, "schedule": "region"},
    "regions and full 320x192": {"model": _SMALL, "schedule": "region"},
}
"""The compared pipelines: name -> keys of ``[detector]``."""

ALL_PHOTOGRAPHS: Final = "all photographs"

ROWS: Final = (
    "faces", "recall", "iou_mean", "extra_faces", "landmark_jitter", "identity_switches",
    "stable_label", "valence_ccc", "arousal_ccc", "delay_max_s", "full_looks_per_1000",
    "ms_p50", "ms_p99", "cpu_ms_mean",
)  # fmt: skip


class _Counted:
    """A detector that counts its calls (see ``edge.vision.detect.Detector``)."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.info, self.golden = detector.info, detector.golden
        self.input_size = detector.input_size
        self.calls = 0

    @property
    def averaged(self) -> Detector:
        return self._detector.averaged

    def detect(self, frame: Frame, stopwatch: Stopwatch) -> tuple[Detection, ...]:
        self.calls += 1
        return self._detector.detect(frame, stopwatch)


class _Runner:
    """One pipeline with its times and its agreement with the reference, by kind of scene."""

    def __init__(self, config: Config) -> None:
        self._full = _Counted(open_detector(config.detector))
        expression = open_expression(config.expression)
        finder = open_finder(config, self._full)
        self._pipeline = Pipeline(self._full, expression, config, finder=finder)
        self._agreement: dict[str, FaceAgreement] = defaultdict(FaceAgreement)
        self._ms: dict[str, list[float]] = defaultdict(list)
        self._cpu_ms: dict[str, list[float]] = defaultdict(list)
        self._looks: dict[str, int] = defaultdict(int)

    def step(self, kind: str, frame: Frame) -> FrameState:
        before_ns, start_ns, looks = clock.processor_ns(), clock.monotonic_ns(), self._full.calls
        state = self._pipeline.step(frame)
        spent_ms, cpu_ms = clock.elapsed_ms(start_ns), (clock.processor_ns() - before_ns) / 1e6
        for name in _kinds(kind):
            self._ms[name].append(spent_ms)
            self._cpu_ms[name].append(cpu_ms)
            self._looks[name] += self._full.calls - looks
        return state

    def compare(self, kind: str, reference: FrameState, state: FrameState) -> None:
        time_s = state.frame.sensor_ns / 1e9
        for name in _kinds(kind):
            self._agreement[name].add(time_s, reference.faces, state.faces)

    def end_scene(self) -> None:
        for each in self._agreement.values():
            each.end_scene()

    def figures(self) -> dict[str, dict[str, Any]]:
        rows = {}
        for kind, agreement in self._agreement.items():
            times, frames = quantiles(self._ms[kind]), len(self._ms[kind])
            rows[kind] = {
                "frames": frames,
                **agreement.figures(),
                "full_looks_per_1000": 1000 * self._looks[kind] / frames,
                "ms_p50": times["p50"],
                "ms_p99": times["p99"],
                "cpu_ms_mean": statistics.fmean(self._cpu_ms[kind]),
            }
        return rows


def _kinds(kind: str) -> tuple[str, ...]:
    """Return the rows of a scene: a few photographs of one kind of motion say little on labels."""
    return (kind,) if kind == "demo" else (kind, ALL_PHOTOGRAPHS)


def add_schedule(command: argparse.ArgumentParser) -> None:
    """Add the arguments of ``schedule``."""
    command.add_argument("--images", type=Path, metavar="DIR", help="photographs to set in motion")
    command.add_argument("--pictures", type=int, metavar="N", help="photographs; all by default")
    add_result_file(command)
    add_configuration(command)


def schedule_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the result of ``run_schedule`` for a command line.

    Raises:
        ConfigError: an argument is wrong.
        AffectEdgeError: as ``run_schedule``.
    """
    if arguments.pictures is not None and arguments.pictures < 2:
        raise ConfigError(f"--pictures {arguments.pictures}: expected 2 or more")
    config = configuration_of(arguments)
    with Console(stderr=True).status("schedule") as status:
        return run_schedule(
            config,
            images=arguments.images,
            pictures_max=arguments.pictures,
            progress=status.update,
        )


def run_schedule(
    config: Config,
    *,
    images: Path | None,
    pictures_max: int | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Return the figures of each pipeline by kind of scene, and the conditions.

    Args:
        config: for all pipelines; ``detector.full_every_s`` for those with regions.
        images: folder of photographs with faces; None: the demo clip alone.
        pictures_max: number of photographs to use, spread over the folder; None: all.
        progress: called with a line before each scene.

    Raises:
        ConfigError: the folder holds too few pictures.
        ModelError: a configured network cannot be trusted.
    """
    cv2.setNumThreads(1)
    pictures = _pictures(images, pictures_max)
    conditions = measurement_conditions(config)
    other_load = OtherLoad()
    runners = {
        name: _Runner(
            config.model_copy(update={"detector": config.detector.model_copy(update=keys)})
        )
        for name, keys in VARIANTS.items()
    }
    start_ns = 0
    for number, (kind, frames) in enumerate(_all_scenes(pictures)):
        progress(f"scene {number + 1}: {kind}")
        start_ns = _run_scene(runners, kind, frames, number, start_ns)
    return {
        "benchmark": "schedule",
        "reference": REFERENCE,
        "full_every_s": config.detector.full_every_s,
        "pictures": len(pictures),
        "variants": {name: runner.figures() for name, runner in runners.items()},
        **conditions,
        "other_cpu_percent": other_load.percent(),
    }


def _pictures(images: Path | None, count: int | None) -> Pictures:
    if images is None:
        return Pictures(())
    paths = photographs(images, least=2)
    if count is not None and count < len(paths):
        paths = [paths[place * len(paths) // count] for place in range(count)]
    return Pictures(paths)


def _all_scenes(pictures: Pictures) -> Iterator[tuple[str, Iterator[Frame]]]:
    """Yield the name and the frames of each scene, sensor times from 0."""
    yield "demo", read_frames(Config(source=DemoSource()), None)
    locator = detector_for(float_network(_LARGE, "face-detection"), threshold=0.5, nms_iou=0.3)
    for scene in scenes(pictures, locator):
        yield (
            scene.name,
            (
                Frame(luma, number, round(number * 1e9 / RATE_HZ), "media", 0)
                for number, luma in enumerate(scene.frames())
            ),
        )


def _run_scene(
    runners: dict[str, _Runner], kind: str, frames: Iterator[Frame], repeat: int, start_ns: int
) -> int:
    """Run a scene through all pipelines, interleaved; return when the next one may begin."""
    last_ns = start_ns
    names = itertools.cycle(range(len(runners)))
    for each in frames:
        last_ns = start_ns + each.sensor_ns
        frame = replace(each, sensor_ns=last_ns, repeat=repeat)
        first = next(names)  # which one runs first changes: it finds the frame outside the cache
        order = [*list(runners)[first:], *list(runners)[:first]]
        states = {name: runners[name].step(kind, frame) for name in order}
        for name, runner in runners.items():
            runner.compare(kind, states[REFERENCE], states[name])
    for runner in runners.values():
        runner.end_scene()
    return last_ns + 10**9


def show_schedule(result: dict[str, Any], console: Console) -> None:
    """Print a result of ``schedule``: a table for each kind of scene."""
    variants = result["variants"]
    for kind in variants[REFERENCE]:
        rows = {name: figures[kind] for name, figures in variants.items()}
        frames = rows[REFERENCE]["frames"]
        table = Table(f"{kind}, {frames} frames", *rows, title_justify="left")
        for column in table.columns[1:]:
            column.justify = "right"
        for figure in ROWS:
            cells = (row[figure] for row in rows.values())
            table.add_row(figure, *("-" if cell is None else f"{cell:.4g}" for cell in cells))
        console.print(table)
    console.print(
        f"against {result['reference']}; full looks every {result['full_every_s']:g} s;"
        f" {result['pictures']} photographs",
        highlight=False,
    )
    show_conditions(result, console)
    show_load(result, console)
