"""Builds RetinaFace's graph from a state dict of the public PyTorch code.

A MobileNetV1 of any width (``body.stage1.*``) or a ResNet with bottlenecks (``body.layer1.*``), a
feature pyramid at strides 8, 16 and 32, a context module (SSH) and three heads at each. The names
and shapes of the weights give the backbone and the widths.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from edge.errors import ModelError
from edge.vision.detect.retinaface import ROLES, STRIDES, count_anchors
from edge.vision.values import Floats
from exporters.artifacts.layers import Layers

INPUT: Final = "input"
"""Blue, green and red minus ``MEAN``."""

MEAN: Final = (104.0, 117.0, 123.0)
"""Of blue, green and red, 0..255: what the public code subtracts."""

_ANCHORS: Final = 2  # at each place of each stride
_NARROW: Final = 64
"""Pyramids of at most this width have leaky ReLUs, wider ones plain ReLUs."""
_SLOPE: Final = 0.1
_STAGES: Final = {"stage1": (1, 2, 1, 2, 1), "stage2": (2, 1, 1, 1, 1, 1), "stage3": (2, 1)}
"""Strides of the depthwise blocks of MobileNetV1."""
HEADS: Final = {"boxes": "BboxHead", "scores": "ClassHead", "landmarks": "LandmarkHead"}
"""Output role -> name of its heads in the state dict."""
_UNUSED: Final = ("body.fc.", "body.avg")
"""The backbone's own classifier, which some checkpoints keep."""


def backbone_of(state: Mapping[str, Floats]) -> str:
    """Return the name of the backbone, such as ``mobilenet0.25`` or ``resnet50``.

    Raises:
        ModelError: it is neither, or the state dict is another network's.
    """
    first = state.get("body.stage1.0.0.weight")
    if first is not None and first.ndim == 4:
        return f"mobilenet{first.shape[0] / 32:g}"
    if "body.layer1.0.conv3.weight" in state:
        blocks = sum(_count(state, f"body.layer{stage}") for stage in (1, 2, 3, 4))
        return f"resnet{3 * blocks + 2}"
    raise ModelError(
        "neither body.stage1.0.0.weight nor body.layer1.0.conv3.weight; expected the state dict of"
        " RetinaFace with MobileNet or ResNet-50 (Pytorch_Retinaface)"
    )


