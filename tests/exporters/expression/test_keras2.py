"""Keras 2 files: the graph answers as the layers do, and what is no such file is refused."""

import copy
import io
import json
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import ModelError
from edge.vision.inference.runtimes import OnnxSession
from exporters.expression import keras2
from exporters.expression.keras2 import load_keras2
from exporters.expression.keras2_file import convert
from tests.support.keras2_files import (
    answer,
    conv,
    dense,
    depthwise,
    inputs,
    layer,
    mobilenet_fer,
    model,
    norm,
    pad,
    random_arrays,
    relu,
    write,
)

RANDOM = np.random.default_rng(20240515)


def read_here(path: Path, size: tuple[int, int] | None = None) -> Any:
    return convert(path.read_bytes(), None, size)


def graph_answers(converted: Any, picture: Any) -> list[Any]:
    onnx.checker.check_model(converted, full_check=True)
    names = [value.name for value in converted.graph.output]
    tensor = picture.astype(np.float32).transpose(2, 0, 1)[None]
    outputs = OnnxSession(converted.SerializeToString(), 1).run(tensor)
    return [outputs[name][0] for name in names]


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
def test_a_mobilenet_of_any_width_and_size_answers_as_its_layers(
    tmp_path: Path, alpha: float, shape: tuple[int, int, int], whole: bool
) -> None:
    height, width, channels = shape
    said = mobilenet_fer(height, alpha, channels=channels, width=width)
    arrays = random_arrays(said, 3, (height, width, channels))
    weights = write(tmp_path / "net.h5", said, arrays, whole=whole)
    architecture = None
    if not whole:
        architecture = tmp_path / "net.json"
        architecture.write_text(json.dumps(said))
    read = load_keras2(weights, architecture=architecture)
    assert read.name == "hybrid_one"
    assert bool(read.architecture_sha256) is not whole
    sizes = read.graph.graph.input[0].type.tensor_type.shape.dim
    assert [each.dim_value for each in sizes] == [1, channels, height, width]
    assert [value.name for value in read.graph.graph.output] == ["classifier", "regressor"]
    picture = RANDOM.normal(0, 0.6, (height, width, channels)).astype(np.float32)
    expected = answer(said, arrays, picture)
    for seen, known in zip(graph_answers(read.graph, picture), expected, strict=True):
        assert seen.shape == known.shape
        np.testing.assert_allclose(seen, known, atol=1e-5)
    assert float(np.std(expected[0])) > 0.01  # the heads say something at all


@pytest.mark.parametrize(("fixed_text", "split_names"), [(True, False), (False, True)])
def test_names_as_bytes_and_names_over_several_attributes_are_the_same_file(
    tmp_path: Path, fixed_text: bool, split_names: bool
) -> None:
    said = mobilenet_fer(32, 0.25, blocks=2)
    arrays = random_arrays(said, 4, (32, 32, 3))
    plain = read_here(write(tmp_path / "plain.h5", said, arrays))
    other = write(
        tmp_path / "other.h5", said, arrays, fixed_text=fixed_text, split_names=split_names
    )
    assert read_here(other) == plain


def one_picture(layers: list[Any], height: int = 9, width: int = 12, channels: int = 3) -> Any:
    return model("small", [inputs("input_1", height, width, channels), *layers], [
        layers[-1]["name"]
    ])  # fmt: skip


