"""The exporters: deterministic bytes, parity with the original, refusals, all-or-nothing writes."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.errors import ModelError
from edge.vision.inference import find_model, load_manifest, open_network, verify
from edge.vision.inference.golden_schema import DetectionGolden
from edge.vision.inference.manifest import Limit, Manifest, Parity
from edge.vision.inference.ort import onnxruntime
from edge.vision.inference.runtimes import OnnxSession
from exporters.artifacts import graph
from exporters.artifacts.parity import measure, sample_pictures
from exporters.artifacts.write import write_model
from exporters.centerface.export import export_centerface
from exporters.cli import main
from exporters.expression.export import export_expression
from tests.support.command_errors import refusal

MODELS = Path(__file__).parents[2] / "models"
PUBLISHED = MODELS / "centerface-published" / "centerface.onnx"
FER = MODELS / "expression-nir" / "expression.onnx"  # an export of an export is the same net
RANDOM = np.random.default_rng(5)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("size", [(320, 192), (640, 384)])
def test_exporting_the_published_detector_gives_the_bundled_ones(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    """The float artifact; the others need the exporters' tools (see test_centerface.py)."""
    name = f"centerface-{size[0]}x{size[1]}"
    export_centerface(PUBLISHED, tmp_path / name, size=size, mono=True)
    assert verify(tmp_path / name) == []
    bundled, made = load_manifest(find_model(name)), load_manifest(tmp_path / name)
    assert made.artifacts == (bundled.artifact("centerface.onnx"),)
    assert made.source == bundled.source
    assert isinstance(made.golden, DetectionGolden)
    assert isinstance(bundled.golden, DetectionGolden)
    assert made.golden.box == pytest.approx(bundled.golden.box, abs=0.1)  # processors differ
    assert made.golden.score == pytest.approx(bundled.golden.score, abs=0.001)


@pytest.mark.parametrize("model", ["centerface", "mobilenet-fer"])
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, model: str) -> None:
    for folder in ("one", "two"):
        out = tmp_path / folder / "net"
        if model == "centerface":
            export_centerface(PUBLISHED, out, size=(320, 192), mono=True)
        else:
            export_expression(FER, out)
    assert contents(tmp_path / "one" / "net") == contents(tmp_path / "two" / "net")


def test_colour_and_mono_detectors_agree_on_mono_pictures(tmp_path: Path) -> None:
    manifests = {}
    for mono in (True, False):
        out = tmp_path / f"mono-{mono}"
        manifests[mono] = export_centerface(PUBLISHED, out, size=(160, 96), mono=mono)
    assert manifests[True].input.shape == (1, 1, 96, 160)
    assert manifests[False].input.shape == (1, 3, 96, 160)
    mono, colour = (
        open_network(tmp_path / f"mono-{each}", task="face-detection") for each in (True, False)
    )
    picture = RANDOM.integers(0, 256, (1, 96, 160), np.uint8)
    for role, values in mono.run(picture).items():
        other = colour.run(picture)[role]
        np.testing.assert_allclose(values, other, rtol=1e-4, atol=1e-3)


def test_the_exported_graph_has_constant_weights_and_no_batch_norms() -> None:
    model = onnx.load(find_model("centerface-320x192") / "centerface.onnx")
    assert [value.name for value in model.graph.input] == ["input.1"]
    kinds = {node.op_type for node in model.graph.node}
    assert kinds == {"Conv", "ConvTranspose", "Relu", "Add", "Sigmoid"}
    assert not any(node.doc_string for node in model.graph.node)


