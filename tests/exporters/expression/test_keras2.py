"""Keras 2 files: the converted graph computes what the layers of the file define."""

import copy
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import ModelError
from exporters.expression.keras2 import load_keras2
from exporters.expression.keras2_file import convert
from tests.support.keras2_files import (
    assert_equal_outputs,
    conv,
    dense,
    depthwise,
    layer,
    mobilenet_fer,
    norm,
    pad,
    predict,
    random_arrays,
    relu,
    run_graph,
    small_network,
    write,
)

RANDOM = np.random.default_rng(20240515)


def load_here(path: Path, size: tuple[int, int] | None = None) -> Any:
    """Convert a file in this process; ``load_keras2`` does it in a child process."""
    return convert(path.read_bytes(), None, size)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("alpha", "shape"),
    [
        (0.75, (224, 224, 3)),
        (0.5, (96, 96, 3)),
        (0.25, (128, 128, 1)),
        (1.0, (64, 64, 3)),
        (0.25, (75, 101, 3)),  # odd sizes: where "same" and the padding differ
    ],
)
def test_a_mobilenet_of_any_width_and_size_computes_the_same(
    tmp_path: Path, alpha: float, shape: tuple[int, int, int], whole: bool
) -> None:
    height, width, channels = shape
    network = mobilenet_fer(height, alpha, channels=channels, width=width)
    arrays = random_arrays(network, 3, (height, width, channels))
    weights = write(tmp_path / "net.h5", network, arrays, whole=whole)
    file = None
    if not whole:
        file = tmp_path / "net.json"
        file.write_text(json.dumps(network))
    loaded = load_keras2(weights, architecture=file)
    assert loaded.name == "hybrid_one"
    assert bool(loaded.architecture_sha256) is not whole
    sizes = loaded.graph.graph.input[0].type.tensor_type.shape.dim
    assert [each.dim_value for each in sizes] == [1, channels, height, width]
    assert [value.name for value in loaded.graph.graph.output] == ["classifier", "regressor"]
    picture = RANDOM.normal(0, 0.6, (height, width, channels)).astype(np.float32)
    expected = predict(network, arrays, picture)
    for actual, reference in zip(run_graph(loaded.graph, picture), expected, strict=True):
        assert actual.shape == reference.shape
        np.testing.assert_allclose(actual, reference, atol=1e-5)
    assert float(np.std(expected[0])) > 0.01  # the outputs are not all equal


@pytest.mark.parametrize(("fixed_text", "split_names"), [(True, False), (False, True)])
def test_other_ways_to_store_names_give_the_same_graph(
    tmp_path: Path, fixed_text: bool, split_names: bool
) -> None:
    network = mobilenet_fer(32, 0.25, blocks=2)
    arrays = random_arrays(network, 4, (32, 32, 3))
    plain = load_here(write(tmp_path / "plain.h5", network, arrays))
    other = write(
        tmp_path / "other.h5", network, arrays, fixed_text=fixed_text, split_names=split_names
    )
    assert load_here(other) == plain


# fmt: off
NETWORKS = {
    "same, stride 3, even kernel, bias, relu": small_network(
        [conv("c", "input_1", 5, 4, 3, use_bias=True, activation="relu")]
    ),
    "rectangular kernel": small_network(
        [conv("c", "input_1", 4, 3, 1, kernel_size=[2, 5], strides=[1, 2])]
    ),
    "dilated": small_network([conv("c", "input_1", 4, 3, 1, dilation_rate=[2, 2])]),
    "groups": small_network([conv("c", "input_1", 6, 3, 1, groups=3)]),
    "activation as an object": small_network(
        [conv("c", "input_1", 6, 3, 1, activation={"class_name": "function", "config": "tanh"})]
    ),
    "depth multiplier": small_network(
        [depthwise("d", "input_1", 2, "same", depth_multiplier=2, use_bias=True)]
    ),
    "padding without a convolution": small_network(
        [pad("p", "input_1", [[2, 0], [1, 3]]), norm("n", "p")]
    ),
    "padding twice, then same": small_network(
        [pad("p", "input_1", [[2, 0], [1, 3]]), pad("q", "p", [[0, 1], [0, 0]]),
         conv("c", "q", 4, 3, 2)]
    ),
    "padding used twice": small_network(
        [pad("p", "input_1", [[1, 1], [1, 1]]), conv("c", "p", 3, 1, 1), relu("r", "p"),
         layer("Add", "a", ["c", "r"])]
    ),
    "norm without gamma": small_network([norm("n", "input_1", scale=False)]),
    "norm without beta": small_network([norm("n", "input_1", center=False, epsilon=1e-5)]),
    "flatten": small_network(
        [layer("Flatten", "f", ["input_1"], channels=9 * 12 * 3), dense("d", "f", 4, "linear")]
    ),
    "head with Reshape and Conv2D": small_network(
        [
            layer("GlobalAveragePooling2D", "g", ["input_1"], keepdims=False),
            layer("Reshape", "r", ["g"], target_shape=[1, 1, 3], channels=3),
            conv("conv_preds", "r", 8, 1, 1, use_bias=True),
            layer("Reshape", "s", ["conv_preds"], target_shape=[8], channels=8),
            layer("Activation", "act_softmax", ["s"], activation="softmax"),
        ]
    ),
    "pooling with keepdims": small_network(
        [layer("GlobalAveragePooling2D", "g", ["input_1"], keepdims=True),
         conv("c", "g", 8, 1, 1)]
    ),
    "reshape of maps": small_network(
        [layer("Reshape", "r", ["input_1"], target_shape=[6, 6, -1], channels=9),
         conv("c", "r", 2, 3, 1), layer("Activation", "a", ["c"], activation="relu6")]
    ),
    "dropout last": small_network(
        [layer("Flatten", "f", ["input_1"], channels=9 * 12 * 3), dense("d", "f", 4, "tanh"),
         layer("Dropout", "o", ["d"], rate=0.5)]
    ),
}
# fmt: on


