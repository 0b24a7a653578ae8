"""Exports a YuNet graph, as OpenCV's model zoo publishes it, to a model folder.

The artifacts give the same values as the published graph, with these changes: the input has one
fixed size, and for mono pictures the first convolution is summed over its three equal channels.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge.errors import ModelError
from edge.validation import prefixed
from edge.vision.detect.yunet import PARTS, STRIDES, decode, places_of, roles
from edge.vision.golden import golden_picture
from edge.vision.inference import Network
from edge.vision.inference.golden_schema import DetectionGolden
from edge.vision.inference.manifest import Manifest, Output, Parity, Source
from edge.vision.inference.runtimes import OnnxSession
from edge.vision.resize import resize_linear
from edge.vision.values import Floats, Luma
from exporters.artifacts import detectors, driver, graph
from exporters.artifacts.tflite import convert_float

_FLOAT_LIMITS: Final = dict.fromkeys(roles(), 1e-4)
"""Largest allowed errors, relative to the largest value (see ``artifacts.parity.measure``)."""

_CITATION: Final = (
    "W. Wu, H. Peng, S. Yu: YuNet: A Tiny Millisecond-level Face Detector. Machine Intelligence"
    " Research, 2023"
)
_KNOWN_LICENCES: Final = {
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4": (
        "MIT (face_detection_yunet_2023mar of OpenCV Zoo, (c) 2020 Shiqi Yu)"
    )
}
"""sha256 of a graph -> its licence."""
_EARLY: Final = 12
"""Number of first nodes that stay float in int8: quantised large maps cost the most overlap."""


def export_yunet(
    weights: Path,
    out: Path,
    *,
    size: tuple[int, int],
    mono: bool,
    options: driver.ExportOptions = driver.DEFAULT_OPTIONS,
) -> Manifest:
    """Write the model folder ``out`` from a YuNet graph; return its manifest.

    See ``driver.export`` for when nothing is written.

    Args:
        weights: the published ONNX graph with its twelve outputs, in float.
        out: folder to write; its name becomes the model's.
        size: width and height of the input, multiples of 32 pixels.
        mono: one input channel instead of three.
        options: which artifacts to make, and how.

    Raises:
        ModelError: an option or the file is wrong, or one of the errors of ``driver.export``.
    """
    detectors.check_size(size)
    options.check()
    return driver.export(out, _YuNetCheckpoint(weights, size, mono, options), options)


class _Original:
    """The published graph, unchanged except for its sizes, on pictures of one size."""

    def __init__(self, weights: Path, size: tuple[int, int]) -> None:
        self._place = f"--weights {weights}: cannot run at {size[0]}x{size[1]}"
        loaded, self.sha256 = graph.load_graph(weights)
        stored = {weight.name for weight in loaded.graph.initializer}
        inputs = [each.name for each in loaded.graph.input if each.name not in stored]
        gives = {value.name for value in loaded.graph.output}
        if len(inputs) != 1 or not set(roles()) <= gives:
            raise ModelError(
                f"--weights {weights}: expected a YuNet graph of 2023 of one input and twelve"
                f" outputs, {', '.join(f'{part}_8' for part in PARTS)} and the same of strides 16"
                f" and 32; this one takes {len(inputs)} and gives {', '.join(sorted(gives))[:120]}"
            )
        if {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in loaded.graph.node}:
            raise ModelError(f"--weights {weights}: int8 already; expected the float graph")
        (self.input,) = inputs
        graph.store_constants(loaded)
        with prefixed(f"--weights {weights}"):
            self._channels = graph.input_channels(loaded, self.input)
        if self._channels != 3:
            raise ModelError(f"--weights {weights}: takes {self._channels} channels, expected 3")
        width, height = size
        shapes: dict[str, tuple[int, ...]] = {self.input: (1, 3, height, width)}
        for part, count in PARTS.items():
            for stride in STRIDES:
                places = (height // stride) * (width // stride)
                shapes[f"{part}_{stride}"] = (1, places, count)
        graph.fix_shapes(loaded, shapes)
        graph.drop_overridable_weights(loaded)
        self.model: Any = loaded
        with prefixed(self._place):
            self._session = OnnxSession(graph.finish(copy.deepcopy(loaded)), 1)

    def outputs(self, picture: Luma) -> dict[str, Floats]:
        """Return the outputs by role for a picture of the input's size, uint8 (height, width).

        Raises:
            ModelError: the graph does not run.
        """
        with prefixed(self._place):
            tensor = np.repeat(picture.astype(np.float32)[None, None], 3, axis=1)
            return self._session.run(tensor)


class _YuNetCheckpoint:
    """A YuNet graph, converted (see ``driver.Checkpoint``)."""

    to_lite = staticmethod(convert_float)

    def __init__(
        self, weights: Path, size: tuple[int, int], mono: bool, options: driver.ExportOptions
    ) -> None:
        self._options = options
        self._size = size
        self._original = original = _Original(weights, size)
        width, height = size
        self.draft = driver.Draft(
            stem="yunet",
            float_limits=_FLOAT_LIMITS,
            task="face-detection",
            decoder="yunet",
            input=driver.picture_input(original.input, size, mono=mono, value_range=(0.0, 255.0)),
            outputs={role: Output(tensor=role) for role in roles()},
            source=Source(
                file=weights.name,
                sha256=original.sha256,
                licence=_KNOWN_LICENCES.get(original.sha256, driver.UNKNOWN),
                citation=_CITATION,
            ),
            options={
                "size": f"{width}x{height}",
                "mono": mono,
                **({"board": options.board} if options.int8 else {}),
            },
            golden=self._golden(),
        )
        self._model = original.model
        if mono:
            graph.fold_to_mono(self._model, original.input)
            (value,) = self._model.graph.input
            value.type.tensor_type.shape.dim[1].dim_value = 1
        graph.name_nodes(self._model)
        self.content = graph.finish(self._model)
        self._evaluated: Sequence[Luma] = ()

    def _golden(self) -> DetectionGolden:
        picture, _ = golden_picture()
        width, height = self._size
        found = decode(
            self._original.outputs(resize_linear(picture, self._size)),
            places_of(self._size),
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
            original=self._original.outputs,
            evaluated=self._evaluated,
            limits=_FLOAT_LIMITS,
        )


def float_nodes(model: Any) -> set[str]:
    """Return the names of the nodes that stay float in int8 artifacts, as parity needs.

    The first ones, and from each head's last convolution on.

    Args:
        model: the graph, its nodes named and in topological order.
    """
    nodes = list(model.graph.node)
    heads = [place for place, node in enumerate(nodes) if node.op_type == "Transpose"]
    read = {name for place in heads for name in nodes[place].input}
    return {
        node.name
        for place, node in enumerate(nodes)
        if place < _EARLY or place >= min(heads) or set(node.output) & read
    }
