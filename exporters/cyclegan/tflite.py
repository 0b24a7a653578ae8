"""Writes generators as TensorFlow Lite, operator by operator.

onnx2tf mixes up the channels after a residual sum of instance norms: its files do not load, or give
other values. A generator has seven kinds of operators. Six have a counterpart in TensorFlow Lite,
in NHWC; an instance norm is written as means, differences and products.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edge.errors import ModelError
from exporters.artifacts.tflite_writer import LiteWriter

_NHWC: Final = (0, 2, 3, 1)
_BUILTIN: Final = schema.BuiltinOperator


def can_write(model: bytes) -> bool:
    """Return whether ``write_lite`` supports every node of an ONNX model."""
    graph = onnx.load_model_from_string(model).graph
    stored = {each.name: each for each in graph.initializer}
    return all(
        node.op_type in _WRITERS and _is_supported(node, _attributes(node), stored)
        for node in graph.node
    )


def write_lite(model: bytes) -> bytes:
    """Return the float32 TensorFlow Lite model of a generator.

    Tensors keep their names; all are NHWC. The same input gives the same bytes.

    Args:
        model: an ONNX model of fixed shape, NCHW, with one input and one output.

    Raises:
        ModelError: a node is not supported (see ``can_write``).
    """
    if not can_write(model):
        raise ModelError("TensorFlow Lite: the graph has operators that generators do not have")
    graph = onnx.load_model_from_string(model).graph
    writer = LiteWriter()
    weights = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    for value in graph.input:
        shape = tuple(each.dim_value for each in value.type.tensor_type.shape.dim)
        writer.tensor(value.name, tuple(shape[axis] for axis in _NHWC))
    for node in graph.node:
        _WRITERS[node.op_type](writer, node, _attributes(node), weights)
    return writer.finish(
        [value.name for value in graph.input], [value.name for value in graph.output]
    )


Attributes = Mapping[str, Any]
Weights = Mapping[str, NDArray[Any]]


def _convolution(writer: LiteWriter, node: Any, attributes: Attributes, weights: Weights) -> None:
    value, output = node.input[0], node.output[0]
    kernel = weights[node.input[1]].transpose(0, 2, 3, 1)
    bias = weights[node.input[2]] if len(node.input) > 2 else np.zeros(len(kernel), np.float32)
    top, left, bottom, right = attributes.get("pads", [0] * 4)
    if top or left or bottom or right:
        value = _add_padding(writer, value, f"{output}.padded", [top, left], [bottom, right])
    down, across = attributes.get("strides", [1, 1])
    _, high, wide, _ = writer.shapes[value]
    options = schema.Conv2DOptionsT()
    options.padding, options.strideH, options.strideW = schema.Padding.VALID, down, across
    shape = ((high - kernel.shape[1]) // down + 1, (wide - kernel.shape[2]) // across + 1)
    inputs = [
        value,
        # named after the node, as onnx2tf does: ``tensors_made_from`` looks for these names
        writer.constant(f"{node.name or output}_filter", kernel),
        writer.constant(f"{node.name or output}_bias", bias),
    ]
    writer.node(_BUILTIN.CONV_2D, inputs, output, (1, *shape, len(kernel)), options)


def _pad(writer: LiteWriter, node: Any, attributes: Attributes, weights: Weights) -> None:
    pads = weights[node.input[1]].tolist()
    before, after = pads[2:4], pads[6:8]
    reflect = attributes.get("mode", b"constant") == b"reflect"
    _add_padding(writer, node.input[0], node.output[0], before, after, reflect=reflect)


def _add_padding(
    writer: LiteWriter,
    value: str,
    output: str,
    before: Sequence[int],
    after: Sequence[int],
    *,
    reflect: bool = False,
) -> str:
    """Add a padding operator, of reflected pixels or zeros; return its output."""
    sides = [[0, 0], [before[0], after[0]], [before[1], after[1]], [0, 0]]
    _, high, wide, channels = writer.shapes[value]
    shape = (1, high + before[0] + after[0], wide + before[1] + after[1], channels)
    options: Any = schema.PadOptionsT()
    if reflect:
        options = schema.MirrorPadOptionsT()
        options.mode = schema.MirrorPadMode.REFLECT
    kind = _BUILTIN.MIRROR_PAD if reflect else _BUILTIN.PAD
    inputs = [value, writer.constant(f"{output}_pads", sides, np.int32)]
    return writer.node(kind, inputs, output, shape, options)


def _instance_norm(writer: LiteWriter, node: Any, attributes: Attributes, weights: Weights) -> None:
    """Add ``(x - mean) / sqrt(mean((x - mean)^2) + epsilon)``, means over a channel's pixels."""
    value, output = node.input[0], node.output[0]
    scale, shift = (weights[name] for name in node.input[1:3])
    shape = writer.shapes[value]
    reduced = (1, 1, 1, shape[3])
    axes = writer.constant("pixels", [1, 2], np.int32)
    epsilon = writer.constant(f"{output}.epsilon", [attributes.get("epsilon", 1e-5)])
    options = schema.ReducerOptionsT()
    options.keepDims = True
    mean = writer.node(_BUILTIN.MEAN, [value, axes], f"{output}.mean", reduced, options)
    centred = writer.node(
        _BUILTIN.SUB, [value, mean], f"{output}.centred", shape, schema.SubOptionsT()
    )
    square = writer.node(
        _BUILTIN.MUL, [centred, centred], f"{output}.square", shape, schema.MulOptionsT()
    )
    variance = writer.node(_BUILTIN.MEAN, [square, axes], f"{output}.variance", reduced, options)
    variance = writer.node(
        _BUILTIN.ADD, [variance, epsilon], f"{output}.kept", reduced, schema.AddOptionsT()
    )
    factor = writer.node(_BUILTIN.RSQRT, [variance], f"{output}.factor", reduced)
    if (scale != 1).any():
        factor = writer.node(
            _BUILTIN.MUL, [factor, writer.constant(f"{output}.scale", scale)],
            f"{output}.scaled", reduced, schema.MulOptionsT(),
        )  # fmt: skip
    shifted = (shift != 0).any()
    made = f"{output}.unshifted" if shifted else output
    writer.node(_BUILTIN.MUL, [centred, factor], made, shape, schema.MulOptionsT())
    if shifted:
        writer.node(
            _BUILTIN.ADD, [made, writer.constant(f"{output}.shift", shift)],
            output, shape, schema.AddOptionsT(),
        )  # fmt: skip


