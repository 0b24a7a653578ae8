"""Keras 2 files that are damaged, unsupported or incomplete are refused in one line."""

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
import pytest

from edge.errors import ModelError
from exporters.expression import keras2
from exporters.expression.keras2 import load_keras2
from exporters.expression.keras2_file import convert
from tests.support.keras2_files import (
    conv,
    mobilenet_fer,
    random_arrays,
    small_network,
    write,
)

KERNEL = "model_weights/classifier/classifier/kernel:0"

Change = Callable[[Path], Any]


def valid_file(folder: Path, *, blocks: int = 2) -> Path:
    """Write a small network as Keras 2 does."""
    network = mobilenet_fer(32, 0.25, blocks=blocks)
    return write(folder / "net.h5", network, random_arrays(network, 6, (32, 32, 3)))


def changed_file(change: Callable[[h5py.File], None]) -> Change:
    def changed(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return changed


def changed_layer(index: int, **more: Any) -> Change:
    def change(file: h5py.File) -> None:
        network = json.loads(file.attrs["model_config"])
        entry = network["config"]["layers"][index]
        for key, value in more.items():
            (entry if key in ("class_name", "inbound_nodes", "name") else entry["config"])[key] = (
                value
            )
        file.attrs["model_config"] = json.dumps(network)

    return changed_file(change)


def replaced(path: str, values: Any) -> Change:
    def change(file: h5py.File) -> None:
        del file[path]
        if values is not None:
            file[path] = values

    return changed_file(change)


def linked(link: Any) -> Change:
    return replaced(KERNEL, link)


def virtual(file: h5py.File) -> None:
    shape = file[KERNEL].shape
    del file[KERNEL]
    layout = h5py.VirtualLayout(shape, np.float32)
    layout[:] = h5py.VirtualSource("other.h5", "x", shape)
    file.create_virtual_dataset(KERNEL, layout)


def external(file: h5py.File) -> None:
    shape = file[KERNEL].shape
    del file[KERNEL]
    file.create_dataset(KERNEL, shape, np.float32, external=[("/etc/hostname", 0, 1 << 20)])


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
    network: Any = small_network([conv("c", "input_1", 2, 1, 1)])
    for _ in range(12):
        inner = {**network, "name": "deep", "inbound_nodes": [[["input_1", 0, 0, {}]]]}
        network = small_network([inner])
        inner["config"]["name"] = "deep"
    write(path, network, {})


REFUSED: dict[str, tuple[Change, str]] = {
    "empty": (lambda path: path.write_bytes(b""), "damaged HDF5"),
    "text": (lambda path: path.write_text("no network"), "damaged HDF5"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:40_000]), "damaged HDF5"),
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
    "unused weights": (changed_file(extra), "layer dropout: seed has no place"),
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
    "huge size": (changed_layer(0, batch_input_shape=[None, 10**9, 9, 3]), "sizes of 1 to 4096"),
    "no size": (changed_layer(0, batch_input_shape="x"), "batch_input_shape is x"),
    "too many units": (changed_layer(6, units=10**12), r"units is 1000000000000, expected"),
    "units as text": (changed_layer(6, units="8"), "units is 8, expected"),
    "used twice": (
        changed_layer(6, inbound_nodes=[[["dropout", 0, 0, {}]]] * 2), "is used 2 times"
    ),
    "in training": (
        changed_layer(6, inbound_nodes=[[["dropout", 0, 0, {"training": True}]]]),
        "is called with",
    ),
    "called early": (changed_layer(6, inbound_nodes=[[["regressor", 0, 0, {}]]]), "no layer befo"),
    "Keras 3's calls": (changed_layer(6, inbound_nodes=[{"args": []}]), "as Keras 2 writes them"),
    "duplicate name": (changed_layer(7, name="classifier"), "two layers of this name"),
    "invalid config": (
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
def test_an_invalid_checkpoint_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    change, message = REFUSED[name]
    path = valid_file(tmp_path)
    change(path)
    with pytest.raises(ModelError, match=message) as caught:
        convert(path.read_bytes())
    assert str(caught.value).isprintable()


def test_weights_without_architecture_need_a_matching_one(tmp_path: Path) -> None:
    network = mobilenet_fer(32, 0.25, blocks=2)
    path = write(tmp_path / "w.hdf5", network, random_arrays(network, 6, (32, 32, 3)), whole=False)
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
    fewer = copy.deepcopy(network)
    del fewer["config"]["layers"][-1], fewer["config"]["output_layers"][-1]
    other.write_text(json.dumps(fewer))
    with pytest.raises(ModelError, match="layer regressor: kernel has no place"):
        load_keras2(path, architecture=other)
    other.write_text(json.dumps({**network, "keras_version": "3.1.0"}))
    with pytest.raises(ModelError, match=r"--architecture .*: written by Keras 3.1.0"):
        load_keras2(path, architecture=other)
    other.write_text(json.dumps({**network, "backend": "theano"}))
    with pytest.raises(ModelError, match="Keras on theano"):
        load_keras2(path, architecture=other)
    with pytest.raises(ModelError, match=r"--architecture .*: No such file"):
        load_keras2(path, architecture=tmp_path / "none.json")


def test_a_truncated_file_is_refused_at_every_length(tmp_path: Path) -> None:
    content = valid_file(tmp_path, blocks=1).read_bytes()
    for length in range(0, len(content) - 1, len(content) // 60):
        with pytest.raises(ModelError) as caught:
            convert(content[:length])
        assert str(caught.value).isprintable()


def test_a_corrupt_file_is_converted_or_refused_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5 may loop for ever on such a file, so a child process reads it."""
    monkeypatch.setattr(keras2, "_SECONDS_MAX", 3)
    path = valid_file(tmp_path, blocks=1)
    content, random, refused = path.read_bytes(), np.random.default_rng(17), 0
    for _ in range(8):
        corrupt = bytearray(content)
        for place in random.integers(0, 6000, 8):
            corrupt[place] ^= int(random.integers(1, 256))
        path.write_bytes(corrupt)
        with suppress(ModelError):
            load_keras2(path)
            continue
        refused += 1
    assert refused > 0


def test_reading_a_file_ends_at_the_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = valid_file(tmp_path, blocks=1)
    monkeypatch.setattr(keras2, "_SECONDS_MAX", 0.01)
    with pytest.raises(ModelError, match=r"did not end within 0.01 s; copy the file again"):
        load_keras2(path)


def test_a_keras_archive_is_refused(tmp_path: Path) -> None:
    archive_bytes = io.BytesIO()
    with zipfile.ZipFile(archive_bytes, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"")
    (tmp_path / "net.keras").write_bytes(archive_bytes.getvalue())
    with pytest.raises(ModelError, match="damaged HDF5"):
        load_keras2(tmp_path / "net.keras")
    with pytest.raises(ModelError, match="not a file"):
        load_keras2(tmp_path)
