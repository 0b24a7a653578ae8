"""``python -m benchmarks parity``: agreement of each artifact with the float network.

It measures the figures of the manifest with the same code, on the user's pictures and board. It
also times one run of each artifact, interleaved. If the pictures are those of the model's
calibration, only the part that was kept back from calibration is used.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.arguments import add_result_file
from benchmarks.board import OtherLoad, machine
from benchmarks.evaluation.detection_agreement import detection_agreement
from benchmarks.evaluation.expression_agreement import expression_agreement
from benchmarks.evaluation.pictures import (
    PICTURES_MIN,
    Pictures,
    face_crops,
    float_network,
    photographs,
    split_pictures,
    squares_round_faces,
)
from benchmarks.evaluation.translation_agreement import translation_agreement
from benchmarks.show_fps import show_conditions, show_load
from edge.errors import ConfigError
from edge.vision.detect import detector_for
from edge.vision.inference import Manifest, Network, find_model, load_manifest
from edge.vision.inference.choice import measure
from edge.vision.inference.folders import read_artifact
from edge.vision.inference.manifest import Artifact
from edge.vision.inference.opening import load_artifact
from edge.vision.inference.runtimes import runtime_installed
from edge.vision.translate.cyclegan import CycleGan
from edge.vision.values import Luma

Progress = Callable[[str], None]

_DETECTOR: Final = "centerface-320x192"
_LOCATOR: Final = "centerface-640x384"
_EXPRESSION: Final = "expression-nir"


def add_parity(command: argparse.ArgumentParser) -> None:
    """Add the arguments of ``parity``."""
    command.add_argument("--model", required=True, metavar="NAME", help="bundled, or a folder")
    command.add_argument("--images", type=Path, required=True, metavar="DIR")
    command.add_argument("--threads", type=int, default=1, metavar="N", help="threads per network")
    add_result_file(command)


def parity_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the result of ``run_parity`` for a command line.

    Raises:
        ConfigError: an argument is wrong.
        AffectEdgeError: as ``run_parity``.
    """
    if not 1 <= arguments.threads <= 16:
        raise ConfigError(f"--threads {arguments.threads}: expected 1 to 16")
    with Console(stderr=True).status("parity") as status:
        return run_parity(
            arguments.model, arguments.images, threads=arguments.threads, progress=status.update
        )


def run_parity(
    model: str, images: Path, *, threads: int = 1, progress: Progress = lambda text: None
) -> dict[str, Any]:
    """Return agreement and run time of every artifact of ``model``, and the conditions.

    Args:
        model: a bundled model or a model folder.
        images: folder of pictures that show faces.
        threads: that a runtime may use for one run.
        progress: called with a line before each step that takes long.

    Raises:
        ConfigError: the folder holds no pictures.
        ModelError: the model cannot be trusted, or has no float artifact.
        InferenceError: an artifact fails.
    """
    folder = find_model(model)
    manifest = load_manifest(folder)
    conditions = machine()
    other_load = OtherLoad()
    reference = float_network(folder, manifest.task)
    pictures, kept_back = _pictures(images, manifest)
    progress(f"faces in {len(pictures)} pictures")
    compare = _comparison(manifest, reference, pictures)
    networks: dict[str, Network] = {}
    rows: dict[str, dict[str, Any]] = {}
    for artifact in manifest.artifacts:
        row = rows[artifact.file] = _described(manifest, artifact)
        if not runtime_installed(artifact.runtime):
            row["missing"] = f"{artifact.runtime} is not installed"
            read_artifact(folder, artifact)  # its hash is checked all the same
            continue
        networks[artifact.file] = load_artifact(folder, manifest, artifact, threads)
        progress(f"agreement of {artifact.file}")
        row["metrics"] = compare(networks[artifact.file])
    progress("milliseconds")
    shape = (1, reference.info.height, reference.info.width)
    blank = np.full(shape, 128, np.uint8)

    def run(network: Network) -> Callable[[], object]:
        return lambda: network.run(blank)

    for file, took in measure({name: run(each) for name, each in networks.items()}).items():
        rows[file]["ms"] = took.processor_ms
    return {
        "benchmark": "parity",
        "model": manifest.name,
        "task": manifest.task,
        "reference": reference.info.artifact,
        "pictures": len(pictures),
        "kept_back_from_calibration": kept_back,
        "artifacts": rows,
        **conditions,
        "threads": threads,
        "models": {manifest.name: {each.file: each.sha256 for each in manifest.artifacts}},
        "other_cpu_percent": other_load.percent(),
    }


