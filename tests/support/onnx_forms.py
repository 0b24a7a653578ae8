"""Changes of ONNX graphs that leave what they compute, such as converters make them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

Change = Callable[[Any], None]


def front(model: Any, name: str, *nodes: tuple[str, list[Any], dict[str, Any]]) -> None:
    """Put nodes of a kind, constants and attributes between the input ``name`` and its readers."""
    last, made = name, []
    for place, (kind, constants, settings) in enumerate(nodes, len(model.graph.node)):
        names = []
        for number, values in enumerate(constants):
            names.append(f"front_{place}_{number}")
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), names[-1]))
        made.append(helper.make_node(kind, [last, *names], [f"front_{place}"], **settings))
        last = f"front_{place}"
    for node in model.graph.node:
        node.input[:] = [last if each == name else each for each in node.input]
    for node in reversed(made):
        model.graph.node.insert(0, node)


def as_type(kind: int, *, inside_only: bool = False) -> Change:
    """Store the weights as ``kind``; ``inside_only``: casts at input and outputs."""

    def change(model: Any) -> None:
        for weight in model.graph.initializer:
            if weight.data_type == TensorProto.FLOAT:
                values = numpy_helper.to_array(weight)
                weight.CopyFrom(helper.make_tensor(weight.name, kind, weight.dims, values.ravel()))
        values = (*model.graph.input, *model.graph.output)
        for value in values:
            if not inside_only:
                value.type.tensor_type.elem_type = kind
        if inside_only:
            front(model, model.graph.input[0].name, ("Cast", [], {"to": kind}))
            for name in [value.name for value in model.graph.output]:
                for node in model.graph.node:
                    node.output[:] = [
                        f"{name}_16" if each == name else each for each in node.output
                    ]
                    node.input[:] = [f"{name}_16" if each == name else each for each in node.input]
                model.graph.node.append(
                    helper.make_node("Cast", [f"{name}_16"], [name], to=TensorProto.FLOAT)
                )

    return change
