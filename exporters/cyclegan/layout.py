"""Converts a state dict of the public PyTorch CycleGAN code (``resnet_generator``) to ONNX.

The generator has a 7x7 convolution, two convolutions of stride 2, residual blocks, two transposed
convolutions of stride 2, a 7x7 convolution and tanh, with reflection padding. The names and shapes
of the weights give the numbers of blocks, filters and channels, and the norm. They do not give the
padding: it is assumed to be that code's default.
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
_FIRST_BLOCK: Final = 10  # index of the first residual block in the sequence ``model``
_OPSET, _IR_VERSION = 17, 8
_NORM_EPSILON: Final = 1e-5  # PyTorch's default; the public code sets no other

Norm = Literal["instance", "batch"]


@dataclass(frozen=True, slots=True)
class Layout:
    """The hyperparameters of one generator.

    Attributes:
        blocks: residual blocks.
        filters: channels after the first convolution (``ngf``).
        input_channels: 1 or 3.
        output_channels: 1 or 3.
        norm: ``instance``, or ``batch`` with running statistics.
        dropout: whether the blocks have dropout, which shifts their second convolution's index.
    """

    blocks: int
    filters: int
    input_channels: int
    output_channels: int
    norm: Norm
    dropout: bool


@dataclass(frozen=True, slots=True)
class _Layer:
    """A (transposed) convolution: its name, and the shape of its weight."""

    name: str
    shape: tuple[int, int, int, int]
    norm: str | None  # name of the norm after it
    pad: int = 0  # reflected pixels on each side
    stride: int = 1
    transposed: bool = False

    @property
    def outputs(self) -> int:
        return self.shape[1] if self.transposed else self.shape[0]


def with_block_names(state: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return ``state`` with the public code's name of residual blocks, ``conv_block``.

    Other training code names them otherwise, such as ``block``, and its weights are the same.
    Two names in one file are left as they are, to be refused.
    """
    pattern = re.compile(r"(model\.\d+)\.([A-Za-z_]+)\.(\d+\.\w+)$")
    found = {name: match for name in state if (match := pattern.match(name))}
    if len({match[2] for match in found.values()}) != 1:
        return dict(state)
    return {
        f"{found[name][1]}.conv_block.{found[name][3]}" if name in found else name: values
        for name, values in state.items()
    }


def read_layout(state: Mapping[str, Floats]) -> Layout:
    """Return the layout of the generator with the weights ``state`` (name -> values).

    Every weight must be expected, present and of the right shape. Names have no prefix ``module.``.
    Instance norms may have the unused running statistics that early PyTorch saved.

    Raises:
        ModelError: the weights are not such a generator's; the message names the other network or
            the wrong weight.
    """
    _refuse_other_networks(state)
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

    Paddings, convolutions, norms and transposed convolutions are those of the checkpoint, one
    operator each.

    Args:
        state: weights that ``read_layout`` accepted.
        layout: its result.
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
    """Collects the nodes and weights of a graph."""

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
        """Add a convolution with its padding and norm; return its output."""
        if layer.pad:
            reflected = np.array([0, 0, layer.pad, layer.pad] * 2, np.int64)
            sides = self.weight(f"{layer.name}.pads", reflected)
            value = self.node("Pad", [value, sides], f"{layer.name}.padded", mode="reflect")
        inputs = [value, self.weight(f"{layer.name}.weight", self._state[f"{layer.name}.weight"])]
        if (bias := self._state.get(f"{layer.name}.bias")) is not None:
            inputs.append(self.weight(f"{layer.name}.bias", bias))
        stride = [layer.stride] * 2
        if layer.transposed:
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
        # the public code's instance norms have no affine parameters: 1 and 0
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
    """Return every convolution in order: three, two per block, three."""
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
        _Layer(
            f"model.{end}", (wide, 2 * ngf, 3, 3), f"model.{end + 1}", stride=2, transposed=True
        ),
        _Layer(
            f"model.{end + 3}", (2 * ngf, ngf, 3, 3), f"model.{end + 4}", stride=2, transposed=True
        ),
        _Layer(f"model.{end + 7}", (layout.output_channels, ngf, 7, 7), None, pad=3),
    ]


def _refuse_other_networks(state: Mapping[str, Floats]) -> None:
    """Refuse other networks of the same code by name.

    Raises:
        ModelError: the weights are those of another known network.
    """
    others = (
        (r"model\.model\.", "a U-Net generator (pix2pix's default, unet_256)"),
        (r"model\.\d+\.filt$", "a generator with anti-aliased sampling (CUT's default)"),
        (r"model\.\d+\.conv_block\.0\.weight$", "a generator padded with zeros"),
        (r"net\.\d+\.weight$", "a pixel discriminator"),
        (r"model\.0\.weight$", "a discriminator (latest_net_D)"),
    )
    for pattern, what in others:
        if any(re.match(pattern, name) for name in state):
            raise ModelError(
                f"the state dict of {what}; expected a CycleGAN resnet generator (latest_net_G)"
            )


def _is_convolution(state: Mapping[str, Floats], name: str) -> bool:
    return name in state and state[name].ndim == 4


def _norm(state: Mapping[str, Floats]) -> Norm:
    """Return the kind of norm, from its parameters and the first convolution's bias."""
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
