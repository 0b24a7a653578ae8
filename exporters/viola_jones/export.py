"""Exports a cascade file of OpenCV, Viola and Jones's detector, to a model folder.

The artifact is the file itself. Parity is 0 or fails: the faces that the daemon's code finds, from
the bytes that it hashed, against those that OpenCV finds with the file.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from edge.clock import Stopwatch
from edge.errors import ModelError
from edge.validation import file_errors
from edge.vision.detect import detector_for
from edge.vision.golden import golden_frame, golden_picture, network_findings
from edge.vision.inference import Network
from edge.vision.inference.cascade import MIN_NEIGHBOURS, SCALE_FACTOR, CascadeSession
from edge.vision.inference.golden_schema import DetectionGolden
from edge.vision.inference.manifest import Artifact, Limit, Manifest, Output, Parity, Source
from edge.vision.values import Floats, Luma
from exporters.artifacts import detectors, driver
from exporters.artifacts.parity import check_against_limits, sample_pictures
from exporters.artifacts.write import compare_and_write, describe, open_built
from exporters.fetch import PACKAGES

_FILE: Final = "cascade.xml"
_LIMITS: Final = {"boxes": 0.0, "squares": 0.0}

_CITATION: Final = (
    "P. Viola, M. Jones: Robust Real-Time Face Detection. International Journal of Computer Vision"
    " 57(2), 2004; R. Lienhart, J. Maydt: An Extended Set of Haar-like Features for Rapid Object"
    " Detection. ICIP 2002"
)
_LICENCE: Final = (
    "Intel License Agreement for Open Source Computer Vision Library, as in the file (3-clause BSD)"
)
_KNOWN: Final = frozenset(PACKAGES["viola-jones"].files.values())


def export_viola_jones(
    weights: Path,
    out: Path,
    *,
    size: tuple[int, int],
    options: driver.ExportOptions = driver.DEFAULT_OPTIONS,
) -> Manifest:
    """Write the model folder ``out`` from a cascade file; return its manifest.

    Args:
        weights: a cascade file for frontal faces, such as ``haarcascade_frontalface_alt2.xml``.
        out: folder to write; its name becomes the model's.
        size: width and height of the input, pixels.
        options: the defaults of formats and precisions only: there is one artifact.

    Raises:
        ModelError: OpenCV has no cascade classifier, the file or an option is wrong, or it does not
            find the golden face; one line.
    """
    detectors.check_size(size, multiple=1)
    width, height = size
    if list(options.formats) != ["onnx"] or list(options.precisions) != ["fp32"]:
        raise ModelError(
            f"--formats {','.join(options.formats)} --precisions {','.join(options.precisions)}:"
            " a cascade is one file of OpenCV; leave both out"
        )
    with file_errors("--weights", weights, expected="a cascade file of OpenCV (.xml)"):
        content = weights.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    try:
        CascadeSession(content)
    except ModelError as error:
        raise ModelError(f"--weights {weights}: {error}") from error
    draft = driver.Draft(
        stem="cascade",
        float_limits=_LIMITS,
        task="face-detection",
        decoder="viola-jones",
        input=driver.picture_input("picture", size, mono=True, value_range=(0.0, 255.0)),
        outputs={role: Output(tensor=role) for role in _LIMITS},
        source=Source(
            file=weights.name,
            sha256=digest,
            licence=_LICENCE if digest in _KNOWN else driver.UNKNOWN,
            citation=_CITATION,
        ),
        options={
            "size": f"{width}x{height}",
            "mono": True,
            "scale_factor": SCALE_FACTOR,
            "min_neighbours": MIN_NEIGHBOURS,
        },
        golden=detectors.UNKNOWN_GOLDEN,
    )
    artifact = describe(_FILE, content, runtime="opencv", precision="fp32")
    draft = replace(draft, golden=_golden(draft, artifact, content, out.name, size))
    classifier: Any = cv2.CascadeClassifier(str(weights))  # type: ignore[attr-defined,unused-ignore]

    def parity(network: Network) -> Parity:
        pictures = sample_pictures(width, height)
        differ = sum(
            not _are_equal(_original(classifier, each), network.run(each[None]))
            for each in pictures
        )
        metrics = {"pictures_that_differ": float(differ)}
        limits = {"pictures_that_differ": Limit(at_most=0.0)}
        return check_against_limits(metrics, limits, len(pictures))

    return compare_and_write(
        out,
        draft.manifest(out.name, [artifact]),
        {_FILE: content},
        parity=parity,
        findings=network_findings,
        allow_parity_loss=options.allow_parity_loss,
    )


def _golden(
    draft: driver.Draft, artifact: Artifact, content: bytes, name: str, size: tuple[int, int]
) -> DetectionGolden:
    network = open_built(draft.manifest(name, [artifact]), artifact, {_FILE: content})
    detector = detector_for(network, threshold=detectors.THRESHOLD, nms_iou=detectors.NMS_IOU)
    found = detector.detect(golden_frame(golden_picture()[0]), Stopwatch())
    return detectors.golden_of_faces(found, size, int8=False)


def _are_equal(one: Mapping[str, Floats], other: Mapping[str, Floats]) -> bool:
    return all(np.array_equal(one[role], other[role]) for role in one)


def _original(classifier: Any, picture: Luma) -> dict[str, Floats]:
    boxes, squares = classifier.detectMultiScale2(
        picture, scaleFactor=SCALE_FACTOR, minNeighbors=MIN_NEIGHBOURS
    )
    rows = sorted(zip(np.reshape(boxes, (-1, 4)).tolist(), np.ravel(squares).tolist(), strict=True))
    return {
        "boxes": np.array([row for row, _ in rows], np.float32).reshape(-1, 4),
        "squares": np.array([count for _, count in rows], np.float32),
    }
