"""The ResNet generator of the public PyTorch CycleGAN code: state dict to ONNX.

The layout is that code's ``resnet_generator``: a 7x7 convolution, two that halve the picture,
residual blocks, two transposed convolutions that double it, a 7x7 convolution, tanh; reflection
padding. Which numbers it has (blocks, widths, channels, norm) stands in the names and shapes of
the weights alone; the padding does not, and is taken to be that code's default.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edge.errors import ModelError
from edge.vision.values import Floats

INPUT: Final = "input"
OUTPUT: Final = "picture"
_FIRST_BLOCK: Final = 10  # place of the first residual block in the sequence ``model``
_OPSET, _IR_VERSION = 17, 8
_NORM_EPSILON: Final = 1e-5  # PyTorch's default; the public code sets no other

Norm = Literal["instance", "batch"]


@dataclass(frozen=True, slots=True)
class Layout:
    """The numbers of one generator.

    Attributes:
        blocks: residual blocks.
        filters: channels behind the first convolution (``ngf``).
        input_channels: 1 or 3.
        output_channels: 1 or 3.
        norm: ``instance``, or ``batch`` with running statistics.
        dropout: whether the blocks were trained with dropout; it does nothing here.
    """

    blocks: int
    filters: int
    input_channels: int
    output_channels: int
    norm: Norm
    dropout: bool


@dataclass(frozen=True, slots=True)
class _Layer:
    """A (transposed) convolution: where it stands, and the shape that its weight must have."""

    name: str
    shape: tuple[int, int, int, int]
    norm: str | None  # where its norm stands
    pad: int = 0  # reflected pixels on each side
    stride: int = 1
    doubles: bool = False

    @property
    def outputs(self) -> int:
        return self.shape[1] if self.doubles else self.shape[0]


def read_layout(state: Mapping[str, Floats]) -> Layout:
    """Return the layout of the generator that ``state`` (names -> weights) belongs to.

    Every weight is accounted for: one that is missing, left over or of another shape refuses.
    Names have no ``module.`` before them; instance norms may bring the running statistics that
    early PyTorch saved and nothing ever used.

    Raises:
        ModelError: it belongs to something else; says to what, or which weight is wrong.
    """
    _refuse_relatives(state)
    first = state.get("model.1.weight")
    if first is None or first.ndim != 4:
        raise ModelError(
            "no convolution model.1.weight; expected the state dict of a CycleGAN resnet generator"
        )
    places = {int(m[1]) for name in state if (m := re.match(r"model\.(\d+)\.conv_block\.", name))}
    blocks = len(places)
    if places != set(range(_FIRST_BLOCK, _FIRST_BLOCK + blocks)) or not blocks:
        raise ModelError(
            f"residual blocks at {sorted(places)[:12]}, expected model.10, model.11, ... one"
            " after the other"
        )
    last = state.get(f"model.{_FIRST_BLOCK + blocks + 7}.weight")
    layout = Layout(
        blocks=blocks,
        filters=int(first.shape[0]),
        input_channels=int(first.shape[1]),
        output_channels=int(last.shape[0]) if last is not None and last.ndim else 0,
        norm=_norm(state),
        dropout=_is_convolution(state, f"model.{_FIRST_BLOCK}.conv_block.6.weight"),
    )
    for role, count in (("takes", layout.input_channels), ("gives", layout.output_channels)):
        if count not in (1, 3):
            raise ModelError(f"the generator {role} {count} channels, expected 1 or 3")
    _check_weights(state, layout)
    return layout


def build(state: Mapping[str, Floats], layout: Layout, size: tuple[int, int]) -> Any:
    """Return the generator as an ONNX model: float32 NCHW in and out, -1..1, of ``size``.

    Operator by operator what PyTorch computes: padding, convolutions, norms and transposed
    convolutions as they stand in the checkpoint.

    Args:
        state: weights that ``read_layout`` accepted.
        layout: what it returned.
        size: width and height, multiples of 4 pixels.
    """
    width, height = size
    graph = _Graph(state, layout.norm)
    value = INPUT
    layers = _layers(layout)
    stem, blocks, tail = layers[:3], layers[3 : 3 + 2 * layout.blocks], layers[-3:]
    for layer in stem:
        value = graph.relu(graph.layer(value, layer))
    for one, two in zip(blocks[::2], blocks[1::2], strict=True):
        inner = graph.layer(graph.relu(graph.layer(value, one)), two)
        value = graph.node("Add", [value, inner], f"{two.name}.sum")
    for layer in tail[:2]:
        value = graph.relu(graph.layer(value, layer))
    graph.node("Tanh", [graph.layer(value, tail[2])], OUTPUT)
    sides = {INPUT: layout.input_channels, OUTPUT: layout.output_channels}
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, channels, height, width))
        for name, channels in sides.items()
    ]
    return helper.make_model(
        helper.make_graph(graph.nodes, "generator", ends[:1], ends[1:], graph.weights),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="affect-edge",
    )


class _Graph:
    """Nodes and weights of a graph in the making."""

    def __init__(self, state: Mapping[str, Floats], norm: Norm) -> None:
        self._state = state
        self._norm = norm
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def weight(self, name: str, values: Any) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def relu(self, value: str) -> str:
        return self.node("Relu", [value], f"{value}.relu")

    def layer(self, value: str, layer: _Layer) -> str:
        """Add the convolution with the padding before it and the norm behind it."""
        if layer.pad:
            reflected = np.array([0, 0, layer.pad, layer.pad] * 2, np.int64)
            sides = self.weight(f"{layer.name}.pads", reflected)
            value = self.node("Pad", [value, sides], f"{layer.name}.padded", mode="reflect")
        inputs = [value, self.weight(f"{layer.name}.weight", self._state[f"{layer.name}.weight"])]
        if (bias := self._state.get(f"{layer.name}.bias")) is not None:
            inputs.append(self.weight(f"{layer.name}.bias", bias))
        stride = [layer.stride] * 2
        if layer.doubles:
            value = self.node(
                "ConvTranspose", inputs, f"{layer.name}.out",
                kernel_shape=[3, 3], strides=stride, pads=[1] * 4, output_padding=[1, 1],
            )  # fmt: skip
        else:
            pads = [1] * 4 if layer.stride == 2 else [0] * 4
            value = self.node(
                "Conv", inputs, f"{layer.name}.out",
                kernel_shape=list(layer.shape[2:]), strides=stride, pads=pads,
            )  # fmt: skip
        return value if layer.norm is None else self._normed(value, layer, layer.norm)

    def _normed(self, value: str, layer: _Layer, norm: str) -> str:
        # without affine parameters, as the public code makes its instance norms: 1 and 0
        plain = {"weight": np.ones, "bias": np.zeros}
        scale, shift = (
            self.weight(
                f"{norm}.{part}",
                self._state.get(f"{norm}.{part}", make(layer.outputs, np.float32)),
            )
            for part, make in plain.items()
        )
        if self._norm == "instance":
            return self.node(
                "InstanceNormalization", [value, scale, shift], f"{norm}.out",
                epsilon=_NORM_EPSILON,
            )  # fmt: skip
        statistics = [
            self.weight(f"{norm}.{part}", self._state[f"{norm}.{part}"])
            for part in ("running_mean", "running_var")
        ]
        return self.node(
            "BatchNormalization", [value, scale, shift, *statistics], f"{norm}.out",
            epsilon=_NORM_EPSILON,
        )  # fmt: skip


def _layers(layout: Layout) -> list[_Layer]:
    """Return every convolution in order: three, two for each block, three."""
    ngf, wide = layout.filters, 4 * layout.filters
    end = _FIRST_BLOCK + layout.blocks
    layers = [
        _Layer("model.1", (ngf, layout.input_channels, 7, 7), "model.2", pad=3),
        _Layer("model.4", (2 * ngf, ngf, 3, 3), "model.5", stride=2),
        _Layer("model.7", (wide, 2 * ngf, 3, 3), "model.8", stride=2),
    ]
    second = 6 if layout.dropout else 5
    for place in range(_FIRST_BLOCK, end):
        for inner in (1, second):
            block = f"model.{place}.conv_block"
            layers.append(
                _Layer(f"{block}.{inner}", (wide, wide, 3, 3), f"{block}.{inner + 1}", pad=1)
            )
    return [
        *layers,
        _Layer(f"model.{end}", (wide, 2 * ngf, 3, 3), f"model.{end + 1}", stride=2, doubles=True),
        _Layer(
            f"model.{end + 3}", (2 * ngf, ngf, 3, 3), f"model.{end + 4}", stride=2, doubles=True
        ),
        _Layer(f"model.{end + 7}", (layout.output_channels, ngf, 7, 7), None, pad=3),
    ]


def _refuse_relatives(state: Mapping[str, Floats]) -> None:
    """Name other networks of the same code, and generators of other kinds."""
    relatives = (
        (r"model\.model\.", "a U-Net generator (pix2pix's default, unet_256)"),
        (r"model\.\d+\.filt$", "a generator with anti-aliased sampling (CUT's default)"),
        (r"model\.\d+\.conv_block\.0\.weight$", "a generator padded with zeros"),
        (r"net\.\d+\.weight$", "a pixel discriminator"),
        (r"model\.0\.weight$", "a discriminator (latest_net_D)"),
    )
    for pattern, what in relatives:
        if any(re.match(pattern, name) for name in state):
            raise ModelError(
                f"the state dict of {what}; expected a CycleGAN resnet generator (latest_net_G)"
            )


def _is_convolution(state: Mapping[str, Floats], name: str) -> bool:
    return name in state and state[name].ndim == 4


def _norm(state: Mapping[str, Floats]) -> Norm:
    """Return which norm was used, from its parameters and the convolution's bias."""
    biased = "model.1.bias" in state
    if "model.2.running_mean" in state and "model.2.weight" in state:
        return "batch"
    if not biased and "model.2.weight" not in state:
        raise ModelError(
            "the convolutions have neither bias nor norm (norm none); expected a generator"
            " trained with instance or batch norm"
        )
    return "instance"