def test_the_bundled_detector_agrees_with_the_published_network() -> None:
    """Measured again, on pictures that the exporter does not use."""
    model = onnx.load(PUBLISHED)
    names = {"heatmap": "537", "scale": "538", "offset": "539", "landmarks": "540"}
    graph.fix_shapes(model, {"input.1": (1, 3, 192, 320)})
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    network = open_network("centerface-320x192", task="face-detection", artifact="centerface.onnx")
    for _ in range(4):
        picture = RANDOM.integers(0, 256, (192, 320), np.uint8)
        tensor = np.repeat(picture[None, None].astype(np.float32), 3, axis=1)
        outputs = dict(
            zip(names, session.run(list(names.values()), {"input.1": tensor}), strict=True)
        )
        for role, values in network.run(picture[None]).items():
            unit = max(1.0, float(np.abs(outputs[role]).max()))
            assert float(np.abs(values - outputs[role]).max()) / unit < 1e-4


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("bias", [True, False])
def test_folding_batch_norms_does_not_change_the_function(kind: str, bias: bool) -> None:
    weights = {
        "w": RANDOM.normal(0, 1, (3, 5, 2, 2) if kind == "ConvTranspose" else (5, 3, 2, 2)),
        "b": RANDOM.normal(0, 1, 5),
        "gamma": RANDOM.normal(1, 0.3, 5),
        "beta": RANDOM.normal(0, 1, 5),
        "mean": RANDOM.normal(0, 1, 5),
        "var": RANDOM.random(5) + 0.1,
    }
    inputs = ["x", "w", "b"] if bias else ["x", "w"]
    nodes = [
        helper.make_node(kind, inputs, ["y"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["y", "gamma", "beta", "mean", "var"], ["z"]),
        helper.make_node("Relu", ["z"], ["out"]),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 8, 8))],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
            [
                numpy_helper.from_array(values.astype(np.float32), name)
                for name, values in weights.items()
                if bias or name != "b"
            ],
        ),
        opset_imports=[helper.make_opsetid("", 9)],
        ir_version=4,
    )
    x = RANDOM.normal(0, 1, (1, 3, 8, 8)).astype(np.float32)
    before = OnnxSession(model.SerializeToString(), 1).run(x)["out"]
    assert graph.fold_batch_norms(model) == 1
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    after = OnnxSession(model.SerializeToString(), 1).run(x)["out"]
    np.testing.assert_allclose(after, before, atol=1e-4)


def test_parity_fails_on_a_difference_and_names_the_role() -> None:
    one, other = {"a": np.array([1.0, 200.0])}, {"a": np.array([1.0, 200.1])}
    parity = measure([(one, one), (one, other)], {"a": 1e-4})
    assert parity.metrics == {"a_max_error": 0.0005}
    assert (parity.passed, parity.samples) == (False, 2)
    assert measure([(one, other)], {"a": 1e-3}).passed
    with pytest.raises(ModelError, match="a is not finite"):
        measure([(one, {"a": np.array([1.0, np.nan])})], {"a": 1})


def test_sample_pictures_are_deterministic_and_of_the_given_size() -> None:
    first, again = sample_pictures(96, 64), sample_pictures(96, 64)
    assert len(first) >= 8
    for one, other in zip(first, again, strict=True):
        assert one.shape == (64, 96)
        assert one.dtype == np.uint8
        np.testing.assert_array_equal(one, other)


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_writes_a_folder_and_prints_the_parity(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "net"
    code, text, err = run(
        ["centerface", "--weights", str(PUBLISHED), "--out", str(out), "--size", "192x128",
         "--mono"], capsys,
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "heatmap_max_error" in text
    assert "parity passed over" in text
    assert verify(out) == []
    assert sorted(path.name for path in out.iterdir()) == ["centerface.onnx", "manifest.json"]


def text_file(folder: Path) -> Path:
    path = folder / "text.onnx"
    path.write_text("not a model at all")
    return path


def external_file(folder: Path) -> Path:
    model = onnx.load(PUBLISHED)
    weight = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(weight, "elsewhere")
    path = folder / "external.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def few_pictures(folder: Path) -> Path:
    (folder / "pictures").mkdir()
    (folder / "pictures" / "broken.png").write_bytes(b"no picture")
    return folder / "pictures"


INT8 = ["centerface", "--precisions", "int8", "--calibration"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["centerface", "--size", "300x200"], "--size 300x200: expected multiples of 32"),
        (["centerface", "--size", "0x0"], "expected multiples of 32"),
        (["centerface", "--size", "big"], "--size big: expected WIDTHxHEIGHT"),
        (["centerface", "--size", "32x32"], "finds 0 faces"),
        (["centerface", "--formats", "onnx,tflite"], "no converter at /nowhere; run `make setup-"),
        (["centerface", "--formats", "onnx,onnx"], "expected some of onnx, tflite, each once"),
        (["centerface", "--precisions", "int8"], "expected --calibration DIR"),
        (["centerface", "--precisions", "fp16"], "fp16 is not built"),
        (["centerface", "--precisions", "int4"], "'int4' is none of fp32, int8"),
        ([*INT8, "/nowhere"], "--calibration /nowhere: No such file"),
        (
            [*INT8, few_pictures],
            "0 different pictures, expected 16 or more that show faces; broken",
        ),
        (["centerface", "--formats", ""], "--formats: expected a value, received an empty text"),
        (["centerface", "--weights", "/nowhere.onnx"], "No such file"),
        (["centerface", "--weights", "/"], "Is a directory"),
        (["centerface", "--weights", text_file], "not an ONNX file"),
        (["centerface", "--weights", external_file], "keeps weights in another file"),
        (["centerface", "--weights", FER], "expected a CenterFace graph"),
        (["mobilenet-fer", "--weights", PUBLISHED], "a classifier of 8 values; this one gives 537"),
        (["mobilenet-fer", "--precisions", "fp16"], "fp16 is not built"),
    ],
)
def test_a_refused_export_writes_one_line_and_no_files(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str | Path | Callable[[Path], Path]],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AFFECT_EDGE_ONNX2TF", "/nowhere")
    words = [str(word(tmp_path) if callable(word) else word) for word in arguments]
    if "--weights" not in words:
        words += ["--weights", str(PUBLISHED)]
    command = [*words, "--out", str(tmp_path / "made" / "net")]
    assert complaint in refusal(main, command, capsys)
    assert not (tmp_path / "made").exists()


