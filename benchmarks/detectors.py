"""``python -m benchmarks detectors``: compares detectors on a folder of pictures.

Each artifact that passed parity is one row: what it finds of the known faces, how well, what it
finds that is no face, small faces, and its time. Known faces are those of a reference detector, or
annotated ones.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.arguments import add_result_file
from benchmarks.board import OtherLoad, machine
from benchmarks.evaluation.known_faces import Findings, KnownFace, read_boxes
from benchmarks.evaluation.pictures import (
    faces_in,
    float_network,
    photographs,
    read_picture,
    shrunk_face,
)
from benchmarks.show_fps import show_conditions, show_load
from edge.clock import Stopwatch, monotonic_ns, processor_ns
from edge.errors import ConfigError, ModelError
from edge.vision.detect import Detector, detector_for
from edge.vision.inference import bundled_models, find_model, load_manifest
from edge.vision.inference.opening import load_artifact
from edge.vision.inference.runtimes import runtime_installed
from edge.vision.values import Frame, Luma

HEIGHTS: Final = (0.25, 0.18, 0.13, 0.09, 0.065)
"""Heights of shrunk faces, in shares of the picture's height."""

REFERENCE: Final = "centerface-640x384"
NMS_IOU: Final = 0.3  # the daemon's default
_TIMED_MAX: Final = 24  # pictures whose detection is timed, three times each
_ROUNDS: Final = 3

Progress = Callable[[str], None]


def add_detectors(command: argparse.ArgumentParser) -> None:
    """Add the options of ``detectors``."""
    command.add_argument("--images", type=Path, required=True, metavar="DIR")
    command.add_argument(
        "--also", action="append", default=[], metavar="DIR", help="a further model folder"
    )
    command.add_argument(
        "--reference", default=REFERENCE, metavar="NAME",
        help="its float artifact finds the known faces",
    )  # fmt: skip
    command.add_argument(
        "--boxes", type=Path, metavar="CSV", help="known faces: columns file,x,y,width,height"
    )
    command.add_argument("--threshold", type=float, default=0.5, metavar="S", help="score: 0.5")
    command.add_argument("--threads", type=int, default=1, metavar="N", help="of each network")
    add_result_file(command)