def _check_weights(state: Mapping[str, Floats], layout: Layout) -> None:
    expected: dict[str, tuple[int, ...]] = {}
    optional: dict[str, tuple[int, ...]] = {}
    for layer in _layers(layout):
        channels = (layer.outputs,)
        expected[f"{layer.name}.weight"] = layer.shape
        if f"{layer.name}.bias" in state or layer.norm is None or layout.norm == "instance":
            expected[f"{layer.name}.bias"] = channels
        if layer.norm is not None:
            parts = {f"{layer.norm}.{part}": channels for part in _norm_parts(layout.norm)}
            expected |= parts
            unused = ("running_mean", "running_var") if layout.norm == "instance" else ()
            affine = ("weight", "bias") if layout.norm == "instance" else ()
            optional |= {f"{layer.norm}.{part}": channels for part in (*unused, *affine)}
            optional[f"{layer.norm}.num_batches_tracked"] = ()
    for name, shape in (expected | optional).items():
        if name not in state:
            if name in optional:
                continue
            raise ModelError(f"{name} is missing; expected a weight of shape {list(shape)}")
        if name.endswith("num_batches_tracked"):
            continue
        if state[name].shape != shape:
            raise ModelError(
                f"{name} has the shape {list(state[name].shape)}, expected {list(shape)}"
            )
        if not np.isfinite(state[name]).all():
            raise ModelError(f"{name} is not finite; the checkpoint is damaged")
    if left := sorted(set(state) - set(expected) - set(optional)):
        raise ModelError(
            f"{left[0]} is not known; expected the weights of a CycleGAN resnet generator and"
            " nothing else"
        )


def _norm_parts(norm: Norm) -> Iterable[str]:
    return ("weight", "bias", "running_mean", "running_var") if norm == "batch" else ()
