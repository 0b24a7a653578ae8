"""Converts the Keras 2 layers of MobileNets to ONNX nodes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from exporters.expression.keras2_parts import (
    ACTIVATIONS,
    CHANNELS_MAX,
    Graph,
    Layer,
    Tensor,
    channels_first,
    printable,
)


def _input(graph: Graph, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    (tensor,) = inputs
    declared = layer.config.get("batch_input_shape")
    sizes = declared[1:] if isinstance(declared, list) else []
    if len(sizes) != len(tensor.shape) or any(
        each is not None and each != actual
        for each, actual in zip(sizes, tensor.shape, strict=True)
    ):
        raise layer.refuse(f"declares {printable(declared)}, gets {list(tensor.shape)}")
    return tensor


def _convolution(graph: Graph, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    tensor = layer.maps(inputs)
    height, width, channels = tensor.shape
    kernel = layer.numbers("kernel_size", 2, 1, 64)
    strides = layer.numbers("strides", 2, 1, 64)
    config: dict[str, Any] = {"dilation_rate": 1, "groups": 1, **layer.config}
    layer = replace(layer, config=config)
    dilations = layer.numbers("dilation_rate", 2, 1, 64)
    name = layer.tensor
    if layer.kind == "DepthwiseConv2D":
        (multiplier,) = layer.numbers("depth_multiplier", 1, 1, 64)
        groups, filters = channels, channels * multiplier
        stored = graph.weights.take(
            layer.group, layer.name, "depthwise_kernel", (*kernel, channels, multiplier)
        )
        weight = stored.transpose(2, 3, 0, 1).reshape(filters, 1, *kernel)
    else:
        (groups,) = layer.numbers("groups", 1, 1, CHANNELS_MAX)
        (filters,) = layer.numbers("filters", 1, 1, CHANNELS_MAX)
        if channels % groups or filters % groups:
            raise layer.refuse(f"{groups} groups of {channels} channels and {filters} filters")
        stored = graph.weights.take(
            layer.group, layer.name, "kernel", (*kernel, channels // groups, filters)
        )
        weight = stored.transpose(3, 2, 0, 1)
    extents = [(size - 1) * rate + 1 for size, rate in zip(kernel, dilations, strict=True)]
    padding = tensor.padding
    if layer.config.get("padding") == "same":
        more = _same_padding((height, width), extents, strides)
        padding = tuple(one + other for one, other in zip(padding, more, strict=True))  # type: ignore[assignment]
        height, width = height + more[0] + more[2], width + more[1] + more[3]
    elif layer.config.get("padding") != "valid":
        raise layer.refuse(
            f"padding is {printable(layer.config.get('padding'))}: not valid or same"
        )
    if height < extents[0] or width < extents[1]:
        raise layer.refuse(f"takes {width}x{height}, less than its kernel of {kernel}")
    names = [tensor.name, graph.constant(f"{name}/kernel", weight)]
    if layer.flag("use_bias", True):
        bias = graph.weights.take(layer.group, layer.name, "bias", (filters,))
        names.append(graph.constant(f"{name}/bias", bias))
    activation = layer.activation()
    output = name if activation == "linear" else f"{name}/linear"
    graph.node(
        "Conv", names, output, kernel_shape=kernel, strides=strides, dilations=dilations,
        group=groups, pads=padding,
    )  # fmt: skip
    sizes = ((height - extents[0]) // strides[0] + 1, (width - extents[1]) // strides[1] + 1)
    return _add_activation(graph, layer, Tensor(output, (*sizes, filters)), activation)


def _same_padding(
    sizes: Sequence[int], extents: Sequence[int], strides: Sequence[int]
) -> tuple[int, int, int, int]:
    """Return TensorFlow's "same" padding: top, left, bottom, right; an odd zero comes last."""
    totals = [
        max((-(-size // stride) - 1) * stride + span - size, 0)
        for size, span, stride in zip(sizes, extents, strides, strict=True)
    ]
    before = [total // 2 for total in totals]
    return (*before, *(total - first for total, first in zip(totals, before, strict=True)))  # type: ignore[return-value]


def _batch_norm(graph: Graph, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    tensor = graph.padded(inputs[0])
    axis = layer.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if axis not in (-1, len(tensor.shape)) or isinstance(axis, bool):
        raise layer.refuse(f"axis is {printable(axis)}, expected the last one")
    channels = tensor.shape[-1]
    arrays = {
        "gamma": np.ones(channels, np.float32),
        "beta": np.zeros(channels, np.float32),
        "moving_mean": None,
        "moving_variance": None,
    }
    absent = {"gamma": not layer.flag("scale", True), "beta": not layer.flag("center", True)}
    names = [tensor.name]
    for kind, default in arrays.items():
        values = default
        if values is None or not absent[kind]:
            values = graph.weights.take(layer.group, layer.name, kind, (channels,))
        if kind == "moving_variance" and (values < 0).any():
            raise layer.refuse("moving_variance is negative; train or copy it again")
        names.append(graph.constant(f"{layer.tensor}/{kind}", values))
    epsilon = layer.real("epsilon", 1e-3)
    if not 0 < epsilon < 1:
        raise layer.refuse(f"epsilon is {epsilon}, expected more than 0 and less than 1")
    graph.node("BatchNormalization", names, layer.tensor, epsilon=epsilon)
    return Tensor(layer.tensor, tensor.shape)


def _relu(graph: Graph, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    tensor = graph.padded(inputs[0])
    for key in ("negative_slope", "threshold"):
        if layer.config.get(key) not in (None, 0):
            raise layer.refuse(f"{key} is {printable(layer.config[key])}, expected 0")
    if layer.config.get("max_value") is None:
        graph.node("Relu", [tensor.name], layer.tensor)
    else:
        _clip(graph, tensor.name, layer.tensor, layer.real("max_value", 6))
    return Tensor(layer.tensor, tensor.shape)


def _clip(graph: Graph, source: str, output: str, most: float) -> None:
    bounds = [
        graph.constant(f"{output}/{name}", np.array(value, np.float32))
        for name, value in (("low", 0.0), ("high", most))
    ]
    graph.node("Clip", [source, *bounds], output)


def _zero_padding(graph: Graph, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    tensor = layer.maps(inputs)
    padding = layer.config.get("padding")
    rows_columns = (
        padding if isinstance(padding, list) and len(padding) == 2 else [padding, padding]
    )
    pads: list[Any] = []
    for each in rows_columns:
        pair = each if isinstance(each, list) else [each, each]
        if len(pair) != 2 or not all(type(side) is int and 0 <= side <= 64 for side in pair):
            raise layer.refuse(f"padding is {printable(padding)}, expected zeros to add, 0 to 64")
        pads += pair
    top, bottom, left, right = pads
    height, width, channels = tensor.shape
    before = tensor.padding
    return Tensor(
        tensor.name,
        (height + top + bottom, width + left + right, channels),
        (before[0] + top, before[1] + left, before[2] + bottom, before[3] + right),
    )


def _pool(graph: Graph, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    tensor = graph.padded(layer.maps(inputs))
    channels = tensor.shape[2]
    if layer.flag("keepdims", False):
        graph.node("GlobalAveragePool", [tensor.name], layer.tensor)
        return Tensor(layer.tensor, (1, 1, channels))
    graph.node("GlobalAveragePool", [tensor.name], f"{layer.tensor}/maps")
    graph.node("Flatten", [f"{layer.tensor}/maps"], layer.tensor, axis=1)
    return Tensor(layer.tensor, (channels,))


def _identity(graph: Graph, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    return inputs[0]


def _dense(graph: Graph, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    (tensor,) = inputs
    if len(tensor.shape) != 1:
        raise layer.refuse(f"takes {list(tensor.shape)}, expected one row of values")
    (units,) = layer.numbers("units", 1, 1, CHANNELS_MAX)
    kernel = graph.weights.take(layer.group, layer.name, "kernel", (tensor.shape[0], units))
    names = [tensor.name, graph.constant(f"{layer.tensor}/kernel", kernel.T)]
    if layer.flag("use_bias", True):
        bias = graph.weights.take(layer.group, layer.name, "bias", (units,))
        names.append(graph.constant(f"{layer.tensor}/bias", bias))
    activation = layer.activation()
    output = layer.tensor if activation == "linear" else f"{layer.tensor}/linear"
    graph.node("Gemm", names, output, transB=1)
    return _add_activation(graph, layer, Tensor(output, (units,)), activation)


def _activation(graph: Graph, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    activation = "softmax" if layer.kind == "Softmax" else layer.activation()
    if layer.kind == "Softmax" and layer.config.get("axis", -1) != -1:
        raise layer.refuse(f"axis is {printable(layer.config['axis'])}, expected -1")
    return _add_activation(graph, layer, graph.padded(inputs[0]), activation)


def _add_activation(graph: Graph, layer: Layer, tensor: Tensor, activation: str) -> Tensor:
    if activation == "linear":
        return tensor
    if activation == "relu6":
        _clip(graph, tensor.name, layer.tensor, 6)
    elif activation == "softmax":
        if len(tensor.shape) != 1:
            raise layer.refuse(f"softmax of {list(tensor.shape)}, expected one row of values")
        graph.node("Softmax", [tensor.name], layer.tensor, axis=1)
    else:
        graph.node(ACTIVATIONS[activation], [tensor.name], layer.tensor)
    return Tensor(layer.tensor, tensor.shape)


def _reshape(graph: Graph, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    tensor = graph.padded(inputs[0])
    count = math.prod(tensor.shape)
    target: list[int] = [-1]
    if layer.kind == "Reshape":
        shape_given = layer.config.get("target_shape")
        if not isinstance(shape_given, list) or not all(type(each) is int for each in shape_given):
            raise layer.refuse(f"target_shape is {printable(shape_given)}, expected sizes")
        target = list(shape_given)
    known = math.prod(each for each in target if each != -1)
    if target.count(-1) == 1 and known > 0:
        target[target.index(-1)] = count // known
    if len(target) not in (1, 3) or math.prod(target) != count or min(target) < 1:
        raise layer.refuse(f"{list(tensor.shape)} does not become {printable(target)}")
    source = tensor.name
    if len(tensor.shape) == 3 and tensor.shape[:2] != (1, 1):
        graph.node("Transpose", [source], f"{layer.tensor}/rows", perm=[0, 2, 3, 1])
        source = f"{layer.tensor}/rows"
    flat = len(target) == 3 and target[:2] != [1, 1]
    shape = (1, *target) if flat else (1, *channels_first(tuple(target)))
    sizes = graph.constant(f"{layer.tensor}/sizes", np.array(shape, np.int64))
    graph.node("Reshape", [source, sizes], f"{layer.tensor}/flat" if flat else layer.tensor)
    if flat:
        graph.node("Transpose", [f"{layer.tensor}/flat"], layer.tensor, perm=[0, 3, 1, 2])
    return Tensor(layer.tensor, tuple(target))


def _add(graph: Graph, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    tensors = [graph.padded(tensor) for tensor in inputs]
    if len(tensors) < 2 or len({tensor.shape for tensor in tensors}) != 1:
        raise layer.refuse(f"adds {[list(tensor.shape) for tensor in tensors]}, expected equals")
    total = tensors[0].name
    for index, tensor in enumerate(tensors[1:], 2):
        output = layer.tensor if index == len(tensors) else f"{layer.tensor}/{index}"
        graph.node("Add", [total, tensor.name], output)
        total = output
    return Tensor(layer.tensor, tensors[0].shape)


KINDS: Final[dict[str, Callable[[Graph, Layer, Sequence[Tensor]], Tensor]]] = {
    "Activation": _activation,
    "Add": _add,
    "BatchNormalization": _batch_norm,
    "Conv2D": _convolution,
    "Dense": _dense,
    "DepthwiseConv2D": _convolution,
    "Dropout": _identity,
    "Flatten": _reshape,
    "GlobalAveragePooling2D": _pool,
    "InputLayer": _input,
    "ReLU": _relu,
    "Reshape": _reshape,
    "Softmax": _activation,
    "SpatialDropout2D": _identity,
    "ZeroPadding2D": _zero_padding,
}
