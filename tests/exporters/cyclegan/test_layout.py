"""The generator's layout from names and shapes of weights; refusal of other networks by name."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edge.errors import ModelError
from edge.vision.inference.ort import onnxruntime
from edge.vision.values import Floats
from exporters.artifacts import graph
from exporters.cyclegan.layout import INPUT, Layout, build, read_layout, with_block_names
from exporters.cyclegan.upsampling import rewrite_transposed, upsampling_nodes
from tests.support.generators import random_state

RANDOM = np.random.default_rng(8)
State = dict[str, Floats]


def answer(model: bytes, tensor: Floats) -> Floats:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    answers: list[Floats] = session.run(None, {session.get_inputs()[0].name: tensor})
    return answers[0]


@pytest.mark.parametrize("blocks", [1, 6, 9])
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("channels", [(1, 1), (3, 3), (3, 1), (1, 3)])
def test_the_layout_is_read_from_the_weights(
    blocks: int, norm: Any, dropout: bool, channels: tuple[int, int]
) -> None:
    state = random_state(blocks, 4, channels, norm, dropout)
    layout = read_layout(state)
    assert layout == Layout(blocks, 4, *channels, norm, dropout)
    content = graph.finish(build(state, layout, (32, 16)))
    picture = answer(content, RANDOM.uniform(-1, 1, (1, channels[0], 16, 32)).astype(np.float32))
    assert picture.shape == (1, channels[1], 16, 32)
    assert np.abs(picture).max() <= 1
    assert picture.std() > 1e-3


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_folding_and_rewriting_do_not_change_the_function(norm: str) -> None:
    state = random_state(6, 8, norm=norm)
    model = build(state, read_layout(state), (48, 64))
    tensor = RANDOM.uniform(-1, 1, (1, 3, 64, 48)).astype(np.float32)
    before = answer(graph.finish(model), tensor)
    assert graph.fold_batch_norms(model) == (23 - 6 if norm == "batch" else 0)
    assert rewrite_transposed(model) == 2
    kinds = {node.op_type for node in model.graph.node}
    norms = {"InstanceNormalization"} if norm == "instance" else set()
    assert kinds == {"Pad", "Conv", "Relu", "Add", "DepthToSpace", "Tanh"} | norms
    content = graph.finish(model)
    np.testing.assert_allclose(answer(content, tensor), before, atol=1e-5)
    assert [name.split(".out")[1] for name in upsampling_nodes(content)] == [".subpixel"] * 2


@pytest.mark.parametrize("word", ["block", "conv_block", "layers"])
def test_residual_blocks_of_another_name_are_the_same(word: str) -> None:
    state = random_state(6, 4)
    renamed = {name.replace("conv_block", word): values for name, values in state.items()}
    found = with_block_names(renamed)
    assert list(found) == list(state)
    assert read_layout(found) == read_layout(state)


def test_two_names_of_residual_blocks_in_one_file_are_refused() -> None:
    state = random_state(6, 4)
    mixed = {name.replace("12.conv_block", "12.block"): values for name, values in state.items()}
    with pytest.raises(ModelError, match=r"residual blocks at \[10, 11, 13"):
        read_layout(with_block_names(mixed))


def test_running_statistics_of_instance_norms_are_ignored() -> None:
    state = random_state()
    old = dict(state)
    for name in list(state):
        place = name.removesuffix(".weight").split(".")
        if not name.endswith(".weight") or state[name].ndim != 4 or name == "model.23.weight":
            continue
        place[-1] = str(int(place[-1]) + 1)
        outputs = state[name.replace(".weight", ".bias")].size
        old[f"{'.'.join(place)}.running_mean"] = np.full(outputs, 5, np.float32)
        old[f"{'.'.join(place)}.running_var"] = np.full(outputs, 9, np.float32)
    assert len(old) > len(state)
    layout = read_layout(old)
    assert layout.norm == "instance"
    tensor = RANDOM.uniform(-1, 1, (1, 3, 16, 16)).astype(np.float32)
    one, other = (
        answer(graph.finish(build(each, layout, (16, 16))), tensor) for each in (state, old)
    )
    np.testing.assert_array_equal(one, other)


def changed(**changes: Any) -> Callable[[State], None]:
    """Return a function that changes a state: None removes a weight, an array sets it."""

    def change(state: State) -> None:
        for name, values in changes.items():
            key = name.replace("__", ".")
            if values is None:
                del state[key]
            else:
                state[key] = values

    return change


def no_norm(state: State) -> None:
    for name in [each for each in state if each.endswith(".bias") and each != "model.23.bias"]:
        del state[name]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda state: state.clear(), "no convolution model.1.weight"),
        (changed(model__1__bias=None, model__4__weight=None), "neither bias nor norm"),
        (no_norm, "neither bias nor norm"),
        (changed(model__4__weight=None), "model.4.weight is missing"),
        (changed(model__7__bias=None), "model.7.bias is missing"),
        (changed(model__12__conv_block__5__weight=None), "model.12.conv_block.5.weight is missing"),
        (changed(model__4__weight=np.zeros((8, 4, 5, 5), np.float32)), r"\[8, 4, 5, 5\], expected"),
        (changed(model__1__weight=np.zeros(4, np.float32)), "no convolution model.1.weight"),
        (changed(model__1__weight=np.zeros((4, 2, 7, 7), np.float32)), "takes 2 channels"),
        (changed(model__23__weight=np.zeros((4, 4, 7, 7), np.float32)), "gives 4 channels"),
        (changed(model__23__weight=None), "gives 0 channels"),
        (changed(model__4__bias=np.full(8, np.nan, np.float32)), "model.4.bias is not finite"),
        (changed(model__99__weight=np.zeros(3, np.float32)), "model.99.weight is not known"),
        (
            changed(model__18__conv_block__1__weight=np.zeros(1)),
            r"blocks at \[10, .*18\], expected",
        ),
        (changed(model__model__0__weight=np.zeros(1)), "of a U-Net generator"),
        (changed(model__0__weight=np.zeros((64, 3, 4, 4))), "of a discriminator"),
        (changed(net__0__weight=np.zeros((64, 3, 1, 1))), "of a pixel discriminator"),
        (changed(model__5__filt=np.zeros((8, 1, 3, 3))), "anti-aliased"),
        (changed(model__10__conv_block__0__weight=np.zeros((16, 16, 3, 3))), "padded with zeros"),
    ],
)
def test_other_and_damaged_networks_are_refused_by_name(
    change: Callable[[State], None], complaint: str
) -> None:
    state = random_state()
    change(state)
    with pytest.raises(ModelError, match=complaint) as caught:
        read_layout(state)
    assert "\n" not in str(caught.value)


@settings(max_examples=80)
@given(
    kernel=st.integers(1, 6),
    stride=st.integers(1, 4),
    pad=st.integers(0, 3),
    added=st.integers(0, 3),
    bias=st.booleans(),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
)
def test_rewriting_a_transposed_convolution_does_not_change_the_function(  # noqa: PLR0917
    kernel: int, stride: int, pad: int, added: int, bias: bool, size: tuple[int, int]
) -> None:
    pad_after = kernel - pad + added - stride  # the output is then exactly stride times as large
    if added >= stride or pad >= kernel or not 0 <= pad_after < kernel:
        return
    weights = {
        "w": RANDOM.normal(0, 1, (3, 2, kernel, kernel)).astype(np.float32),
        "b": RANDOM.normal(0, 1, 2).astype(np.float32),
    }
    node = helper.make_node(
        "ConvTranspose", ["x", "w", *(["b"] if bias else [])], ["y"], strides=[stride] * 2,
        pads=[pad, pad, pad_after, pad_after], output_padding=[added] * 2,
    )  # fmt: skip
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, *size)),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "c", "h", "w"]),
    ]
    stored = [numpy_helper.from_array(weights[name], name) for name in node.input[1:]]
    model = helper.make_model(
        helper.make_graph([node], "g", ends[:1], ends[1:], stored),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    tensor = RANDOM.normal(0, 1, (1, 3, *size)).astype(np.float32)
    before = answer(model.SerializeToString(), tensor)
    assert rewrite_transposed(model) == 1
    after = answer(graph.finish(model), tensor)
    np.testing.assert_allclose(after, before, atol=1e-4)


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [2, 1]},
        {"strides": [2, 2]},  # the output is one pixel larger than twice the input
        {"strides": [2, 2], "pads": [1, 0, 1, 1], "output_padding": [1, 0]},
        {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1], "group": 2},
        {"strides": [2, 2], "pads": [2] * 4, "output_padding": [1, 1], "dilations": [2, 2]},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"strides": [2, 2], "output_shape": [12, 12]},
    ],
)
def test_unsupported_transposed_convolutions_stay_unchanged(attributes: dict[str, Any]) -> None:
    node = helper.make_node("ConvTranspose", [INPUT, "w"], ["y"], **attributes)
    weight = numpy_helper.from_array(np.zeros((2, 2, 3, 3), np.float32), "w")
    ends = [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, (1, 2, 6, 6))]
    model = helper.make_model(
        helper.make_graph(
            [node], "g", ends, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [weight],
        )
    )  # fmt: skip
    assert rewrite_transposed(model) == 0
    assert [each.op_type for each in model.graph.node] == ["ConvTranspose"]
