"""Probes that run on this machine and on emulated arm64; they print JSON or write arrays.

Usage: python tests/arm64/probes.py golden | pipeline | imports | detector FOLDER |
arithmetic FILE.npz VIDEO...
"""

import importlib
import json
import pkgutil
import sys
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.clock import Stopwatch
from edge.config import Config, DetectorConfig, load_config
from edge.vision.detect import open_detector
from edge.vision.golden import golden_frame, golden_picture, network_findings
from edge.vision.inference import bundled_models, load_manifest, open_network
from edge.vision.pipeline import Pipeline
from edge.vision.quality import assess
from edge.vision.resize import resize_area, resize_linear
from edge.vision.sources.decode import open_capture, to_luma
from edge.vision.sources.video import DEMO_CLIP, Video
from edge.vision.values import Box

FRAME = 60  # of the demo clip; it shows one face
RUNTIMES = ("onnx", "tflite")
PRECISIONS = ("", ".int8")


def golden() -> dict[str, list[str]]:
    """Return the findings on the golden face for each bundled artifact."""
    found: dict[str, list[str]] = {}
    for folder in bundled_models():
        manifest = load_manifest(folder)
        for artifact in manifest.artifacts:
            name = f"{folder.name}/{artifact.file}"
            network = open_network(str(folder), task=manifest.task, artifact=artifact.file)
            found[name] = [str(each) for each in network_findings(network)]
    return found


def pipeline() -> dict[str, Any]:
    """Return the faces of one frame of the demo clip, by runtime and precision."""
    faces: dict[str, Any] = {}
    with Video(str(DEMO_CLIP)) as source:
        frame = next(islice((source.read() for _ in range(FRAME + 1)), FRAME, None))
    for precision in PRECISIONS:
        for runtime in RUNTIMES:
            config = load_config(
                settings=[
                    f"detector.artifact=centerface{precision}.{runtime}",
                    f"expression.artifact=expression{precision}.{runtime}",
                    "tracking.appear_s=0.0",
                ],
                environment={},
            )
            state = Pipeline.open(config).step(frame)
            faces[f"{runtime}{precision}"] = [
                {
                    "box": asdict(face.track.detection.box),
                    "score": face.track.detection.score,
                    "quality": asdict(face.quality),
                    "probabilities": face.prediction.probabilities.tolist()
                    if face.prediction
                    else None,
                    "affect": asdict(face.prediction.affect) if face.prediction else None,
                }
                for face in state.faces
            ]
    return faces


def detector(folder: Path) -> dict[str, Any]:
    """Return what a detector's folder says of the golden face and of frames of the demo clip.

    For each artifact: ``findings`` on the golden face, and per frame the ``faces``, as box and
    score.
    """
    answers: dict[str, Any] = {}
    manifest = load_manifest(folder)
    with Video(str(DEMO_CLIP)) as source:
        frames = list(islice((source.read() for _ in range(FRAME + 1)), 0, None, 20))
    for artifact in manifest.artifacts:
        network = open_network(str(folder), task=manifest.task, artifact=artifact.file)
        config = DetectorConfig(model=str(folder), artifact=artifact.file, schedule="every-frame")
        opened = open_detector(config)
        found = [opened.detect(frame, Stopwatch()) for frame in frames]
        answers[artifact.file] = {
            "findings": [str(each) for each in network_findings(network)],
            "faces": [[[asdict(d.box), d.score] for d in faces] for faces in found],
        }
    return answers


NOT_IMPORTED = (
    "exporters.recipes",
    "edge.client.logs.postgresql",
    "edge.client.logs.erasing.postgresql",
    "edge.tools.forward",
)
"""They need PyTorch, psycopg and paho-mqtt, extras that the environments do not have."""


def imports() -> list[str]:
    """Import every module of the packages that needs no further extra; return their names."""
    names = []
    for package in ("edge", "exporters", "benchmarks"):
        for module in pkgutil.walk_packages([package], f"{package}.", onerror=lambda _name: None):
            if module.name.startswith(NOT_IMPORTED) or module.name.endswith("__main__"):
                continue
            importlib.import_module(module.name)
            names.append(module.name)
    return sorted(names)


def arithmetic(videos: list[str]) -> dict[str, Any]:
    """Return the results of every call that creates or changes pixels, and of float sums."""
    cv2.setNumThreads(1)
    results: dict[str, Any] = {}
    random = np.random.default_rng(20261127)
    frame = random.integers(0, 256, (720, 1280), np.uint8)
    face, _ = golden_picture()
    frame[100:340, 200:600] = face
    bgr = random.integers(0, 256, (240, 320, 3), np.uint8)
    sizes = ((320, 192), (640, 384), (48, 48), (64, 64), (32, 32))
    for width, height in sizes:
        name = f"{width}x{height}"
        results[f"resize_linear {name}"] = resize_linear(frame, (width, height))
        results[f"resize_area {name}"] = resize_area(frame, (width, height))
        results[f"INTER_LINEAR {name}"] = cv2.resize(frame, (width, height))
        results[f"INTER_AREA {name}"] = cv2.resize(
            frame, (width, height), interpolation=cv2.INTER_AREA
        )
    results["BGR to grey"] = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    results["limited to full range"] = cv2.LUT(frame, random.integers(0, 256, 256, np.uint8))
    for suffix in (".png", ".jpg"):
        results[f"{suffix} decoded"] = cv2.imdecode(
            cv2.imencode(suffix, bgr)[1], cv2.IMREAD_GRAYSCALE
        )
    (found,) = open_detector(Config().detector).detect(golden_frame(face), Stopwatch())
    quality = assess(face, Box(155.4, 38.9, 86.4, 151.0), found.landmarks, Config().quality)
    results["quality"] = np.array([quality.sharpness, quality.brightness, quality.saturated])
    values = random.normal(0, 3, (64, 8)).astype(np.float32)
    results["float32 sums"] = values.sum(axis=1)
    results["float32 variances"] = values.var(axis=1)
    results["float32 products"] = values @ values.T
    results["float32 exp"] = np.exp(values)
    results["float32 log"] = np.log(np.abs(values))
    for path in (str(DEMO_CLIP), *videos):
        for way, convert in (("luma", 0), ("colour to grey", 1)):
            capture = open_capture(path, cv2.CAP_FFMPEG)
            capture.set(cv2.CAP_PROP_CONVERT_RGB, convert)
            pictures = [capture.read()[1] for _ in range(5)]
            name = f"{Path(path).name}, {way}"
            results[name] = np.stack([to_luma(each) for each in pictures])
    return results


def main(arguments: list[str]) -> None:
    """Run the probe that the arguments name."""
    match arguments:
        case ["golden"]:
            print(json.dumps(golden()))
        case ["pipeline"]:
            print(json.dumps(pipeline()))
        case ["imports"]:
            print(json.dumps(imports()))
        case ["detector", folder]:
            print(json.dumps(detector(Path(folder))))
        case ["arithmetic", file, *videos]:
            np.savez(file, **arithmetic(videos))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
