"""Files and options that cannot be exported: one line, and nothing is written."""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.vision.inference import find_model
from exporters.cli import main
from tests.support.command_errors import refusal
from tests.support.expression_networks import OURS, PUBLISHED, Net, two_heads
from tests.support.keras2_files import mobilenet_fer, random_arrays, write


def keras_zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "net.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"")
    return folder / "net.keras"


def saved_model(folder: Path) -> Path:
    (folder / "saved").mkdir()
    (folder / "saved" / "saved_model.pb").write_bytes(b"")
    return folder / "saved"


def named(name: str, content: bytes) -> Callable[[Path], Path]:
    def write_it(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write_it


def torch_zip(folder: Path) -> Path:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": 1}))
    return named("net.pth", buffer.getvalue())(folder)


def keras_file(folder: Path) -> Path:
    architecture = mobilenet_fer(32, 0.25, blocks=1)
    return write(
        folder / "net.h5", architecture, random_arrays(architecture, 6, (32, 32, 3)), whole=False
    )


def changed(change: Callable[[Any], None]) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        path = two_heads().save(folder)
        model = onnx.load(path)
        change(model)
        onnx.save(model, path)
        return path

    return made


def external(model: Any) -> None:
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "elsewhere")


def second_input(model: Any) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def of_type(kind: int) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        model.graph.input[0].type.tensor_type.elem_type = kind

    return change


def five_channels(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5


def not_finite(model: Any) -> None:
    bad = numpy_helper.from_array(np.full(8, np.nan, np.float32), "gemm_4.1")
    weights = [each for each in model.graph.initializer if each.name == "gemm_4.1"]
    weights[0].CopyFrom(bad)


def other_heads(*heads: tuple[str, int]) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        net = Net().body()
        for name, count in heads:
            net.head(name, count)
        return net.save(folder)

    return made


SEVEN = "neutral,happy,sad,surprise,fear,disgust,anger"


REFUSED: dict[str, tuple[Callable[[Path], Path], list[str], str]] = {
    "no file": (lambda folder: folder / "none.onnx", [], "No such file"),
    "a folder": (lambda folder: folder, [], "a folder; expected a file: ONNX, or Keras 2"),
    "a SavedModel": (saved_model, [], "a SavedModel folder; expected a file"),
    "a .keras file": (keras_zip, [], "a .keras file, which Keras 3 writes"),
    "a torch zip": (torch_zip, [], "a PyTorch checkpoint or another zip archive"),
    "a truncated zip": (named("a.zip", b"PK\x03\x04abc"), [], "another zip archive"),
    "a pickle": (named("net.pkl", pickle.dumps({"a": 1})), [], "a pickle, which is never loaded"),
    "JSON": (named("net.json", b' {"class_name": 1}'), [], "JSON; give it as --architecture"),
    "empty": (named("net.onnx", b""), [], "an empty file"),
    "text": (named("net.onnx", b"hello, this is no network"), [], "not an ONNX file"),
    "truncated": (named("net.onnx", OURS.read_bytes()[:99_999]), [], "not an ONNX file"),
    "truncated Keras": (
        named("net.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 50), [], "damaged HDF5"
    ),
    "weights alone": (keras_file, [], "holds weights alone; give the model's --architecture"),
    "external data": (changed(external), [], "keeps weights in another file"),
    "two inputs": (changed(second_input), [], "expected one input for one picture"),
    "bytes": (changed(of_type(TensorProto.UINT8)), [], "is uint8; expected float32"),
    "five channels": (changed(five_channels), [], "has no 1 or 3 channels"),
    "not finite": (changed(not_finite), [], "is not finite"),
    "an unknown operator": (
        changed(lambda model: model.graph.node[0].__setattr__("op_type", "Nothing")), [],
        "onnxruntime cannot load it",
    ),
    "a detector": (lambda folder: PUBLISHED, [], "a classifier of 8 values; this one gives 537"),
    "a bundled detector": (
        lambda _: find_model("centerface-96x96") / "centerface.onnx", [], "made for face-detection"
    ),
    "a bundled mesh": (
        lambda _: find_model("face-mesh") / "mesh.onnx", [], "made for face-mesh, as the manifest"
    ),
    "seven expressions": (
        other_heads(("a", 7), ("b", 2)), ["--labels", SEVEN], "missing: contempt"
    ),
    "seven expressions, eight labels": (
        other_heads(("a", 7), ("b", 2)), [], "a classifier of 8 values"
    ),
    "no regressor": (other_heads(("a", 8)), [], "a regressor of 2 values (valence, arousal)"),
    "two classifiers": (other_heads(("a", 8), ("b", 8), ("c", 2)), [], "expected one output that"),
    "unknown normalisation": (other_heads(("a", 8), ("b", 2)), [], "give --normalisation thesis|"),
    "a label twice": (two_heads().save, ["--labels", f"{SEVEN},anger,contempt"], "there twice"),
    "a margin of 3": (two_heads().save, ["--margin", "3"], "--margin 3: expected a share"),
    "a reversed range": (
        two_heads().save, ["--normalisation", "none", "--value-range", "1", "0"], "low before high"
    ),
    "a range for the thesis": (two_heads().save, ["--value-range", "0", "1"], "thesis has its own"),
    "fixed without mean": (two_heads().save, ["--normalisation", "fixed"], "--mean (none): goes"),
    "mean without fixed": (two_heads().save, ["--mean", "1"], "--mean 1: goes with"),
    "two means": (
        two_heads().save, ["--normalisation", "fixed", "--mean", "1", "2", "--std", "1"],
        "--mean 1 2: expected 1 or 3 numbers",
    ),
    "std of 0": (
        two_heads().save, ["--normalisation", "fixed", "--mean", "1", "--std", "0"],
        "--std 0: expected more than 0",
    ),
    "another normalisation": (two_heads().save, ["--normalisation", "imagenet"], "invalid choice"),
    "architecture of ONNX": (two_heads().save, ["--architecture", "a.json"], "is not HDF5"),
    "int8 without pictures": (two_heads().save, ["--precisions", "int8"], "--calibration DIR"),
    "no such pictures": (
        two_heads().save, ["--precisions", "int8", "--calibration", "/nowhere"], "/nowhere: No such"
    ),
    "invalid margin in the metadata": (
        lambda folder: two_heads().save(folder, margin="wide"), [], "metadata say margin 'wide'"
    ),
    "invalid normalisation in the metadata": (
        lambda folder: two_heads().save(folder, normalisation="fixed"), [], "say normalisation"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_export_writes_one_line_and_no_files(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    make, words, complaint = REFUSED[name]
    out = tmp_path / "made" / "net"
    command = ["mobilenet-fer", "--weights", str(make(tmp_path)), "--out", str(out), *words]
    assert complaint in refusal(main, command, capfd)
    assert not (tmp_path / "made").exists()