# fmt: off
SMALL = {
    "same, stride 3, even kernel, bias, relu": one_picture(
        [conv("c", "input_1", 5, 4, 3, use_bias=True, activation="relu")]
    ),
    "rectangular kernel": one_picture(
        [conv("c", "input_1", 4, 3, 1, kernel_size=[2, 5], strides=[1, 2])]
    ),
    "dilated": one_picture([conv("c", "input_1", 4, 3, 1, dilation_rate=[2, 2])]),
    "groups": one_picture([conv("c", "input_1", 6, 3, 1, groups=3)]),
    "activation as an object": one_picture(
        [conv("c", "input_1", 6, 3, 1, activation={"class_name": "function", "config": "tanh"})]
    ),
    "two channels of each": one_picture(
        [depthwise("d", "input_1", 2, "same", depth_multiplier=2, use_bias=True)]
    ),
    "padding met by no convolution": one_picture(
        [pad("p", "input_1", [[2, 0], [1, 3]]), norm("n", "p")]
    ),
    "padding twice, then same": one_picture(
        [pad("p", "input_1", [[2, 0], [1, 3]]), pad("q", "p", [[0, 1], [0, 0]]),
         conv("c", "q", 4, 3, 2)]
    ),
    "padding used twice": one_picture(
        [pad("p", "input_1", [[1, 1], [1, 1]]), conv("c", "p", 3, 1, 1), relu("r", "p"),
         layer("Add", "a", ["c", "r"])]
    ),
    "norm without gamma": one_picture([norm("n", "input_1", scale=False)]),
    "norm without beta": one_picture([norm("n", "input_1", center=False, epsilon=1e-5)]),
    "flatten": one_picture(
        [layer("Flatten", "f", ["input_1"], channels=9 * 12 * 3), dense("d", "f", 4, "linear")]
    ),
    "the older head": one_picture(
        [
            layer("GlobalAveragePooling2D", "g", ["input_1"], keepdims=False),
            layer("Reshape", "r", ["g"], target_shape=[1, 1, 3], channels=3),
            conv("conv_preds", "r", 8, 1, 1, use_bias=True),
            layer("Reshape", "s", ["conv_preds"], target_shape=[8], channels=8),
            layer("Activation", "act_softmax", ["s"], activation="softmax"),
        ]
    ),
    "pooling that keeps its sides": one_picture(
        [layer("GlobalAveragePooling2D", "g", ["input_1"], keepdims=True),
         conv("c", "g", 8, 1, 1)]
    ),
    "reshape of maps": one_picture(
        [layer("Reshape", "r", ["input_1"], target_shape=[6, 6, -1], channels=9),
         conv("c", "r", 2, 3, 1), layer("Activation", "a", ["c"], activation="relu6")]
    ),
    "dropout last": one_picture(
        [layer("Flatten", "f", ["input_1"], channels=9 * 12 * 3), dense("d", "f", 4, "tanh"),
         layer("Dropout", "o", ["d"], rate=0.5)]
    ),
}
# fmt: on


@pytest.mark.parametrize("name", SMALL)
def test_each_kind_of_layer_answers_as_keras_defines_it(tmp_path: Path, name: str) -> None:
    said = SMALL[name]
    arrays = random_arrays(said, 8, (9, 12, 3))
    converted = read_here(write(tmp_path / "net.h5", said, arrays))
    picture = RANDOM.normal(0, 2, (9, 12, 3)).astype(np.float32)
    (seen,), (known,) = graph_answers(converted, picture), answer(said, arrays, picture)
    if seen.ndim == 3:
        seen = seen.transpose(1, 2, 0)
    np.testing.assert_allclose(seen, known, atol=1e-5)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sides=st.tuples(st.integers(1, 17), st.integers(1, 17)),
    window=st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 2)),
    depth=st.booleans(),
)
def test_same_padding_is_tensorflows_for_every_size(
    tmp_path: Path, sides: tuple[int, int], window: tuple[int, int, int], depth: bool
) -> None:
    (height, width), (kernel, stride, rate) = sides, window
    more = {"kernel_size": [kernel, kernel], "dilation_rate": [rate, rate]}
    last = (
        depthwise("c", "input_1", stride, "same", **more)
        if depth
        else conv("c", "input_1", 2, kernel, stride, **more)
    )
    said = one_picture([last], height, width, 3)
    arrays = random_arrays(said, 8, (height, width, 3))
    converted = read_here(write(tmp_path / "net.h5", said, arrays))
    picture = RANDOM.normal(0, 1, (height, width, 3)).astype(np.float32)
    (seen,), (known,) = graph_answers(converted, picture), answer(said, arrays, picture)
    np.testing.assert_allclose(seen.transpose(1, 2, 0), known, atol=1e-5)


