"""Generators as TensorFlow Lite: each operator gives the outputs of onnxruntime."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edge.errors import ModelError
from edge.vision.inference.ort import onnxruntime
from edge.vision.inference.runtimes import open_session
from edge.vision.values import Floats
from exporters.artifacts import graph
from exporters.cyclegan.layout import build, read_layout
from exporters.cyclegan.tflite import can_write, write_lite
from exporters.cyclegan.upsampling import rewrite_transposed
from tests.support.generators import random_state

RANDOM = np.random.default_rng(9)
SHAPE = (1, 4, 7, 5)


def model_of(*nodes: Any, shape: tuple[int, ...] = SHAPE, **stored: Any) -> bytes:
    """Return a model from ``x`` to ``y``."""
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, shape),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "c", "h", "w"]),
    ]
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()]
    made = helper.make_graph(list(nodes), "g", ends[:1], ends[1:], weights)
    opsets = [helper.make_opsetid("", 17)]
    content: bytes = helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString()
    return content


def assert_equal_outputs(model: bytes, atol: float = 1e-5) -> None:
    """Run a model in both runtimes on one tensor, and compare."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    tensor = RANDOM.normal(0, 1, session.get_inputs()[0].shape).astype(np.float32)
    known: Floats = session.run(None, {"x": tensor})[0]
    lite = open_session("litert", write_lite(model), 1)
    assert set(lite.inputs) == {"x"}
    made = lite.run(np.ascontiguousarray(tensor.transpose(0, 2, 3, 1)))["y"]
    np.testing.assert_allclose(made.transpose(0, 3, 1, 2), known, atol=atol)


def floats(*shape: int) -> Floats:
    return RANDOM.normal(0, 1, shape).astype(np.float32)


@settings(max_examples=40)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    bias=st.booleans(),
)
def test_convolutions(
    kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, ...], bias: bool
) -> None:
    stored = {"w": floats(6, 4, *kernel), **({"b": floats(6)} if bias else {})}
    node = helper.make_node("Conv", ["x", *stored], ["y"], strides=strides, pads=pads)
    assert_equal_outputs(model_of(node, **stored))


@settings(max_examples=30)
@given(pads=st.tuples(*[st.integers(0, 4)] * 4), reflect=st.booleans())
def test_paddings(pads: tuple[int, ...], reflect: bool) -> None:
    sides = np.array([0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64)
    mode = "reflect" if reflect else "constant"
    assert_equal_outputs(model_of(helper.make_node("Pad", ["x", "p"], ["y"], mode=mode), p=sides))


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
def test_instance_norms(affine: bool, epsilon: float) -> None:
    scale, shift = (floats(4), floats(4)) if affine else (np.ones(4), np.zeros(4))
    node = helper.make_node("InstanceNormalization", ["x", "s", "b"], ["y"], epsilon=epsilon)
    assert_equal_outputs(model_of(node, s=scale.astype(np.float32), b=shift.astype(np.float32)))


def test_depth_to_space_sums_and_activations() -> None:
    assert_equal_outputs(
        model_of(helper.make_node("DepthToSpace", ["x"], ["y"], blocksize=2, mode="DCR"))
    )
    relu = helper.make_node("Relu", ["x"], ["r"])
    tanh = helper.make_node("Tanh", ["x"], ["t"])
    assert_equal_outputs(model_of(relu, tanh, helper.make_node("Add", ["r", "t"], ["y"])))


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("blocks", [1, 6])
def test_whole_generators_are_equal_and_deterministic(norm: str, blocks: int) -> None:
    state = random_state(blocks, 4, norm=norm)
    model = build(state, read_layout(state), (32, 32))
    graph.fold_batch_norms(model)
    rewrite_transposed(model)
    content = graph.finish(model)
    assert can_write(content)
    lite = write_lite(content)
    assert lite == write_lite(content)
    tensor = RANDOM.uniform(-1, 1, (1, 3, 32, 32)).astype(np.float32)
    known = open_session("onnxruntime", content, 1).run(tensor)["picture"]
    made = open_session("litert", lite, 1).run(tensor.transpose(0, 2, 3, 1).copy())["picture"]
    np.testing.assert_allclose(made.transpose(0, 3, 1, 2), known, atol=1e-3)


PADS = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)


@pytest.mark.parametrize(
    ("kind", "attributes", "stored"),
    [
        ("Sigmoid", {}, {}),
        ("Conv", {"group": 2}, {"w": floats(4, 2, 1, 1)}),
        ("Conv", {"dilations": [2, 2]}, {"w": floats(4, 4, 3, 3)}),
        ("Conv", {"auto_pad": "SAME_UPPER"}, {"w": floats(4, 4, 3, 3)}),
        ("DepthToSpace", {"blocksize": 2, "mode": "CRD"}, {}),
        ("Add", {}, {"w": floats(1, 4, 1, 1)}),
        ("Pad", {"mode": "edge"}, {"p": PADS}),
        ("Pad", {"mode": "constant"}, {"p": PADS, "v": np.float32(3)}),
        ("Pad", {"mode": "constant"}, {"p": -PADS}),
        ("Pad", {"mode": "reflect"}, {"p": np.array([0, 1, 0, 0, 0, 1, 0, 0], np.int64)}),
    ],
)
def test_unsupported_operators_are_refused(
    kind: str, attributes: dict[str, Any], stored: dict[str, Any]
) -> None:
    content = model_of(helper.make_node(kind, ["x", *stored], ["y"], **attributes), **stored)
    assert not can_write(content)
    with pytest.raises(ModelError, match="operators that generators do not have"):
        write_lite(content)


def test_computed_weights_are_refused() -> None:
    nodes = [
        helper.make_node("Relu", ["w"], ["v"]),
        helper.make_node("Conv", ["x", "v"], ["y"]),
    ]
    assert not can_write(model_of(*nodes, w=floats(4, 4, 1, 1)))
