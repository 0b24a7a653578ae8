"""Multiply-adds of a network, counted from its ONNX graph; needs the package onnx (extra bench)."""

import math
from pathlib import Path
from typing import Any

from edge.errors import ConfigError


def multiply_adds(path: Path, size: tuple[int, int] | None = None) -> int:
    """Return the multiply-adds of one run of a float network, batch size 1.

    Convolutions, transposed convolutions and matrix products count; everything else is additions
    and comparisons of single values, a few percent of them.

    Args:
        path: the graph; its shapes must be fixed.
        size: width and height of another input; None: that of the graph.

    Raises:
        ConfigError: onnx is missing, or the shapes cannot be inferred.
    """
    try:
        import onnx  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "cost: needs the package onnx: install the extra bench (pip install '.[bench]')"
        ) from error
    model = onnx.load(path)
    if size is not None:
        dimensions = model.graph.input[0].type.tensor_type.shape.dim
        dimensions[3].dim_value, dimensions[2].dim_value = size
        del model.graph.value_info[:]
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes: dict[str, tuple[int, ...]] = {
        value.name: tuple(each.dim_value for each in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    shapes |= {weights.name: tuple(weights.dims) for weights in graph.initializer}
    try:
        total = sum(_of_node(node, shapes) for node in graph.node)
    except KeyError as error:
        raise ConfigError(f"cost: {path}: the shape of {error} is unknown") from error
    if not total:
        raise ConfigError(f"cost: {path}: no fixed shapes; expected a float artifact of a model")
    return total


def _of_node(node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    match node.op_type:
        case "Conv":  # each value of the output: one product for each weight of its filter
            return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
        case "ConvTranspose":  # each value of the input goes through one filter
            return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])
        case "Gemm" | "MatMul":
            weights = shapes[node.input[1]]
            columns = shapes[node.output[0]][-1]
            return math.prod(shapes[node.output[0]]) * math.prod(weights) // columns
    return 0