@pytest.mark.parametrize("name", NETWORKS)
def test_each_kind_of_layer_computes_what_keras_defines(tmp_path: Path, name: str) -> None:
    network = NETWORKS[name]
    arrays = random_arrays(network, 8, (9, 12, 3))
    converted = load_here(write(tmp_path / "net.h5", network, arrays))
    picture = RANDOM.normal(0, 2, (9, 12, 3)).astype(np.float32)
    assert_equal_outputs(converted, network, arrays, picture)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sides=st.tuples(st.integers(1, 17), st.integers(1, 17)),
    window=st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 2)),
    depth=st.booleans(),
)
def test_same_padding_equals_tensorflows_for_every_size(
    tmp_path: Path, sides: tuple[int, int], window: tuple[int, int, int], depth: bool
) -> None:
    (height, width), (kernel, stride, rate) = sides, window
    more = {"kernel_size": [kernel, kernel], "dilation_rate": [rate, rate]}
    last = (
        depthwise("c", "input_1", stride, "same", **more)
        if depth
        else conv("c", "input_1", 2, kernel, stride, **more)
    )
    network = small_network([last], height, width, 3)
    arrays = random_arrays(network, 8, (height, width, 3))
    converted = load_here(write(tmp_path / "net.h5", network, arrays))
    picture = RANDOM.normal(0, 1, (height, width, 3)).astype(np.float32)
    assert_equal_outputs(converted, network, arrays, picture)


def test_a_sequential_model_and_a_model_without_fixed_size(tmp_path: Path) -> None:
    network = small_network([conv("c", "input_1", 2, 3, 2), relu("r", "c")], 20, 30)
    arrays = random_arrays(network, 8, (20, 30, 3))
    picture = RANDOM.normal(0, 1, (20, 30, 3)).astype(np.float32)
    open_size = copy.deepcopy(network)
    open_size["config"]["layers"][0]["config"]["batch_input_shape"] = [None, None, None, 3]
    sequential = copy.deepcopy(network)
    sequential["class_name"] = "Sequential"
    for entry in sequential["config"]["layers"]:
        del entry["inbound_nodes"]
    row_file = write(tmp_path / "row.h5", network, arrays, whole=False)
    (tmp_path / "row.json").write_text(json.dumps(sequential))
    open_file = write(tmp_path / "open.h5", open_size, arrays)
    for converted in (
        load_here(open_file, size=(30, 20)),
        load_keras2(row_file, architecture=tmp_path / "row.json", size=(30, 20)).graph,
    ):
        assert_equal_outputs(converted, network, arrays, picture)
    with pytest.raises(ModelError, match="leaves its input size open; give --size"):
        load_here(open_file)
    with pytest.raises(ModelError, match="--size 10x10: the model takes 30x20"):
        load_keras2(row_file, architecture=tmp_path / "row.json", size=(10, 10))


def test_renamed_weights_are_found_by_the_group_of_their_layer(tmp_path: Path) -> None:
    network = mobilenet_fer(32, 0.25, blocks=1)
    path = write(tmp_path / "net.h5", network, random_arrays(network, 6, (32, 32, 3)))
    plain = load_here(path)
    with h5py.File(path, "r+") as file:
        group = file["model_weights/classifier"]
        group.move("classifier", "classifier_1")
        group.attrs["weight_names"] = ["classifier_1/kernel:0", "classifier_1/bias:0"]
    assert load_here(path) == plain


def test_the_same_file_twice_gives_the_same_graph(tmp_path: Path) -> None:
    network = mobilenet_fer(48, 0.25, blocks=3)
    weights = write(tmp_path / "net.h5", network, random_arrays(network, 5, (48, 48, 3)))
    one, two = (load_keras2(weights).graph.SerializeToString(deterministic=True) for _ in "12")
    assert one == two
    assert str(tmp_path).encode() not in one
