"""Graphs of other float types made graphs of float32."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.errors import ModelError
from edge.vision.inference.runtimes import OnnxSession
from exporters.artifacts.float32 import as_float32

KINDS = {"float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE}


def weight(name: str, values: Any, kind: int) -> Any:
    array = np.asarray(values)
    return helper.make_tensor(name, kind, array.shape, array.ravel())


def branch(name: str, value: float, kind: int) -> Any:
    node = helper.make_node("Constant", [], [name], value=weight("", value, kind))
    return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, kind, [])])


def every_place(kind: int) -> Any:
    """y = (2 x + 0.5 + [0 of the shape of x]) * 3 if more else 5, and the length of x."""
    nodes = [
        helper.make_node("Cast", ["x"], ["inside"], to=kind),
        helper.make_node("Mul", ["inside", "two"], ["twice"]),
        helper.make_node("Constant", [], ["half"], value=weight("", 0.5, kind)),
        helper.make_node("Add", ["twice", "half"], ["sum"]),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"], value=weight("", [0.0], kind)),
        helper.make_node("Add", ["sum", "zeros"], ["all"]),
        helper.make_node(
            "If", ["more"], ["factor"],
            then_branch=branch("three", 3.0, kind), else_branch=branch("five", 5.0, kind),
        ),
        helper.make_node("Mul", ["all", "factor"], ["made"]),
        helper.make_node("Cast", ["made"], ["y"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["made"], ["again"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["x"], ["same"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["shape"], ["length"], to=TensorProto.FLOAT),
    ]  # fmt: skip
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"])
        for name in ("y", "again", "same", "length")
    ]
    graph = helper.make_graph(
        nodes,
        "every place",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        outputs,
        [weight("two", 2.0, kind), weight("more", True, TensorProto.BOOL)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("kind", KINDS)
def test_every_place_of_a_type_becomes_float32(kind: str) -> None:
    model = every_place(KINDS[kind])
    as_float32(model)
    onnx.checker.check_model(model, full_check=True)
    casts = [node for node in model.graph.node if node.op_type == "Cast"]
    assert [node.input[0] for node in casts] == ["shape"]  # of integers: it has to stay
    made = OnnxSession(model.SerializeToString(), 1).run(np.array([1, 0.0625], np.float32))
    np.testing.assert_array_equal(made["y"], [7.5, 1.875])
    np.testing.assert_array_equal(made["again"], made["y"])
    np.testing.assert_array_equal(made["same"], [1, 0.0625])
    np.testing.assert_array_equal(made["length"], [2])


def test_a_graph_of_float32_stays_as_it_is() -> None:
    model = every_place(TensorProto.FLOAT)
    before = model.SerializeToString(deterministic=True)
    as_float32(model)
    assert model.SerializeToString(deterministic=True) == before


def test_a_weight_that_is_not_of_its_shape_is_refused() -> None:
    model = every_place(TensorProto.FLOAT16)
    held = numpy_helper.from_array(np.zeros(3, np.float16), "two")
    held.dims[0] = 5
    model.graph.initializer[0].CopyFrom(held)
    with pytest.raises(ModelError, match="weight two is not what its shape says"):
        as_float32(model)