def _pictures(images: Path, manifest: Manifest) -> tuple[Sequence[Luma], bool]:
    """Return the pictures to compare on, and whether they were kept back from calibration.

    For a detector of regions: squares round their faces.
    """
    pictures, kept_back = _pictures_of(images, manifest)
    if manifest.exporter.options.get("regions"):
        locator = detector_for(
            float_network(_LOCATOR, "face-detection"), threshold=0.5, nms_iou=0.3
        )
        return squares_round_faces(pictures, locator, manifest.input.width), kept_back
    return pictures, kept_back


def _pictures_of(images: Path, manifest: Manifest) -> tuple[Pictures, bool]:
    paths = photographs(images)
    if manifest.calibration and len(paths) >= PICTURES_MIN:
        split = split_pictures(images, "--images")
        if split.record == manifest.calibration:
            return split.evaluate, True
    return Pictures(paths), False


def _comparison(
    manifest: Manifest, reference: Network, pictures: Sequence[Luma]
) -> Callable[[Network], dict[str, float]]:
    """Return a function that measures an artifact's agreement with ``reference``."""
    if manifest.task == "face-detection":
        return lambda network: detection_agreement(reference, network, pictures)
    detector = detector_for(float_network(_DETECTOR, "face-detection"), threshold=0.5, nms_iou=0.3)
    size = (reference.info.width, reference.info.height)
    if manifest.task == "facial-expression":
        margin = manifest.input.crop.margin if manifest.input.crop else 0.0
        faces = list(face_crops(pictures, detector, size, margin))
        return lambda network: expression_agreement(reference, network, faces)
    expression = float_network(_EXPRESSION, "facial-expression")
    crop = expression.manifest.input.crop
    faces = list(face_crops(pictures, detector, size, crop.margin if crop else 0.0))

    def translated(network: Network) -> list[Luma]:
        translator = CycleGan(network)
        return [translator.translate(face) for face in faces]

    known = translated(reference)
    return lambda network: translation_agreement(known, translated(network), expression)


def _described(manifest: Manifest, artifact: Artifact) -> dict[str, Any]:
    parity = manifest.parity[artifact.file]
    return {
        "runtime": artifact.runtime,
        "precision": artifact.precision,
        "bytes": artifact.bytes,
        "sha256": artifact.sha256,
        "ms": None,
        "metrics": {},
        "at_export": {"passed": parity.passed, "samples": parity.samples, **parity.metrics},
    }


def show_parity(result: dict[str, Any], console: Console) -> None:
    """Print a result of ``parity``: a row per figure, a column per artifact."""
    artifacts = result["artifacts"]
    table = Table("figure", *artifacts, title=result["command"], title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    names = dict.fromkeys(name for row in artifacts.values() for name in row["metrics"])
    for name in names:
        cells = [row["metrics"].get(name) for row in artifacts.values()]
        table.add_row(name, *("-" if cell is None else f"{cell:.4g}" for cell in cells))
    times = [row["ms"] for row in artifacts.values()]
    table.add_row("milliseconds", *("-" if each is None else f"{each:.2f}" for each in times))
    table.add_row("bytes", *(str(row["bytes"]) for row in artifacts.values()))
    passed = [row["at_export"]["passed"] for row in artifacts.values()]
    table.add_row("parity at export", *("passed" if each else "FAILED" for each in passed))
    console.print(table)
    kept = ", kept back from calibration" if result["kept_back_from_calibration"] else ""
    console.print(
        f"against {result['reference']}, over {result['pictures']} pictures{kept}", highlight=False
    )
    show_conditions(result, console)
    show_load(result, console)
