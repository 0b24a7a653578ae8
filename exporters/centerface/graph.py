"""Reads a CenterFace graph: finds its tensors by role, and rewrites it to run fast.

Takes the published graph (weights listed as inputs, input declared 10x3x32x32, outputs 537 to
540) and graphs made from it: of another size or a free one, mono, batch norms folded, in float16,
with casts, scaling or a transposition of the input, without the last sigmoid.
"""

import copy
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from edge.errors import ModelError
from edge.validation import prefixed
from edge.vision.detect.centerface import CHANNELS, STRIDE
from edge.vision.golden import golden_picture
from edge.vision.inference.runtimes import OnnxSession
from edge.vision.resize import resize_linear
from edge.vision.values import Floats, Luma
from exporters.artifacts import graph
from exporters.artifacts.float32 import drop_float_casts
from exporters.artifacts.input_folding import (
    after_affine,
    fold_input,
    normalise_by,
    take_nchw,
    unused_name,
)

_EARLY_ONNX, _EARLY_LITE = 24, 16
"""Number of first nodes that stay float in int8: quantised large maps cost the most overlap."""

_ROUNDING = 1e-4  # by how much a score may leave 0..1

_INTEGERS = (TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32, TensorProto.INT64)


class CenterFaceGraph:
    """A CenterFace graph from a file, run unchanged except for its declared types and sizes.

    A missing sigmoid of the heat map is added.

    Attributes:
        input: name of the input tensor, float32 NCHW, values 0..255.
        channels: of the input, 3 or 1.
        scaled: whether the graph scales its input before the first convolution.
        logits: whether the sigmoid of the heat map was missing.
        tensors: role -> name of the output tensor.
    """

    def __init__(self, weights: Path, size: tuple[int, int]) -> None:
        self._weights = weights
        self.loaded, self.sha256 = graph.load_graph(weights)
        stored = {weight.name for weight in self.loaded.graph.initializer}
        inputs = [each for each in self.loaded.graph.input if each.name not in stored]
        operators = {node.op_type for node in self.loaded.graph.node}
        self.tensors = _roles(self.loaded)
        if len(inputs) != 1 or not self.tensors or "Conv" not in operators:
            gives = ", ".join(value.name for value in self.loaded.graph.output)
            raise ModelError(
                f"--weights {weights}: expected a CenterFace graph of one input, its four outputs"
                f" of 1, 2, 2 and 10 channels (the published ones are 537 to 540); this one takes"
                f" {len(inputs)} and gives {gives}"
            )
        if "QuantizeLinear" in operators:
            raise ModelError(f"--weights {weights}: int8 already; expected the float graph")
        self.input = inputs[0].name
        self.size = size
        with prefixed(f"--weights {weights}"):
            graph.store_constants(self.loaded)
            _take_float_nchw(self.loaded, inputs[0])
            first = after_affine(self.loaded, self.input, 3)
            self.channels = graph.input_channels(self.loaded, first)
        if self.channels not in (1, 3):
            raise ModelError(
                f"--weights {weights}: takes {self.channels} channels, expected 3 or 1"
            )
        self.scaled = first != self.input
        self._session = self._opened()
        self.logits = self._gives_logits()
        if self.logits:
            _append_sigmoid(self.loaded, self.tensors["heatmap"])
            self._session = self._opened()

    def fixed(self, channels: int) -> Any:
        """Return a copy of the graph with a fixed input size and no other change."""
        model = copy.deepcopy(self.loaded)
        width, height = self.size
        shapes: dict[str, tuple[int, ...]] = {
            self.tensors[role]: (1, count, height // STRIDE, width // STRIDE)
            for role, count in CHANNELS.items()
        }
        graph.fix_shapes(model, {self.input: (1, channels, height, width), **shapes})
        return model

    def maps(self, picture: Luma) -> dict[str, Floats]:
        """Return the maps by role for a picture of the input's size, uint8 (height, width).

        Raises:
            ModelError: the graph does not run, or gives values that are not finite.
        """
        tensor = np.repeat(picture.astype(np.float32)[None, None], self.channels, axis=1)
        with prefixed(self._place):
            outputs = self._session.run(tensor)
        maps = {role: outputs[tensor_name] for role, tensor_name in self.tensors.items()}
        for role, values in maps.items():
            if not np.isfinite(values).all():
                raise ModelError(f"{self._place}: its {role} is not finite; export it again")
        return maps

    @property
    def _place(self) -> str:
        return f"--weights {self._weights}: cannot run at {self.size[0]}x{self.size[1]}"

    def _opened(self) -> OnnxSession:
        with prefixed(self._place):
            return OnnxSession(self.fixed(self.channels).SerializeToString(), 1)

    def _gives_logits(self) -> bool:
        """Return whether the heat map leaves 0..1 on a picture with a face."""
        scores = self.maps(resize_linear(golden_picture()[0], self.size))["heatmap"]
        return bool(scores.min() < -_ROUNDING or scores.max() > 1 + _ROUNDING)


def _roles(model: Any) -> dict[str, str]:
    """Return role -> output tensor; empty if the outputs are not those of a CenterFace."""
    names = [value.name for value in model.graph.output]
    published = ["537", "538", "539", "540"]
    if set(published) <= set(names):
        return dict(zip(CHANNELS, published, strict=True))
    channels = [
        value.type.tensor_type.shape.dim[1].dim_value
        for value in model.graph.output
        if len(value.type.tensor_type.shape.dim) == 4
    ]
    return dict(zip(CHANNELS, names, strict=True)) if channels == [*CHANNELS.values()] else {}


def _take_float_nchw(model: Any, value: Any) -> None:
    """Make the input float32 and NCHW, where the graph casts it or transposes it first."""
    described = value.type.tensor_type
    if described.elem_type in _INTEGERS:
        users = [node for node in model.graph.node if value.name in node.input]
        others = sorted({node.op_type for node in users if node.op_type != "Cast"})
        if others or not users:
            kind = TensorProto.DataType.Name(described.elem_type).lower()
            raise ModelError(
                f"input {value.name} is {kind} and goes into {', '.join(others) or 'nothing'};"
                " expected float32, or a Cast to float"
            )
        described.elem_type = TensorProto.FLOAT
    drop_float_casts(model)
    sizes = [each.dim_value for each in described.shape.dim]
    if len(sizes) == 4 and sizes[3] in (1, 3) and sizes[1] not in (1, 3):
        take_nchw(model, value.name)


def _append_sigmoid(model: Any, name: str) -> None:
    """Put a Sigmoid behind the output ``name``, which keeps its name."""
    logits = unused_name(model, f"{name}_logits")
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, each in enumerate(names):
                if each == name:
                    names[place] = logits
    model.graph.node.append(helper.make_node("Sigmoid", [logits], [name]))


def converted(original: CenterFaceGraph, mono: bool) -> Any:
    """Return the graph of the artifacts: fixed size, weights constant, batch norms folded."""
    model = original.fixed(1 if mono else original.channels)
    mono = mono and original.channels == 3
    graph.drop_overridable_weights(model)
    if original.scaled:
        channels = original.channels
        fold_input(
            model, original.input, normalise_by(channels, np.zeros(1), np.ones(1)), mono=mono
        )
    graph.fold_batch_norms(model)
    if mono and not original.scaled:
        graph.fold_to_mono(model, original.input)
    graph.name_nodes(model)
    return model


def float_nodes(model: Any, tensors: dict[str, str], *, lite: bool) -> set[str]:
    """Return the names of the nodes that stay float in int8 artifacts, as parity needs.

    In TensorFlow Lite, int8 transposed convolutions have one scale for all channels. Overlap with
    the float network, on near-infrared photographs at 640x384, the harder size:

    | format | float nodes | overlap |
    |---|---|---|
    | ONNX | first nodes, all from the first transposed convolution on | 0.974 |
    | ONNX | first nodes, heads | 0.964 |
    | TensorFlow Lite | first nodes, heads, transposed convolutions | 0.972 |
    | TensorFlow Lite | first nodes, heads | 0.945 |

    Args:
        model: the graph, its nodes named and in topological order.
        tensors: role -> output tensor.
        lite: for TensorFlow Lite, where an output's name also stands for its node.
    """
    nodes = list(model.graph.node)
    producers = {output: node for node in nodes for output in node.output}
    heads = [producers[tensor] for tensor in tensors.values()]
    heads += [producers[node.input[0]] for node in heads if node.op_type == "Sigmoid"]
    transposed = [place for place, node in enumerate(nodes) if node.op_type == "ConvTranspose"]
    if not lite:
        neck = nodes[min(transposed, default=len(nodes)) :]
        return {node.name for node in (*nodes[:_EARLY_ONNX], *neck, *heads)}
    kept = (*nodes[:_EARLY_LITE], *heads, *(nodes[place] for place in transposed))
    return {node.name for node in kept} | set(tensors.values())
