"""Makes ONNX graphs of other float types graphs of float32.

Weights become float32 exactly (float64: rounded), and values in between are no longer rounded to
16 bits. No runtime here is faster in 16 bits, and most of its operators are missing on processors.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper

from edge.errors import ModelError

_OTHER_FLOATS: Final = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})
_TYPE_ATTRIBUTES: Final = ("to", "dtype")
"""Attributes that hold the type of what a node gives."""


def as_float32(model: Any) -> None:
    """Make ``model`` a graph of float32, in place; casts between float types go.

    Raises:
        ModelError: a weight is not what its shape says; one line.
    """
    types = {tensor.data_type for graph in _graphs(model.graph) for tensor in _tensors(graph)}
    values = (*model.graph.input, *model.graph.output)
    types |= {value.type.tensor_type.elem_type for value in values}
    if not types & _OTHER_FLOATS:
        return
    for graph in _graphs(model.graph):
        for tensor in _tensors(graph):
            if tensor.data_type in _OTHER_FLOATS:
                tensor.CopyFrom(_widened(tensor))
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.name in _TYPE_ATTRIBUTES and attribute.i in _OTHER_FLOATS:
                    attribute.i = TensorProto.FLOAT
        for value in (*graph.input, *graph.output):
            if value.type.tensor_type.elem_type in _OTHER_FLOATS:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
        del graph.value_info[:]
    drop_float_casts(model)


def drop_float_casts(model: Any) -> None:
    """Take out every Cast of a float32 tensor to float32."""
    if not any(node.op_type == "Cast" for node in model.graph.node):
        return
    inferred = onnx.shape_inference.infer_shapes(model).graph
    floats = {
        value.name
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    graph = model.graph
    fixed = {value.name for value in (*graph.input, *graph.output)}
    fixed |= {weight.name for weight in graph.initializer}
    for node in [each for each in graph.node if each.op_type == "Cast"]:
        (target,) = (each.i for each in node.attribute if each.name == "to")
        source, result = node.input[0], node.output[0]
        if target != TensorProto.FLOAT or source not in floats:
            continue
        if result not in fixed:
            _rename(graph, result, source)
        elif source not in fixed:
            _rename(graph, source, result)
        else:  # both names have to stay
            node.op_type = "Identity"
            del node.attribute[:]
            continue
        graph.node.remove(node)


def _widened(tensor: Any) -> Any:
    try:
        values = np.asarray(numpy_helper.to_array(tensor)).astype(np.float32)
    except (ValueError, TypeError) as error:
        raise ModelError(f"weight {tensor.name} is not what its shape says: {error}") from error
    return numpy_helper.from_array(values, tensor.name)


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for place, each in enumerate(names):
                if each == old:
                    names[place] = new


def _graphs(graph: Any) -> Iterator[Any]:
    """Yield ``graph`` and the graphs inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _graphs(attribute.g)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