def detectors_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run ``detectors`` as the command line says; see ``run_detectors``."""
    if not 1 <= arguments.threads <= 16:
        raise ConfigError(f"--threads {arguments.threads}: expected 1 to 16")
    if not 0 < arguments.threshold < 1:
        raise ConfigError(f"--threshold {arguments.threshold:g}: expected a score between 0 and 1")
    with Console(stderr=True).status("detectors") as status:
        return run_detectors(
            arguments.images,
            also=arguments.also,
            boxes=arguments.boxes,
            reference=arguments.reference,
            threshold=arguments.threshold,
            threads=arguments.threads,
            progress=status.update,
        )


def run_detectors(
    images: Path,
    *,
    also: Sequence[str] = (),
    boxes: Path | None = None,
    reference: str = REFERENCE,
    threshold: float = 0.5,
    threads: int = 1,
    progress: Progress = lambda text: None,
) -> dict[str, Any]:
    """Return the figures of every artifact of the bundled detectors, and the conditions.

    Args:
        images: folder of pictures that show faces.
        also: further model folders.
        boxes: CSV file of annotated faces; None: the faces that ``reference`` finds are known.
        reference: a bundled detector or a model folder, whose float artifact finds the known faces.
        threshold: score a face must exceed, 0..1.
        threads: that a runtime may use for one run.
        progress: called with a line before each step that takes long.

    Raises:
        ConfigError: the folder holds no pictures, or the annotations do not fit it.
        ModelError: a model cannot be trusted.
        InferenceError: a network fails.
    """
    paths = photographs(images)
    conditions = machine()
    other_load = OtherLoad()
    detectors = _detectors(also, threshold, threads)
    annotated = read_boxes(boxes) if boxes else None
    if annotated is not None and (absent := sorted(set(annotated) - {path.name for path in paths})):
        raise ConfigError(f"--boxes {boxes}: {absent[0]} is not in {images}; expected its pictures")
    finder = None
    if annotated is None:
        network = float_network(reference, "face-detection")
        finder = detector_for(network, threshold=threshold, nms_iou=NMS_IOU)
    findings = {name: Findings() for name in detectors}
    timed: list[Luma] = []
    faces = 0
    for number, path in enumerate(paths, start=1):
        progress(f"picture {number} of {len(paths)}")
        picture = read_picture(path)
        if finder is not None:
            known = [KnownFace(face.box, face.landmarks) for face in faces_in(finder, picture)]
        else:
            known = (annotated or {}).get(path.name, [])
        faces += len(known)
        if len(timed) < _TIMED_MAX:
            timed.append(picture)
        _compare(picture, known, number, detectors, findings)
    if not faces:
        raise ConfigError(f"--images {images}: the reference finds no face; expected some")
    progress("milliseconds")
    times = _times(detectors, timed)
    return {
        "benchmark": "detectors",
        "reference": boxes.name if boxes else reference,
        "pictures": len(paths),
        "faces": faces,
        "threshold": threshold,
        "nms_iou": NMS_IOU,
        "rows": {
            name: {**_described(detectors[name]), **findings[name].figures(), **times[name]}
            for name in detectors
        },
        **conditions,
        "threads": threads,
        "models": _models(detectors.values()),
        "other_cpu_percent": other_load.percent(),
    }


def _detectors(also: Sequence[str], threshold: float, threads: int) -> dict[str, Detector]:
    """Return ``MODEL/FILE`` -> detector, for each artifact that passed parity and can run here."""
    found: dict[str, Detector] = {}
    folders = [*bundled_models(), *(find_model(name) for name in also)]
    for folder in dict.fromkeys(folders):
        manifest = load_manifest(folder)
        if manifest.task != "face-detection" or manifest.exporter.options.get("regions"):
            if folder in folders[len(folders) - len(also) :]:
                raise ModelError(f"--also {folder}: expected a detector of full pictures")
            continue
        for artifact in manifest.artifacts:
            if manifest.parity[artifact.file].passed and runtime_installed(artifact.runtime):
                network = load_artifact(folder, manifest, artifact, threads)
                found[f"{manifest.name}/{artifact.file}"] = detector_for(
                    network, threshold=threshold, nms_iou=NMS_IOU
                )
    return found


def _compare(
    picture: Luma,
    known: Sequence[KnownFace],
    seed: int,
    detectors: dict[str, Detector],
    findings: dict[str, Findings],
) -> None:
    """Let each detector search ``picture``, and the picture with its largest face shrunk."""
    canvases = []
    if known:
        largest = max(known, key=lambda face: face.box.height).box
        for share in HEIGHTS:
            shrunk = shrunk_face(picture, largest, round(share * picture.shape[0]), seed)
            if shrunk:
                canvases.append((share, *shrunk))
    for name, detector in detectors.items():
        findings[name].add(known, faces_in(detector, picture))
        for share, canvas, place in canvases:
            findings[name].add_small(share, place, faces_in(detector, canvas))


def _times(detectors: dict[str, Detector], pictures: Sequence[Luma]) -> dict[str, dict[str, float]]:
    """Return the median milliseconds of a picture: passed, of the processor, and per stage."""
    passed: dict[str, list[float]] = {name: [] for name in detectors}
    worked: dict[str, list[float]] = {name: [] for name in detectors}
    stages: dict[str, list[Stopwatch]] = {name: [] for name in detectors}
    for _ in range(_ROUNDS):
        for picture in pictures:
            frame = Frame(picture, 0, 0, "media", 0)
            for name, detector in detectors.items():
                stopwatch = Stopwatch()
                start_ns, start_cpu_ns = monotonic_ns(), processor_ns()
                detector.detect(frame, stopwatch)
                worked[name].append((processor_ns() - start_cpu_ns) / 1e6)
                passed[name].append((monotonic_ns() - start_ns) / 1e6)
                stages[name].append(stopwatch)
    return {
        name: {
            "ms": median(passed[name]),
            "processor_ms": median(worked[name]),
            "network_ms": median(each.stage_ms["detect"] for each in stages[name]),
        }
        for name in detectors
    }


def _described(detector: Detector) -> dict[str, Any]:
    info = detector.info
    return {
        "runtime": info.runtime,
        "precision": info.precision,
        "input": f"{info.width}x{info.height}",
    }


def _models(detectors: Iterable[Detector]) -> dict[str, dict[str, str]]:
    models: dict[str, dict[str, str]] = {}
    for detector in detectors:
        models.setdefault(detector.info.name, {})[detector.info.artifact] = detector.info.sha256
    return models


def show_detectors(result: dict[str, Any], console: Console) -> None:
    """Print a result of ``detectors``: a row for each artifact."""
    table = Table(
        "detector", "recall", "overlap", "points", "false", "cpu ms", "ms",
        title=result["command"], title_justify="left",
    )  # fmt: skip
    small = Table("detector", title="recall of faces by height, share of the picture's height")
    heights = [f"{share:g}" for share in HEIGHTS]
    for height in heights:
        small.add_column(f"{100 * float(height):g} %")
    for each in (table, small):
        for column in each.columns:
            column.no_wrap = True
        for column in each.columns[1:]:
            column.justify = "right"
    for name, row in result["rows"].items():
        lines = name.replace("/", "\n ")  # one line would not fit in 80 columns
        table.add_row(
            lines, _text(row["recall"]), _text(row["iou_mean"]), _text(row["landmark_error"]),
            _text(row["false_positives_per_100"], 1), _text(row["processor_ms"], 1),
            _text(row["ms"], 1),
        )  # fmt: skip
        small.add_row(lines, *(_text(row["recall_by_height"].get(each), 2) for each in heights))
    console.print(table)
    console.print(small)
    console.print(
        f"{result['pictures']} pictures, {result['faces']} known faces, by {result['reference']};"
        f" score above {result['threshold']:g}. Of found faces: overlap; points: error of the"
        " landmarks, share of the face's height. false: in 100 pictures. cpu ms: of the processor",
        highlight=False,
    )
    show_conditions(result, console)
    show_load(result, console)


def _text(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