def test_a_sequential_model_and_an_open_size(tmp_path: Path) -> None:
    said = one_picture([conv("c", "input_1", 2, 3, 2), relu("r", "c")], 20, 30)
    arrays = random_arrays(said, 8, (20, 30, 3))
    picture = RANDOM.normal(0, 1, (20, 30, 3)).astype(np.float32)
    (known,) = answer(said, arrays, picture)
    opened = copy.deepcopy(said)
    opened["config"]["layers"][0]["config"]["batch_input_shape"] = [None, None, None, 3]
    row = copy.deepcopy(said)
    row["class_name"] = "Sequential"
    for each in row["config"]["layers"]:
        del each["inbound_nodes"]
    row_file = write(tmp_path / "row.h5", said, arrays, whole=False)
    (tmp_path / "row.json").write_text(json.dumps(row))
    open_file = write(tmp_path / "open.h5", opened, arrays)
    for converted in (
        read_here(open_file, size=(30, 20)),
        load_keras2(row_file, architecture=tmp_path / "row.json", size=(30, 20)).graph,
    ):
        (seen,) = graph_answers(converted, picture)
        np.testing.assert_allclose(seen.transpose(1, 2, 0), known, atol=1e-5)
    with pytest.raises(ModelError, match="leaves its input size open; give --size"):
        read_here(open_file)
    with pytest.raises(ModelError, match="--size 10x10: the model takes 30x20"):
        load_keras2(row_file, architecture=tmp_path / "row.json", size=(10, 10))


def test_a_layer_whose_weights_were_renamed_is_known_by_its_group(tmp_path: Path) -> None:
    said = mobilenet_fer(32, 0.25, blocks=1)
    path = write(tmp_path / "net.h5", said, random_arrays(said, 6, (32, 32, 3)))
    plain = read_here(path)
    with h5py.File(path, "r+") as file:
        group = file["model_weights/classifier"]
        group.move("classifier", "classifier_1")
        group.attrs["weight_names"] = ["classifier_1/kernel:0", "classifier_1/bias:0"]
    assert read_here(path) == plain


def test_the_same_file_twice_gives_the_same_graph(tmp_path: Path) -> None:
    said = mobilenet_fer(48, 0.25, blocks=3)
    weights = write(tmp_path / "net.h5", said, random_arrays(said, 5, (48, 48, 3)))
    one, two = (load_keras2(weights).graph.SerializeToString(deterministic=True) for _ in "12")
    assert one == two
    assert str(tmp_path).encode() not in one


# -- what is refused ----------------------------------------------------------------------------

Change = Callable[[Path], Any]


