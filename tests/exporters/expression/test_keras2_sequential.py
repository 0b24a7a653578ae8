"""Sequential models as every Keras 2 wrote them: a configuration, or a bare list before 2.2.3."""

import copy
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from edge.errors import ModelError
from exporters.cli import main
from exporters.expression.keras2 import load_keras2
from exporters.expression.keras2_file import convert
from tests.support.keras2_files import (
    Arrays,
    assert_equal_outputs,
    conv,
    dense,
    layer,
    norm,
    predict,
    random_arrays,
    relu,
    run_graph,
    small_network,
    write,
)

RANDOM = np.random.default_rng(20240515)


def drawn(shape: tuple[int, int, int]) -> Any:
    return RANDOM.normal(0, 1, shape).astype(np.float32)


def load_here(path: Path, size: tuple[int, int] | None = None) -> Any:
    return convert(path.read_bytes(), None, size)


def bare(model: dict[str, Any], version: str) -> dict[str, Any]:
    """Return a chain of layers as a Sequential of that Keras: without input layer and calls."""
    first, *layers = copy.deepcopy(model["config"]["layers"])
    for each in layers:
        for key in ("inbound_nodes", "name", "module", "registered_name"):
            each.pop(key, None)
    layers[0]["config"]["batch_input_shape"] = first["config"]["batch_input_shape"]
    old = tuple(map(int, version.split("-", maxsplit=1)[0].split("."))) < (2, 2, 3)
    config = layers if old else {"name": "sequential_1", "layers": layers}
    return {
        "class_name": "Sequential", "config": config, "keras_version": version,
        "backend": "tensorflow",
    }  # fmt: skip


def stored(path: Path, model: dict[str, Any], arrays: Arrays, said: dict[str, Any]) -> Path:
    """Write the weights of ``model`` with the architecture ``said`` in the form of old files."""
    write(path, model, arrays, fixed_text=True)
    with h5py.File(path, "r+") as file:
        kept = {key: said[key] for key in ("class_name", "config")}
        file.attrs["model_config"] = json.dumps(kept).encode()
        for where in (file, file["model_weights"]):
            where.attrs["keras_version"] = said["keras_version"].encode()
    return path


CHAIN = small_network(
    [
        conv("conv2d_1", "input_1", 4, 3, 2, use_bias=True),
        norm("batch_normalization_1", "conv2d_1"),
        layer("Activation", "activation_1", ["batch_normalization_1"], activation="relu"),
        layer("GlobalAveragePooling2D", "pool", ["activation_1"], keepdims=False),
        dense("dense_1", "pool", 10, "linear"),
    ],
    48,
    48,
)


@pytest.mark.parametrize("version", ["2.0.8", "2.1.6", "2.1.6-tf", "2.2.2", "2.2.3", "2.3.1"])
@pytest.mark.parametrize("apart", [False, True])
def test_a_sequential_of_any_keras_2_is_the_same_graph(
    tmp_path: Path, version: str, apart: bool
) -> None:
    arrays = random_arrays(CHAIN, 8, (48, 48, 3))
    said = bare(CHAIN, version)
    weights = stored(tmp_path / "net.h5", CHAIN, arrays, said)
    if apart:
        weights = write(tmp_path / "net.hdf5", CHAIN, arrays, whole=False)
        (tmp_path / "net.json").write_text(json.dumps(said))
    read = load_keras2(weights, architecture=tmp_path / "net.json" if apart else None)
    assert_equal_outputs(read.graph, CHAIN, arrays, drawn((48, 48, 3)))


def test_a_bare_sequential_is_exported(tmp_path: Path) -> None:
    said = bare(CHAIN, "2.1.6")
    weights = stored(tmp_path / "net.h5", CHAIN, random_arrays(CHAIN, 8, (48, 48, 3)), said)
    command = ["mobilenet-fer", "--weights", str(weights), "--out", str(tmp_path / "net")]
    assert main([*command, "--normalisation", "none", "--margin", "0.05"]) == 0