def test_a_missed_parity_limit_exits_1_and_writes_no_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "exporters.expression.export._FLOAT_LIMITS", {"expression": 1e-30, "affect": 1e-30}
    )
    out = tmp_path / "net"
    code, text, err = run(["mobilenet-fer", "--weights", str(FER), "--out", str(out)], capsys)
    assert code == 1
    assert "parity FAILED" in text
    assert "missed the parity limit; nothing was written" in err
    assert not out.exists()


def small_manifest(name: str = "net") -> tuple[Manifest, dict[str, bytes]]:
    whole = load_manifest(find_model("expression-nir"))
    artifact = whole.artifact(FER.name)
    assert artifact is not None
    parts = {"name": name, "artifacts": (artifact,), "parity": {FER.name: whole.parity[FER.name]}}
    return whole.model_copy(update=parts), {FER.name: FER.read_bytes()}


def test_other_files_in_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    manifest, files = small_manifest()
    write_model(tmp_path, manifest, files)
    write_model(tmp_path, manifest, files)
    assert (tmp_path / "README.md").read_text() == "mine"
    assert verify(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md",
        "expression.onnx",
        "manifest.json",
    ]


def test_a_failed_write_keeps_the_old_files(tmp_path: Path) -> None:
    manifest, files = small_manifest()
    out = tmp_path / "net"
    write_model(out, manifest, files)
    before = contents(out)
    (out / "manifest.json").rename(out / "kept")
    (out / "manifest.json").mkdir()  # nothing can be renamed over a folder
    with pytest.raises(ModelError, match="was not completed") as caught:
        write_model(out, manifest, files)
    assert "\n" not in str(caught.value)
    assert not list(out.glob(".new-*"))
    (out / "manifest.json").rmdir()
    (out / "kept").rename(out / "manifest.json")
    assert contents(out) == before


def test_a_failed_write_leaves_no_new_folder(tmp_path: Path) -> None:
    long = tmp_path / "net"
    manifest, files = small_manifest()
    with pytest.raises(ModelError, match="was not completed"):
        write_model(long, manifest, {**files, "x" * 300: b""})
    assert not long.exists()


def test_a_file_at_the_folders_path_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net").write_text("I am a file")
    with pytest.raises(ModelError, match="was not completed"):
        write_model(tmp_path / "net", *small_manifest())
    assert (tmp_path / "net").read_text() == "I am a file"


def test_parity_values_survive_serialisation() -> None:
    parity = Parity(metrics={"a": 1e-9}, limits={"a": Limit(at_most=1e-4)}, samples=1, passed=True)
    assert Parity.model_validate_json(json.dumps(parity.model_dump())) == parity


@pytest.mark.parametrize(
    "arguments",
    [[], ["zoo"], ["centerface"], ["centerface", "--weights"], ["mobilenet-fer", "--size", "1x1"]],
)
def test_a_wrong_command_line_is_refused_in_one_line(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert refusal(main, arguments, capfd).startswith("exporters: ")


def test_the_recipes_without_pytorch_are_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [each for each in sys.modules if each.startswith("exporters.recipes.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    from exporters.recipes.cli import main as recipes

    assert "make setup-export" in refusal(recipes, ["train", "--data", "x", "--out", "y"], capsys)
