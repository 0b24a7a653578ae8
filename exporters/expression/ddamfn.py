"""Builds DDAMFN from a state dict of the public code (DDAMFN++): features, attention, classifier.

S. Zhang et al.: A Dual-Direction Attention Mixed Feature Network for Facial Expression Recognition.
Electronics, 2023. Its training also uses features and attention maps; only the logits are needed.
Where the code joins rows and columns for a 1x1 convolution and separates them again, this applies
the convolution to each: the same values.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from edge.errors import ModelError
from edge.vision.values import Floats
from exporters.artifacts.layers import Layers

INPUT, LOGITS = "input", "logits"
SIDE: Final = 112
"""The last maps must be 7x7."""

_STRIDES: Final = {2: 2, 4: 2, 6: 2}
"""Place of a mixed depthwise block among the features -> its stride; the residual ones have 1."""
_UNUSED: Final = ("bn.", "*.conv_dw.bn.", "*.conv_dw.prelu.", "*.CoordAtt.Linear.")
"""Layers that the code makes and does not use."""


def is_ddamfn(state: Mapping[str, Floats]) -> bool:
    """Return whether a state dict has the names of DDAMFN."""
    return "cat_head0.CoordAtt.conv1.weight" in state and "features.0.conv.weight" in state


def build_ddamfn(state: Mapping[str, Floats], size: tuple[int, int]) -> Any:
    """Return the network as an ONNX model, layer by layer as in PyTorch.

    The input is ``INPUT``, float32 (1, 3, 112, 112), the output ``LOGITS``, (1, classes).

    Args:
        state: tensors by name.
        size: width and height; 112 each.

    Raises:
        ModelError: another size, or a weight is missing, unknown or of another shape; one line.
    """
    if size != (SIDE, SIDE):
        raise ModelError(f"--size {size[0]}x{size[1]}: DDAMFN takes {SIDE}x{SIDE} only")
    layers = Layers(state, "DDAMFN (DDAMFN++ of the public code)")
    if "cat_head0.CoordAtt.Linear_h.conv.weight" not in state:
        raise ModelError(
            "cat_head0.CoordAtt.Linear_h.conv.weight is missing: the code of the first version of"
            " DDAMFN; export that one to ONNX"
        )
    value = layers.input(INPUT, 3)
    value = _activated(layers, value, "features.0", kernel=3, stride=2, pad=1)
    groups = layers.channels(value)
    value = _activated(layers, value, "features.1", kernel=3, pad=1, groups=groups)
    for place in range(2, 8):
        name = f"features.{place}"
        if place in _STRIDES:
            value = _mixed(layers, state, value, name, stride=_STRIDES[place])
            continue
        for block in range(_count(state, rf"{re.escape(name)}\.model\.(\d+)\.")):
            inner = _mixed(layers, state, value, f"{name}.model.{block}", stride=1)
            value = layers.node("Add", [value, inner], f"{name}.model.{block}.sum")
    value = _activated(layers, value, "features.8", kernel=1)
    attention = ""
    for head in range(_count(state, r"cat_head(\d+)\.")):
        found = _attention(layers, value, f"cat_head{head}.CoordAtt")
        attention = (
            layers.node("Max", [attention, found], f"cat_head{head}.max") if attention else found
        )
    value = layers.node("Mul", [value, attention], "attended")
    groups = layers.channels(value)
    value = _linear(layers, value, "Linear", kernel=7, groups=groups)
    value = layers.node("Flatten", [value], "flat", axis=1)
    values = layers.dense(value, "fc")
    layers.node("Identity", [values], LOGITS)
    outputs = {LOGITS: (1, layers.channels(values))}
    return layers.model({INPUT: (1, 3, SIDE, SIDE)}, outputs, unused=_UNUSED)


def _linear(layers: Layers, value: str, name: str, **options: Any) -> str:
    """Add a convolution and its norm."""
    return layers.norm(layers.conv(value, f"{name}.conv", **options), f"{name}.bn")


def _activated(layers: Layers, value: str, name: str, **options: Any) -> str:
    """Add a convolution, its norm and a PReLU."""
    return layers.prelu(_linear(layers, value, name, **options), f"{name}.prelu")


def _mixed(
    layers: Layers, state: Mapping[str, Floats], value: str, name: str, *, stride: int
) -> str:
    """Add a block: wider, depthwise convolutions of several kernels, attention, narrower."""
    value = _activated(layers, value, f"{name}.conv", kernel=1)
    mixed = f"{name}.conv_dw.mixed_depthwise_conv"
    count = _count(state, rf"{re.escape(mixed)}\.(\d+)\.")
    widths = [layers.shape(f"{mixed}.{part}.weight")[0] for part in range(count)]
    total = layers.channels(value)
    if sum(widths) != total:
        raise ModelError(f"{mixed} takes {sum(widths)} channels, expected {total}")
    parts, start = [], 0
    for part, width in enumerate(widths):
        bounds = [
            layers.constant(f"{mixed}.{part}.{word}", np.array([number], np.int64))
            for word, number in (("from", start), ("to", start + width), ("axis", 1))
        ]
        cut = layers.node("Slice", [value, *bounds], f"{mixed}.{part}.cut", channels=width)
        kernel = layers.shape(f"{mixed}.{part}.weight")[-1]
        parts.append(
            layers.conv(
                cut, f"{mixed}.{part}", kernel=kernel, stride=stride, pad=kernel // 2, groups=width
            )
        )
        start += width
    value = layers.node("Concat", parts, f"{mixed}.joined", channels=total, axis=1)
    rows = layers.node("ReduceMean", [value], f"{name}.rows", axes=[3], keepdims=1)
    columns = layers.node("ReduceMean", [value], f"{name}.columns", axes=[2], keepdims=1)
    gates = _gates(layers, rows, columns, f"{name}.CA")
    value = layers.node("Mul", [value, gates[1]], f"{name}.across")
    value = layers.node("Mul", [value, gates[0]], f"{name}.attended")
    return _linear(layers, value, f"{name}.project", kernel=1)


def _attention(layers: Layers, value: str, name: str) -> str:
    """Add a head: an attention map from a learnt mean of each row and of each column."""
    groups = layers.channels(value)
    rows = _linear(layers, value, f"{name}.Linear_h", kernel=(1, 7), groups=groups)
    columns = _linear(layers, value, f"{name}.Linear_w", kernel=(7, 1), groups=groups)
    down, across = _gates(layers, rows, columns, name)
    return layers.node("Mul", [across, down], f"{name}.map")


def _gates(layers: Layers, rows: str, columns: str, name: str) -> tuple[str, str]:
    """Add the gates of rows and columns, from (1, c, h, 1) and (1, c, 1, w)."""
    gates = []
    for means, last in ((rows, "conv2"), (columns, "conv3")):
        inner = f"{name}.{last}.inner"
        narrow = layers.conv(means, f"{name}.conv1", kernel=1, output=inner)
        narrow = layers.norm(narrow, f"{name}.bn1", output=f"{inner}.norm")
        narrow = layers.node("HardSwish", [narrow], f"{inner}.swish")
        wide = layers.conv(narrow, f"{name}.{last}", kernel=1)
        gates.append(layers.node("Sigmoid", [wide], f"{name}.{last}.gate"))
    return gates[0], gates[1]


def _count(state: Mapping[str, Floats], pattern: str) -> int:
    """Return how many different numbers the names have at a place."""
    numbers = re.compile(pattern)
    return max(1, len({match[1] for name in state if (match := numbers.match(name))}))
