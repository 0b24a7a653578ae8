"""Builds timm's EfficientNet from a state dict: the names and shapes of the weights give its size.

M. Tan, Q. Le: EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML 2019.
Two things are not in the weights: how convolutions of stride 2 pad, and the epsilon of the norms.
They differ between timm's ``efficientnet_*`` and ``tf_efficientnet_*``.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from edge.vision.values import Floats
from exporters.artifacts.layers import Layers
from exporters.expression.known import KnownNetwork, Padding

INPUT, OUTPUT = "input", "values"
_STRIDES: Final = (1, 2, 2, 2, 1, 2, 1)
"""Stride of the first block of each stage."""


def is_efficientnet(state: Mapping[str, Floats]) -> bool:
    """Return whether a state dict has the names of timm's EfficientNet."""
    return "conv_stem.weight" in state and "blocks.0.0.conv_dw.weight" in state


class _Builder:
    """Adds the layers of one EfficientNet, and keeps the size of its maps."""

    def __init__(
        self, state: Mapping[str, Floats], size: tuple[int, int], known: KnownNetwork
    ) -> None:
        self.layers = Layers(state, "timm's EfficientNet")
        self._size = size
        self._padding: Padding = known.padding
        self._epsilon = known.norm_epsilon

    def conv(self, value: str, name: str, *, stride: int = 1, groups: int = 1) -> str:
        """Add a convolution with the padding of the network's kind."""
        kernel = self.layers.shape(f"{name}.weight")[-1]
        if self._padding == "same":
            width, height = self._size
            pads = [_same(length, kernel, stride) for length in (height, width)]
            pad = [before for before, _ in pads] + [after for _, after in pads]
        else:
            pad = [(stride - 1 + kernel - 1) // 2] * 4
        width, height = self._size
        self._size = (-(-width // stride), -(-height // stride))
        return self.layers.conv(value, name, kernel=kernel, stride=stride, pad=pad, groups=groups)

    def norm(self, value: str, name: str) -> str:
        """Add a batch norm."""
        return self.layers.norm(value, name, epsilon=self._epsilon)

    def squeezed(self, value: str, name: str) -> str:
        """Add a squeeze-and-excitation: each channel times a gate of all channels' means."""
        layers = self.layers
        mean = layers.node("GlobalAveragePool", [value], f"{name}.mean")
        inner = layers.silu(layers.conv(mean, f"{name}.conv_reduce", kernel=1))
        gate = layers.conv(inner, f"{name}.conv_expand", kernel=1)
        gate = layers.node("Sigmoid", [gate], f"{name}.sigmoid")
        return layers.node("Mul", [value, gate], f"{name}.scaled")

    def block(self, value: str, name: str, stride: int, *, expands: bool) -> str:
        """Add a block: the first stage's without, the others' with a wider middle."""
        layers, before = self.layers, value
        norms = iter(("bn1", "bn2", "bn3"))
        if expands:
            value = self.norm(self.conv(value, f"{name}.conv_pw"), f"{name}.{next(norms)}")
            value = layers.silu(value)
        groups = layers.shape(f"{name}.conv_dw.weight")[0]
        value = self.conv(value, f"{name}.conv_dw", stride=stride, groups=groups)
        value = layers.silu(self.norm(value, f"{name}.{next(norms)}"))
        value = self.squeezed(value, f"{name}.se")
        last = "conv_pwl" if expands else "conv_pw"
        value = self.norm(self.conv(value, f"{name}.{last}"), f"{name}.{next(norms)}")
        if stride == 1 and layers.channels(value) == layers.channels(before):
            value = layers.node("Add", [value, before], f"{name}.sum")
        return value


def build_efficientnet(
    state: Mapping[str, Floats], size: tuple[int, int], known: KnownNetwork
) -> Any:
    """Return the network as an ONNX model, layer by layer as in PyTorch.

    The input is ``INPUT``, float32 (1, 3, height, width), the output ``OUTPUT``, (1, n).

    Args:
        state: tensors by name.
        size: width and height, pixels.
        known: its kind: padding and epsilon of the norms.

    Raises:
        ModelError: a weight is missing, unknown or of another shape; one line.
    """
    builder = _Builder(state, size, known)
    layers = builder.layers
    value = layers.input(INPUT, 3)
    value = layers.silu(builder.norm(builder.conv(value, "conv_stem", stride=2), "bn1"))
    for stage, first in enumerate(_STRIDES):
        pattern = re.compile(rf"blocks\.{stage}\.(\d+)\.")
        count = len({match[1] for name in state if (match := pattern.match(name))})
        for place in range(max(1, count)):
            stride = first if place == 0 else 1
            value = builder.block(value, f"blocks.{stage}.{place}", stride, expands=stage > 0)
    value = layers.silu(builder.norm(builder.conv(value, "conv_head"), "bn2"))
    value = layers.node("GlobalAveragePool", [value], "pooled")
    value = layers.node("Flatten", [value], "features", axis=1)
    # HSEmotion puts the last layer into a Sequential
    last = "classifier.0" if "classifier.0.weight" in state else "classifier"
    values = layers.dense(value, last)
    layers.node("Identity", [values], OUTPUT)
    width, height = size
    outputs = {OUTPUT: (1, layers.channels(values))}
    return layers.model({INPUT: (1, 3, height, width)}, outputs)


def _same(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's padding before and after a side of this length."""
    total = max(0, (-(-length // stride) - 1) * stride + kernel - length)
    return total // 2, total - total // 2