def nested(parts: dict[str, list[Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a model of Functional parts, and the same parts as bare lists in a bare list."""
    entries, lists, before = [], [], "input_1"
    for name, layers in parts.items():
        inner = small_network(layers)
        said = bare(inner, "2.1.6")
        entries.append({**inner, "name": name, "inbound_nodes": [[[before, 0, 0, {}]]]})
        inner["config"]["name"] = before = name
        lists.append({key: said[key] for key in ("class_name", "config")})
    whole = small_network(entries)
    for each in lists[1:]:
        del each["config"][0]["config"]["batch_input_shape"]
    root = {"class_name": "Sequential", "config": lists, "keras_version": "2.1.6"}
    return whole, {**root, "backend": "tensorflow"}


PARTS = {
    "sequential_4": [conv("c", "input_1", 3, 3, 1), relu("r", "c")],
    "sequential_2": [conv("c", "input_1", 3, 3, 2, use_bias=True), relu("r", "c")],
}


def test_nameless_models_in_a_bare_list_go_by_the_order_of_their_weights(tmp_path: Path) -> None:
    """Both hold layers of the same names: only the group tells their weights apart."""
    whole, said = nested(PARTS)
    parts = whole["config"]["layers"][1:]
    arrays = {each["name"]: random_arrays(each, 5 + place, (9, 12, 3))
              for place, each in enumerate(parts)}  # fmt: skip
    path = write(tmp_path / "net.h5", whole, {})
    with h5py.File(path, "r+") as file:
        groups = file["model_weights"]
        groups.attrs["layer_names"] = np.array([each["name"] for each in parts], "S")
        for name, layers in arrays.items():
            names = []
            for owner, kinds in layers.items():
                for kind, values in kinds.items():
                    names.append(f"{owner}/{kind}:0")
                    groups[name].create_dataset(names[-1], data=values)
            groups[name].attrs["weight_names"] = np.array(names, "S")
        file.attrs["model_config"] = json.dumps(said)
    picture = drawn((9, 12, 3))
    known = picture
    for each in parts:
        (known,) = predict(each, arrays[each["name"]], known)
    (seen,) = run_graph(load_here(path), picture)
    np.testing.assert_allclose(seen.transpose(1, 2, 0), known, atol=1e-5)


def test_a_bare_sequential_with_a_name_inside_a_model(tmp_path: Path) -> None:
    whole, said = nested({"sequential_4": PARTS["sequential_4"]})
    arrays = random_arrays(whole, 5, (9, 12, 3))
    path = write(tmp_path / "net.h5", whole, arrays)
    old = copy.deepcopy(whole)
    old["config"]["layers"][1] |= said["config"][0]
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps({**old, "class_name": "Model"})
    assert_equal_outputs(load_here(path), whole, arrays, drawn((9, 12, 3)))


def test_a_sequential_built_for_a_shape_needs_no_input_layer(tmp_path: Path) -> None:
    arrays = random_arrays(CHAIN, 8, (48, 48, 3))
    said = bare(CHAIN, "2.3.1")
    del said["config"]["layers"][0]["config"]["batch_input_shape"]
    said["config"]["build_input_shape"] = [None, 48, 48, 3]
    path = stored(tmp_path / "net.h5", CHAIN, arrays, said)
    assert_equal_outputs(load_here(path), CHAIN, arrays, drawn((48, 48, 3)))


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ([], "layer Sequential \\(Sequential\\): has no layers"),
        (["conv"], "conv is no layer"),
        ([{"class_name": "Conv2D", "config": []}], "is no layer"),
    ],
)
def test_a_list_that_holds_no_layers_is_refused(
    tmp_path: Path, config: Any, complaint: str
) -> None:
    said = {**bare(CHAIN, "2.1.6"), "config": config}
    path = stored(tmp_path / "net.h5", CHAIN, random_arrays(CHAIN, 8, (48, 48, 3)), said)
    with pytest.raises(ModelError, match=complaint):
        load_here(path)


def test_a_functional_model_is_no_bare_list(tmp_path: Path) -> None:
    said = {**bare(CHAIN, "2.1.6"), "class_name": "Model"}
    path = stored(tmp_path / "net.h5", CHAIN, random_arrays(CHAIN, 8, (48, 48, 3)), said)
    with pytest.raises(ModelError, match="is no layer; expected class_name and config"):
        load_here(path)