def build(state: Mapping[str, Floats], size: tuple[int, int]) -> Any:
    """Return RetinaFace as an ONNX model, layer by layer as in PyTorch.

    The input is ``INPUT``, float32 (1, 3, height, width). The outputs are those of the decoder, one
    row for each anchor: scores of no face and face before the softmax, box and landmark offsets.

    Args:
        state: tensors by name.
        size: width and height, multiples of 32 pixels.

    Raises:
        ModelError: a weight is missing, unknown, or of another shape; one line.
    """
    layers = Layers(state, "RetinaFace")
    value = layers.input(INPUT, 3)
    if backbone_of(state).startswith("mobilenet"):
        features = _mobilenet(layers, value)
    else:
        features = _resnet(layers, value, state)
    width, height = size
    for role, name in HEADS.items():
        _check_head(layers, name, ROLES[role])
    anchors = count_anchors(size)
    rows: dict[str, list[str]] = {role: [] for role in HEADS}
    for level, feature in enumerate(_pyramid(layers, features)):
        context = _context(layers, feature, f"ssh{level + 1}")
        stride = STRIDES[level]
        places = (height // stride) * (width // stride) * _ANCHORS
        for role, name in HEADS.items():
            head = layers.conv(context, f"{name}.{level}.conv1x1", kernel=1)
            last = layers.node("Transpose", [head], f"{head}.last", perm=[0, 2, 3, 1])
            shape = layers.constant(f"{head}.shape", np.array([1, places, ROLES[role]], np.int64))
            rows[role].append(layers.node("Reshape", [last, shape], f"{head}.rows"))
    for role, parts in rows.items():
        layers.node("Concat", parts, role, axis=1)
    outputs = {role: (1, anchors, ROLES[role]) for role in rows}
    return layers.model({INPUT: (1, 3, height, width)}, outputs, unused=_UNUSED)


def _check_head(layers: Layers, name: str, values: int) -> None:
    for level in range(len(STRIDES)):
        found = layers.shape(f"{name}.{level}.conv1x1.weight")[0]
        if found != _ANCHORS * values:
            raise ModelError(
                f"{name}.{level} gives {found} values at each place, expected {_ANCHORS * values}:"
                f" {values} for each of {_ANCHORS} anchors"
            )


def _mobilenet(layers: Layers, value: str) -> list[str]:
    """Add the backbone; return its features at strides 8, 16 and 32."""
    value = _convolved(layers, value, "body.stage1.0", stride=2, slope=_SLOPE)
    features = []
    for stage, strides in _STAGES.items():
        first = 1 if stage == "stage1" else 0
        for place, stride in enumerate(strides, start=first):
            block = f"body.{stage}.{place}"
            groups = layers.shape(f"{block}.0.weight")[0]
            value = layers.conv(value, f"{block}.0", kernel=3, stride=stride, pad=1, groups=groups)
            value = layers.relu(layers.norm(value, f"{block}.1"), _SLOPE)
            value = layers.conv(value, f"{block}.3", kernel=1)
            value = layers.relu(layers.norm(value, f"{block}.4"), _SLOPE)
        features.append(value)
    return features


def _resnet(layers: Layers, value: str, state: Mapping[str, Floats]) -> list[str]:
    """Add the backbone; return its features at strides 8, 16 and 32."""
    value = layers.conv(value, "body.conv1", kernel=7, stride=2, pad=3)
    value = layers.relu(layers.norm(value, "body.bn1"))
    value = layers.node(
        "MaxPool", [value], "body.maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4
    )
    features = []
    for stage in (1, 2, 3, 4):
        for place in range(_count(state, f"body.layer{stage}")):
            block = f"body.layer{stage}.{place}"
            stride = 2 if stage > 1 and place == 0 else 1
            inner = layers.relu(
                layers.norm(layers.conv(value, f"{block}.conv1", kernel=1), f"{block}.bn1")
            )
            inner = layers.conv(inner, f"{block}.conv2", kernel=3, stride=stride, pad=1)
            inner = layers.relu(layers.norm(inner, f"{block}.bn2"))
            inner = layers.norm(layers.conv(inner, f"{block}.conv3", kernel=1), f"{block}.bn3")
            if f"{block}.downsample.0.weight" in state:
                value = layers.conv(value, f"{block}.downsample.0", kernel=1, stride=stride)
                value = layers.norm(value, f"{block}.downsample.1")
            value = layers.relu(layers.node("Add", [inner, value], f"{block}.sum"))
        features.append(value)
    return features[1:]


def _pyramid(layers: Layers, features: list[str]) -> list[str]:
    """Add the feature pyramid; return its levels at strides 8, 16 and 32."""
    slope = _slope(layers)
    levels = []
    for place, feature in enumerate(features, start=1):
        value = layers.conv(feature, f"fpn.output{place}.0", kernel=1)
        levels.append(layers.relu(layers.norm(value, f"fpn.output{place}.1"), slope))
    for place in (2, 1):
        twice = layers.constant(f"fpn.twice{place}", np.array([1, 1, 2, 2], np.float32))
        larger = layers.node(
            "Resize", [levels[place], "", twice], f"fpn.enlarged{place}",
            mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )  # fmt: skip
        value = layers.node("Add", [levels[place - 1], larger], f"fpn.sum{place}")
        levels[place - 1] = _convolved(layers, value, f"fpn.merge{place}", slope=slope)
    return levels


def _context(layers: Layers, value: str, name: str) -> str:
    """Add a context module: three branches of convolutions, concatenated."""
    slope = _slope(layers)
    branches = [_convolved(layers, value, f"{name}.conv3X3", slope=None)]
    middle = _convolved(layers, value, f"{name}.conv5X5_1", slope=slope)
    branches.append(_convolved(layers, middle, f"{name}.conv5X5_2", slope=None))
    middle = _convolved(layers, middle, f"{name}.conv7X7_2", slope=slope)
    branches.append(_convolved(layers, middle, f"{name}.conv7x7_3", slope=None))
    width = sum(layers.channels(branch) for branch in branches)
    joined = layers.node("Concat", branches, f"{name}.joined", channels=width, axis=1)
    return layers.relu(joined)


def _convolved(
    layers: Layers, value: str, name: str, *, stride: int = 1, slope: float | None
) -> str:
    """Add a 3x3 convolution with its norm, and a (leaky) ReLU unless ``slope`` is None."""
    value = layers.conv(value, f"{name}.0", kernel=3, stride=stride, pad=1)
    value = layers.norm(value, f"{name}.1")
    return value if slope is None else layers.relu(value, slope)


def _slope(layers: Layers) -> float:
    return _SLOPE if layers.shape("fpn.output1.0.weight")[0] <= _NARROW else 0.0


def _count(state: Mapping[str, Floats], name: str) -> int:
    """Return the number of blocks below ``name``."""
    pattern = re.compile(re.escape(name) + r"\.(\d+)\.")
    return len({match[1] for each in state if (match := pattern.match(each))})
