"""Folding of normalisation into the first convolution; conversion of NHWC inputs to NCHW."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from exporters.artifacts.input_folding import Affine, fold_input, normalise_by, take_nchw
from tests.support.expression_networks import Net, run_original

RANDOM = np.random.default_rng(20240607)


@settings(max_examples=80)
@given(
    front=st.sampled_from(["nothing", "norm", "arithmetic", "identity", "minus from"]),
    pads=st.sampled_from([0, 1]),
    mono=st.booleans(),
    fixed=st.booleans(),
    grouped=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_folding_does_not_change_the_function_of_equal_channels(  # noqa: PLR0917
    front: str, pads: int, mono: bool, fixed: bool, grouped: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    net = Net(size=9, pads=pads)
    if front == "norm":
        net.add("BatchNormalization", [
            random.uniform(-2, 2, 3), random.normal(0, 1, 3), random.normal(0, 1, 3),
            random.uniform(0.2, 2, 3),
        ])  # fmt: skip
    elif front == "arithmetic":
        net.add("Sub", [random.normal(0, 1, (3, 1, 1))]).add("Div", [np.float32(0.3)])
        net.add("Mul", [random.uniform(0.5, 2, (1, 3, 1, 1))]).add("Add", [random.normal(0, 1, 1)])
    elif front == "identity":
        net.add("Identity", [])
    elif front == "minus from":
        net.add("Sub", [np.ones((1, 3, 1, 1))])
        net.nodes[-1].input[:] = list(net.nodes[-1].input)[::-1]
    if grouped:
        net.add("Conv", [random.normal(0, 1, (3, 1, 3, 3))], group=3, pads=[pads] * 4)
    net.body().head("a", 8)
    model = net.model()
    before = normalise_by(3, np.zeros(1), np.ones(1))
    if fixed:
        before = normalise_by(3, random.normal(0, 1, 3), random.uniform(0.3, 2, 3))
    plane = random.normal(0, 1, (1, 1, 9, 9))
    planes = np.repeat(plane, 3, axis=1)
    given_planes = planes * before.scale[:, None, None] + before.shift[:, None, None]
    (known,) = run_original(model, given_planes, ["a"])
    place = fold_input(model, "picture", before, mono=mono)
    (outputs,) = run_original(model, plane if mono else planes, ["a"])
    np.testing.assert_allclose(outputs, known, rtol=1e-4, atol=1e-4 * max(1, np.abs(known).max()))
    kinds = [node.op_type for node in model.graph.node]
    assert not {"BatchNormalization", "Sub", "Mul", "Div", "Identity"} & set(kinds)
    shifts = fixed or front in ("norm", "arithmetic", "minus from")
    convolutions = kinds.count("Conv") - grouped
    if place == "in front of the first convolution":
        assert convolutions == 2
        assert grouped or (pads and shifts)
    else:
        assert convolutions == 1
        assert not (pads and shifts)


def test_affine_functions_compose() -> None:
    one = Affine(np.array([2.0, 3.0]), np.array([1.0, -1.0]))
    both = one.then(np.array([5.0, 7.0]), np.array([0.5, 0.25]))
    x = np.array([0.3, -4.0])
    np.testing.assert_allclose(
        both.scale * x + both.shift,
        (one.scale * x + one.shift) * [5, 7] + [0.5, 0.25],
    )


@given(st.sampled_from(["one figure", "one a channel", "of four dimensions"]), st.booleans())
def test_scaling_before_the_transposition_is_the_same_behind_it(shape: str, turned: bool) -> None:
    net = Net(layout="nhwc", size=6)
    net.shape[0] = 1
    (transposition,) = net.nodes
    values = {"one figure": (), "one a channel": (3,), "of four dimensions": (1, 1, 1, 3)}[shape]
    net.last = "picture"
    net.nodes.clear()
    net.add("Sub", [RANDOM.normal(0, 1, values).astype(np.float32)])
    if turned:
        net.nodes[-1].input[:] = list(net.nodes[-1].input)[::-1]
    net.add("Div", [RANDOM.uniform(1, 2, values).astype(np.float32)])
    transposition.input[0] = net.last
    net.nodes.append(transposition)
    net.last = transposition.output[0]
    net.body().head("a", 8)
    model = net.model()
    picture = RANDOM.normal(0, 1, (1, 6, 6, 3))
    (known,) = run_original(model, picture, ["a"])
    take_nchw(model, "picture")
    (seen,) = run_original(model, picture.transpose(0, 3, 1, 2), ["a"])
    np.testing.assert_allclose(seen, known, atol=1e-5)
    assert not any(node.op_type == "Transpose" for node in model.graph.node)


def test_nhwc_becomes_nchw_for_every_user_of_the_input() -> None:
    net = Net(layout="nhwc", size=6)
    transposed = net.last
    net.nodes.append(helper.make_node("Transpose", ["picture"], ["again"], perm=[0, 3, 1, 2]))
    net.nodes.append(helper.make_node("Add", [transposed, "again"], ["twice"]))
    net.nodes.append(helper.make_node("ReduceMean", ["picture"], ["mean"], axes=[1, 2, 3]))
    net.nodes.append(helper.make_node("Mul", ["twice", "mean"], ["all"]))
    net.shape[0] = 1
    net.outputs = ["all"]
    model = net.model()
    picture = RANDOM.normal(0, 1, (1, 6, 6, 3))
    (known,) = run_original(model, picture, ["all"])
    take_nchw(model, "picture")
    (outputs,) = run_original(model, picture.transpose(0, 3, 1, 2), ["all"])
    np.testing.assert_allclose(outputs, known, atol=1e-6)
    assert sum(node.op_type == "Transpose" for node in model.graph.node) == 1
