"""Reads a CenterFace graph: finds its tensors by role, and rewrites it to run fast.

Takes the published graph (weights listed as inputs, input declared 10x3x32x32, outputs 537 to
540) and graphs made from it: of another size or a free one, mono, batch norms folded.
"""

import copy
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import ModelError
from edge.validation import prefixed
from edge.vision.detect.centerface import CHANNELS, STRIDE
from edge.vision.inference.runtimes import OnnxSession
from edge.vision.values import Floats, Luma
from exporters.artifacts import graph

_EARLY_ONNX, _EARLY_LITE = 24, 16
"""Number of first nodes that stay float in int8: quantised large maps cost the most overlap."""


class CenterFaceGraph:
    """A CenterFace graph from a file, run unchanged except for its declared sizes.

    Attributes:
        input: name of the input tensor.
        channels: of the input, 3 or 1.
        tensors: role -> name of the output tensor.
    """

    def __init__(self, weights: Path, size: tuple[int, int]) -> None:
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
        self.channels = graph.input_channels(self.loaded, self.input)
        if self.channels not in (1, 3):
            raise ModelError(
                f"--weights {weights}: takes {self.channels} channels, expected 3 or 1"
            )
        self.size = size
        self._session = _session(self.fixed(self.channels), weights, size)

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
        """Return the maps by role for a picture of the input's size, uint8 (height, width)."""
        tensor = np.repeat(picture.astype(np.float32)[None, None], self.channels, axis=1)
        outputs = self._session.run(tensor)
        return {role: outputs[tensor_name] for role, tensor_name in self.tensors.items()}


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


def _session(model: Any, weights: Path, size: tuple[int, int]) -> OnnxSession:
    with prefixed(f"--weights {weights}: cannot run at {size[0]}x{size[1]}"):
        return OnnxSession(model.SerializeToString(), 1)


def converted(original: CenterFaceGraph, mono: bool) -> Any:
    """Return the graph of the artifacts: fixed size, weights constant, batch norms folded."""
    model = original.fixed(1 if mono else 3)
    graph.drop_overridable_weights(model)
    graph.fold_batch_norms(model)
    if mono and original.channels == 3:
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