def _depth_to_space(writer: LiteWriter, node: Any, attributes: Attributes, _: Weights) -> None:
    side = attributes["blocksize"]
    high, wide, channels = writer.shapes[node.input[0]][1:]
    options = schema.DepthToSpaceOptionsT()
    options.blockSize = side
    shape = (1, high * side, wide * side, channels // side**2)
    writer.node(_BUILTIN.DEPTH_TO_SPACE, node.input, node.output[0], shape, options)


def _add(writer: LiteWriter, node: Any, _: Attributes, __: Weights) -> None:
    shape = writer.shapes[node.input[0]]
    writer.node(_BUILTIN.ADD, node.input, node.output[0], shape, schema.AddOptionsT())


def _relu(writer: LiteWriter, node: Any, _: Attributes, __: Weights) -> None:
    writer.node(_BUILTIN.RELU, node.input, node.output[0], writer.shapes[node.input[0]])


def _tanh(writer: LiteWriter, node: Any, _: Attributes, __: Weights) -> None:
    writer.node(_BUILTIN.TANH, node.input, node.output[0], writer.shapes[node.input[0]])


_WRITERS: Final[Mapping[str, Callable[[LiteWriter, Any, Attributes, Weights], None]]] = {
    "Add": _add,
    "Conv": _convolution,
    "DepthToSpace": _depth_to_space,
    "InstanceNormalization": _instance_norm,
    "Pad": _pad,
    "Relu": _relu,
    "Tanh": _tanh,
}


def _attributes(node: Any) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _is_supported(node: Any, attributes: Attributes, stored: Mapping[str, Any]) -> bool:
    """Return whether a node has the attributes and constants that its writer expects."""
    constants = {"Conv": node.input[1:], "InstanceNormalization": node.input[1:]}
    if any(name not in stored for name in constants.get(node.op_type, ())):
        return False
    match node.op_type:
        case "Conv":
            return (
                attributes.get("group", 1) == 1
                and set(attributes.get("dilations", [1])) == {1}
                and attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
                and len(stored[node.input[1]].dims) == 4
            )
        case "Pad":
            return _is_supported_pad(node, attributes, stored)
        case "DepthToSpace":
            return bool(attributes.get("mode", b"DCR") == b"DCR")
        case "Add":
            return not any(name in stored for name in node.input)  # no constant operand
    return True


def _is_supported_pad(node: Any, attributes: Attributes, stored: Mapping[str, Any]) -> bool:
    if len(node.input) < 2 or node.input[1] not in stored or len(node.input) > 3:
        return False
    pads = numpy_helper.to_array(stored[node.input[1]])
    if pads.shape != (8,) or pads.min() < 0 or pads[[0, 1, 4, 5]].any():
        return False
    mode = attributes.get("mode", b"constant")
    if mode == b"reflect":
        return True
    value = node.input[2] if len(node.input) == 3 else ""
    black = not value or (value in stored and not numpy_helper.to_array(stored[value]).any())
    return bool(mode == b"constant" and black)