def changed_file(change: Callable[[h5py.File], None]) -> Change:
    def changed(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return changed


def changed_layer(index: int, **more: Any) -> Change:
    def change(file: h5py.File) -> None:
        said = json.loads(file.attrs["model_config"])
        entry = said["config"]["layers"][index]
        for key, value in more.items():
            (entry if key in ("class_name", "inbound_nodes", "name") else entry["config"])[key] = (
                value
            )
        file.attrs["model_config"] = json.dumps(said)

    return changed_file(change)


def replaced(path: str, values: Any) -> Change:
    def change(file: h5py.File) -> None:
        del file[path]
        if values is not None:
            file[path] = values

    return changed_file(change)


def linked(link: Any) -> Change:
    return replaced("model_weights/classifier/classifier/kernel:0", link)


def virtual(file: h5py.File) -> None:
    path = "model_weights/classifier/classifier/kernel:0"
    shape = file[path].shape
    del file[path]
    made = h5py.VirtualLayout(shape, np.float32)
    made[:] = h5py.VirtualSource("other.h5", "x", shape)
    file.create_virtual_dataset(path, made)


def external(file: h5py.File) -> None:
    path = "model_weights/classifier/classifier/kernel:0"
    shape = file[path].shape
    del file[path]
    file.create_dataset(path, shape, np.float32, external=[("/etc/hostname", 0, 1 << 20)])


def extra(file: h5py.File) -> None:
    group = file["model_weights/dropout"]
    group["dropout/seed:0"] = np.zeros(2, np.float32)
    group.attrs["weight_names"] = ["dropout/seed:0"]


def keras_3(file: h5py.File) -> None:
    file.attrs["keras_version"] = "3.5.0"


def unnamed(file: h5py.File) -> None:
    del file["model_weights"].attrs["layer_names"]


def newer_layout(path: Path) -> None:
    path.unlink()
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.zeros(3, np.float32)
        file.create_group("_layer_checkpoint_dependencies")


def deep(path: Path) -> None:
    said: Any = one_picture([conv("c", "input_1", 2, 1, 1)])
    for _ in range(12):
        inner = {**said, "name": "deep", "inbound_nodes": [[["input_1", 0, 0, {}]]]}
        said = one_picture([inner])
        inner["config"]["name"] = "deep"
    write(path, said, {})


KERNEL = "model_weights/classifier/classifier/kernel:0"
REFUSED: dict[str, tuple[Change, str]] = {
    "empty": (lambda path: path.write_bytes(b""), "damaged HDF5"),
    "text": (lambda path: path.write_text("no network"), "damaged HDF5"),
    "half": (lambda path: path.write_bytes(path.read_bytes()[:40_000]), "damaged HDF5"),
    "no array": (replaced(KERNEL, None), "'kernel:0' is missing"),
    "no group": (replaced("model_weights/dropout", None), "group 'dropout' is missing"),
    "array of another shape": (
        replaced(KERNEL, np.zeros((16, 9), np.float32)),
        r"layer classifier: kernel is float32 \[16, 9\], expected float32 \[32, 8\]",
    ),
    "array of whole numbers": (replaced(KERNEL, np.zeros((32, 8), int)), "kernel is int64"),
    "array of texts": (replaced(KERNEL, np.full((32, 8), b"x")), "kernel is |S1"),
    "not finite": (
        replaced(KERNEL, np.full((32, 8), np.nan)), "layer classifier: kernel holds values"
    ),
    "beyond float32": (replaced(KERNEL, np.full((32, 8), 1e300)), "not finite"),
    "soft link": (linked(h5py.SoftLink("/elsewhere")), "is a link"),
    "external link": (linked(h5py.ExternalLink("/etc/passwd", "/x")), "is a link"),
    "virtual array": (changed_file(virtual), "no plain array"),
    "array in another file": (changed_file(external), "no plain array"),
    "weights left over": (changed_file(extra), "layer dropout: seed has no place"),
    "of Keras 3": (changed_file(keras_3), "written by Keras 3.5.0; expected Keras 2"),
    "no layer_names": (changed_file(unnamed), "no attribute layer_names"),
    "newer layout": (newer_layout, r"the newer .weights.h5 layout"),
    "unknown kind": (
        changed_layer(4, class_name="Lambda"),
        r"layer global_average_pooling2d \(Lambda\): this kind is not supported",
    ),
    "channels first": (changed_layer(4, data_format="channels_first"), "not channels_last"),
    "another activation": (changed_layer(6, activation="selu"), "activation selu is not known"),
    "another axis": (changed_layer(1, axis=[1]), "axis is 1, expected the last"),
    "absurd size": (changed_layer(0, batch_input_shape=[None, 10**9, 9, 3]), "sizes of 1 to 4096"),
    "no size": (changed_layer(0, batch_input_shape="x"), "batch_input_shape is x"),
    "absurd units": (changed_layer(6, units=10**12), r"units is 1000000000000, expected"),
    "units as text": (changed_layer(6, units="8"), "units is 8, expected"),
    "used twice": (
        changed_layer(6, inbound_nodes=[[["dropout", 0, 0, {}]]] * 2), "is used 2 times"
    ),
    "in training": (
        changed_layer(6, inbound_nodes=[[["dropout", 0, 0, {"training": True}]]]),
        "is called with",
    ),
    "before itself": (changed_layer(6, inbound_nodes=[[["regressor", 0, 0, {}]]]), "no layer befo"),
    "Keras 3's calls": (changed_layer(6, inbound_nodes=[{"args": []}]), "as Keras 2 writes them"),
    "two of a name": (changed_layer(7, name="classifier"), "two layers of this name"),
    "config that is none": (
        changed_file(lambda file: file.attrs.__setitem__("model_config", "[" * 100_000)), "not JSON"
    ),
    "config of something else": (
        changed_file(lambda file: file.attrs.__setitem__("model_config", '{"a": 1}')),
        "not the architecture",
    ),
    "nested too deep": (deep, "nested deeper than 8"),
    "a layer with control letters": (
        changed_layer(6, name="a\nb\x1b[31m", class_name="Nothing"), r"layer a b \[31m \(Nothing\)"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_keras_2_checkpoint_is_refused_in_a_line(tmp_path: Path, name: str) -> None:
    change, complaint = REFUSED[name]
    said = mobilenet_fer(32, 0.25, blocks=2)
    path = write(tmp_path / "net.h5", said, random_arrays(said, 6, (32, 32, 3)))
    change(path)
    with pytest.raises(ModelError, match=complaint) as caught:
        read_here(path)
    assert str(caught.value).isprintable()


def test_weights_alone_need_their_architecture(tmp_path: Path) -> None:
    said = mobilenet_fer(32, 0.25, blocks=2)
    path = write(tmp_path / "w.hdf5", said, random_arrays(said, 6, (32, 32, 3)), whole=False)
    with pytest.raises(ModelError, match="holds weights alone; give the model's --architecture"):
        load_keras2(path)
    other = tmp_path / "a.json"
    wider = mobilenet_fer(32, 0.5, blocks=2)
    other.write_text(json.dumps(wider).replace("mobilenet_0.50_32", "mobilenet_0.25_32"))
    with pytest.raises(ModelError, match=r"layer conv1: kernel is float32 \[3, 3, 3, 8\]"):
        load_keras2(path, architecture=other)
    other.write_text(json.dumps(mobilenet_fer(32, 0.25, blocks=3)))
    with pytest.raises(ModelError, match="layer conv_dw_3: depthwise_kernel is missing"):
        load_keras2(path, architecture=other)
    fewer = copy.deepcopy(said)
    del fewer["config"]["layers"][-1], fewer["config"]["output_layers"][-1]
    other.write_text(json.dumps(fewer))
    with pytest.raises(ModelError, match="layer regressor: kernel has no place"):
        load_keras2(path, architecture=other)
    other.write_text(json.dumps({**said, "keras_version": "3.1.0"}))
    with pytest.raises(ModelError, match=r"--architecture .*: written by Keras 3.1.0"):
        load_keras2(path, architecture=other)
    other.write_text(json.dumps({**said, "backend": "theano"}))
    with pytest.raises(ModelError, match="Keras on theano"):
        load_keras2(path, architecture=other)
    with pytest.raises(ModelError, match=r"--architecture .*: No such file"):
        load_keras2(path, architecture=tmp_path / "none.json")


def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    said = mobilenet_fer(32, 0.25, blocks=1)
    content = write(tmp_path / "net.h5", said, random_arrays(said, 6, (32, 32, 3))).read_bytes()
    for length in range(0, len(content) - 1, len(content) // 60):
        with pytest.raises(ModelError) as caught:
            convert(content[:length])
        assert str(caught.value).isprintable()


def test_a_file_with_turned_bytes_is_a_line_or_a_graph_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library may loop for ever on such files, so each is read where it can be stopped."""
    monkeypatch.setattr(keras2, "_SECONDS_MAX", 3)
    said = mobilenet_fer(32, 0.25, blocks=1)
    path = write(tmp_path / "net.h5", said, random_arrays(said, 6, (32, 32, 3)))
    content, random, refused = path.read_bytes(), np.random.default_rng(17), 0
    for _ in range(8):
        turned = bytearray(content)
        for place in random.integers(0, 6000, 8):
            turned[place] ^= int(random.integers(1, 256))
        path.write_bytes(turned)
        with suppress(ModelError):
            load_keras2(path)
            continue
        refused += 1
    assert refused > 0


def test_a_file_that_keeps_the_library_busy_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = mobilenet_fer(32, 0.25, blocks=1)
    path = write(tmp_path / "net.h5", said, random_arrays(said, 6, (32, 32, 3)))
    monkeypatch.setattr(keras2, "_SECONDS_MAX", 0.01)
    with pytest.raises(ModelError, match=r"did not end within 0.01 s; copy the file again"):
        load_keras2(path)


def test_a_keras_zip_is_no_hdf5(tmp_path: Path) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"")
    (tmp_path / "net.keras").write_bytes(held.getvalue())
    with pytest.raises(ModelError, match="damaged HDF5"):
        load_keras2(tmp_path / "net.keras")
    with pytest.raises(ModelError, match="not a file"):
        load_keras2(tmp_path)
