"""Builds the three graphs of MTCNN from the state dicts of the package facenet-pytorch.

All take grey levels, 0..255, one channel: the first convolutions are summed over their three
channels, which is exact, as nothing is padded. The first graph holds the whole pyramid: each scale
is made by two matrix products, which take the mean of the pixels that each pixel covers.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from edge.errors import ModelError
from edge.vision.detect.mtcnn import STAGES, cells_of, scales_of
from edge.vision.values import Floats
from exporters.artifacts.layers import Layers

INPUT: Final = "input"
FILES: Final = {"propose": "pnet.pt", "refine": "rnet.pt", "output": "onet.pt"}
"""Network -> its file."""

_MIDDLE, _SCALE = 127.5, 0.0078125  # what the package subtracts, and multiplies with

State = Mapping[str, Floats]


def build_proposing(state: State, size: tuple[int, int], *, channels: int = 1) -> Any:
    """Return the first network over all scales of the pyramid, as an ONNX model.

    Args:
        state: of ``pnet.pt``.
        size: width and height of the input.
        channels: of the input: 1, or 3 as published.

    Raises:
        ModelError: a weight is missing, unknown, or of another shape; one line.
    """
    layers = Layers(_mono(state, channels), "MTCNN's first network (pnet.pt)")
    width, height = size
    value = layers.input(INPUT, channels)
    parts: dict[str, list[str]] = {"scores": [], "offsets": []}
    total = 0
    for number, (_, high, wide) in enumerate(scales_of(size)):
        tag = f"scale{number}."
        rows = layers.constant(f"{tag}rows", _means(height, high))
        columns = layers.constant(f"{tag}columns", np.ascontiguousarray(_means(width, wide).T))
        small = layers.node("MatMul", [rows, value], f"{tag}lower", channels=channels)
        small = layers.node("MatMul", [small, columns], f"{tag}small", channels=channels)
        inner = _normalised(layers, small, tag)
        inner = _convolved(layers, inner, "1", 3, tag)
        inner = _pooled(layers, inner, "1", 2, tag)
        inner = _convolved(layers, inner, "2", 3, tag)
        inner = _convolved(layers, inner, "3", 3, tag)
        scores = layers.conv(inner, "conv4_1", kernel=1, output=f"{tag}conv4_1")
        scores = layers.node("Softmax", [scores], f"{tag}softmax", axis=1)
        offsets = layers.conv(inner, "conv4_2", kernel=1, output=f"{tag}conv4_2")
        cells = int(np.prod(cells_of(high, wide)))
        total += cells
        for role, part, count in (("scores", scores, 2), ("offsets", offsets, 4)):
            last = layers.node("Transpose", [part], f"{part}.last", perm=[0, 2, 3, 1])
            shape = layers.constant(f"{part}.shape", np.array([1, cells, count], np.int64))
            parts[role].append(layers.node("Reshape", [last, shape], f"{part}.rows"))
    if not total:
        raise ModelError(f"--size {width}x{height}: smaller than the smallest face; expected more")
    for role, values in parts.items():
        layers.node("Concat", values, role, axis=1)
    return layers.model(
        {INPUT: (1, channels, height, width)}, {"scores": (1, total, 2), "offsets": (1, total, 4)}
    )


def build_refining(state: State, *, channels: int = 1) -> Any:
    """Return the second network, for one square of 24 pixels, as an ONNX model."""
    layers = Layers(_mono(state, channels), "MTCNN's second network (rnet.pt)")
    value = _normalised(layers, layers.input(INPUT, channels))
    value = _pooled(layers, _convolved(layers, value, "1", 3), "1", 3)
    value = _pooled(layers, _convolved(layers, value, "2", 3), "2", 3)
    value = _dense(layers, _flat(layers, _convolved(layers, value, "3", 2)), "4")
    heads = {"scores": ("dense5_1", 2), "offsets": ("dense5_2", 4)}
    return _ended(layers, value, heads, "refine", channels)


def build_placing(state: State, *, channels: int = 1) -> Any:
    """Return the third network, for one square of 48 pixels, as an ONNX model."""
    layers = Layers(_mono(state, channels), "MTCNN's third network (onet.pt)")
    value = _normalised(layers, layers.input(INPUT, channels))
    value = _pooled(layers, _convolved(layers, value, "1", 3), "1", 3)
    value = _pooled(layers, _convolved(layers, value, "2", 3), "2", 3)
    value = _pooled(layers, _convolved(layers, value, "3", 3), "3", 2)
    value = _dense(layers, _flat(layers, _convolved(layers, value, "4", 2)), "5")
    heads = {"scores": ("dense6_1", 2), "offsets": ("dense6_2", 4), "landmarks": ("dense6_3", 10)}
    return _ended(layers, value, heads, "output", channels)


def _mono(state: State, channels: int) -> State:
    first = state.get("conv1.weight")
    if channels != 1 or first is None or first.ndim != 4 or first.shape[1] != 3:
        return state  # the layer refuses it by name
    return {**state, "conv1.weight": first.sum(axis=1, keepdims=True)}


def _means(inputs: int, outputs: int) -> Floats:
    """Return the matrix (outputs, inputs) that takes the mean of the inputs each output covers."""
    matrix = np.zeros((outputs, inputs), np.float32)
    for place in range(outputs):
        start, end = place * inputs // outputs, -(-(place + 1) * inputs // outputs)
        matrix[place, start:end] = 1 / (end - start)
    return matrix


def _normalised(layers: Layers, value: str, tag: str = "") -> str:
    middle = layers.constant("middle", np.array(_MIDDLE, np.float32))
    scale = layers.constant("scale", np.array(_SCALE, np.float32))
    value = layers.node("Sub", [value, middle], f"{tag}centred")
    return layers.node("Mul", [value, scale], f"{tag}normalised")


def _convolved(layers: Layers, value: str, number: str, kernel: int, tag: str = "") -> str:
    """Add a convolution and the PReLU after it."""
    value = layers.conv(value, f"conv{number}", kernel=kernel, output=f"{tag}conv{number}")
    name, channels = f"prelu{number}.weight", layers.channels(value)
    slope = layers.weight(name, (channels,))
    slope = layers.reshaped(slope, (channels, 1, 1))
    return layers.node("PRelu", [value, slope], f"{tag}prelu{number}")


def _pooled(layers: Layers, value: str, number: str, kernel: int, tag: str = "") -> str:
    return layers.node(
        "MaxPool", [value], f"{tag}pool{number}",
        kernel_shape=[kernel] * 2, strides=[2, 2], ceil_mode=1,
    )  # fmt: skip


def _flat(layers: Layers, value: str) -> str:
    turned = layers.node("Transpose", [value], "turned", perm=[0, 3, 2, 1])
    return layers.node("Flatten", [turned], "flat", axis=1)


def _dense(layers: Layers, value: str, number: str) -> str:
    """Add a dense layer and the PReLU after it."""
    value = layers.dense(value, f"dense{number}")
    slope = layers.weight(f"prelu{number}.weight", (layers.channels(value),))
    return layers.node("PRelu", [value, slope], f"prelu{number}")


def _ended(
    layers: Layers, value: str, heads: Mapping[str, tuple[str, int]], stage: str, channels: int
) -> Any:
    """Add the heads; return the model."""
    for role, (name, count) in heads.items():
        head = layers.dense(value, name)
        if layers.channels(head) != count:
            raise ModelError(f"{name} gives {layers.channels(head)} values, expected {count}")
        kind = "Softmax" if role == "scores" else "Identity"
        layers.node(kind, [head], role, **({"axis": 1} if kind == "Softmax" else {}))
    side = STAGES[stage]
    outputs = {role: (1, count) for role, (_, count) in heads.items()}
    return layers.model({INPUT: (1, channels, side, side)}, outputs)
