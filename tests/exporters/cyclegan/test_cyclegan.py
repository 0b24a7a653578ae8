"""Export of generators in ONNX, and refusals."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.errors import ModelError
from edge.vision.inference import find_model, load_manifest, open_network, verify
from edge.vision.inference.golden_schema import TranslationGolden
from edge.vision.inference.ort import onnxruntime
from edge.vision.values import Floats
from exporters.artifacts.driver import ExportOptions
from exporters.cli import main
from exporters.cyclegan import export as cyclegan
from exporters.cyclegan.export import export_cyclegan
from exporters.cyclegan.layout import build, read_layout
from tests.support.generators import onnx_file, random_state
from tests.support.onnx_forms import as_type

RANDOM = np.random.default_rng(6)
FER = find_model("expression-nir") / "expression.onnx"
CENTERFACE = find_model("centerface-320x192") / "centerface.onnx"


def generator(size: tuple[int, int] = (64, 64), **state: Any) -> Any:
    weights = random_state(**state)
    return build(weights, read_layout(weights), size)


def saved(path: Path, model: Any) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def answer(path: Path, tensor: Floats) -> Floats:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    answers: list[Floats] = session.run(None, {session.get_inputs()[0].name: tensor})
    return answers[0]


def as_older_exporters_write(model: Any) -> Any:
    """Return the model with free sizes, other names, weights as inputs and computed paddings."""
    for node in model.graph.node:
        node.input[:] = ["real_A" if name == "input" else name for name in node.input]
        node.output[:] = ["fake_B" if name == "picture" else name for name in node.output]
    for value, name in ((model.graph.input[0], "real_A"), (model.graph.output[0], "fake_B")):
        value.name = name
        for dim in (0, 2, 3):
            value.type.tensor_type.shape.dim[dim].dim_param = f"{name}_{dim}"
    pads = [node.input[1] for node in model.graph.node if node.op_type == "Pad"]
    weights = {weight.name: weight for weight in model.graph.initializer}
    for name in pads:  # as Constant and Concat, as in traced models
        values = numpy_helper.to_array(weights[name])
        halves = [
            helper.make_node(
                "Constant", [], [f"{name}.{half}"],
                value=numpy_helper.from_array(values[4 * half : 4 * half + 4]),
            )
            for half in (0, 1)
        ]  # fmt: skip
        whole = helper.make_node("Concat", [f"{name}.0", f"{name}.1"], [name], axis=0)
        for place, node in enumerate([*halves, whole]):
            model.graph.node.insert(place, node)
        model.graph.initializer.remove(weights[name])
    for weight in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
        )
    return model


@pytest.mark.parametrize("mono", [True, False])
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("older", [True, False])
def test_both_formats_give_the_outputs_of_the_file(
    tmp_path: Path, mono: bool, norm: str, older: bool
) -> None:
    model = generator(norm=norm)
    source = saved(tmp_path / "NIR2VIS.onnx", as_older_exporters_write(model) if older else model)
    out = tmp_path / "net"
    manifest = export_cyclegan(
        source, out, size=(64, 64), mono=mono, options=ExportOptions(formats=("onnx", "tflite"))
    )
    assert verify(out) == []
    assert [each.file for each in manifest.artifacts] == ["generator.onnx", "generator.tflite"]
    assert manifest.input.name == ("real_A" if older else "input")
    assert manifest.input.shape == (1, 1 if mono else 3, 64, 64)
    for artifact in ("generator.onnx", "generator.tflite"):
        network = open_network(out, task="spectrum-translation", artifact=artifact)
        for _ in range(3):
            picture = RANDOM.integers(0, 256, (64, 64), np.uint8)
            tensor = np.repeat(picture[None, None].astype(np.float32) / 127.5 - 1, 3, axis=1)
            made = network.run(picture[None])["picture"]
            np.testing.assert_allclose(made, answer(source, tensor), atol=2e-3)


@pytest.mark.parametrize("inside_only", [False, True])
def test_a_generator_in_float16_becomes_float32(tmp_path: Path, inside_only: bool) -> None:
    plain = onnx_file(tmp_path / "plain.onnx")
    model = onnx.load(plain)
    as_type(TensorProto.FLOAT16, inside_only=inside_only)(model)
    out = tmp_path / "net"
    export_cyclegan(saved(tmp_path / "half.onnx", model), out, size=(64, 64), mono=False)
    picture = RANDOM.integers(0, 256, (64, 64), np.uint8)
    tensor = np.repeat(picture[None, None].astype(np.float32) / 127.5 - 1, 3, axis=1)
    made = open_network(out, task="spectrum-translation").run(picture[None])["picture"]
    np.testing.assert_allclose(made, answer(plain, tensor), atol=0.02)


def test_files_of_free_or_fixed_size_are_exported_at_any_size(
    tmp_path: Path,
) -> None:
    source = saved(tmp_path / "free.onnx", as_older_exporters_write(generator()))
    fixed = onnx_file(tmp_path / "fixed.onnx")
    for file in (source, fixed):
        for side in (32, 96):
            out = tmp_path / f"{file.stem}-{side}"
            manifest = export_cyclegan(file, out, size=(side, side))
            assert manifest.input.shape == (1, 3, side, side)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    source = saved(tmp_path / "g.onnx", as_older_exporters_write(generator()))
    made = []
    for folder in ("one", "two"):
        out = tmp_path / folder / "net"
        export_cyclegan(
            source, out, size=(64, 64), mono=True, options=ExportOptions(formats=("onnx", "tflite"))
        )
        made.append({path.name: path.read_bytes() for path in sorted(out.iterdir())})
    assert made[0] == made[1]
    assert str(tmp_path).encode() not in b"".join(made[0].values())


def test_the_manifest_records_the_options_and_the_golden_answers(tmp_path: Path) -> None:
    source = onnx_file(tmp_path / "g.onnx")
    export_cyclegan(source, tmp_path / "net", size=(64, 64), mono=True)
    manifest = load_manifest(tmp_path / "net")
    assert manifest.exporter.options == {"size": "64x64", "mono": True, "from": "onnx"}
    assert manifest.source.file == "g.onnx"
    assert manifest.input.value_range == (-1, 1)
    assert isinstance(manifest.golden, TranslationGolden)
    assert np.shape(manifest.golden.levels) == (8, 8)
    assert np.std(manifest.golden.levels) > 8 * manifest.golden.level_max * 0.9


def test_the_command_writes_a_folder_and_prints_the_parity(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = onnx_file(tmp_path / "g.onnx")
    out = tmp_path / "deep" / "net"
    code = main(
        ["cyclegan", "--weights", str(source), "--out", str(out), "--size", "64x64", "--mono",
         "--formats", "onnx,tflite"]
    )  # fmt: skip
    text, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert "picture_max_error" in text
    assert verify(out) == []


def test_a_missed_parity_limit_exits_1_and_writes_no_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cyclegan, "_FLOAT_LIMITS", {"picture": 1e-30})
    source, out = onnx_file(tmp_path / "g.onnx"), tmp_path / "net"
    arguments = ["cyclegan", "--weights", str(source), "--out", str(out), "--size", "64x64"]
    assert main(arguments) == 1
    _, err = capsys.readouterr()
    assert "generator.onnx missed the parity limit" in err
    assert not out.exists()
    assert main([*arguments, "--allow-parity-loss"]) == 0
    assert not load_manifest(out).parity["generator.onnx"].passed
    with pytest.raises(ModelError, match="no artifact passed parity"):
        open_network(out, task="spectrum-translation")


# -- files and options that are refused -----------------------------------------------------------


def empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def text(path: Path) -> Path:
    path.write_text("no generator at all")
    return path


def cut_off(path: Path) -> Path:
    whole = onnx_file(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def external(path: Path) -> Path:
    model = generator()
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "elsewhere")
    return saved(path, model)


def not_finite(path: Path) -> Path:
    model = generator()
    (weight,) = [each for each in model.graph.initializer if each.name == "model.23.bias"]
    weight.CopyFrom(numpy_helper.from_array(np.full(3, np.nan, np.float32), weight.name))
    return saved(path, model)


def without_tanh(path: Path) -> Path:
    model = generator()
    model.graph.node[-1].op_type = "Identity"
    (weight,) = [each for each in model.graph.initializer if each.name == "model.23.weight"]
    values = 9 * numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    return saved(path, model)


def small_graph(
    path: Path, node: Any, shape: list[Any], kind: int = TensorProto.FLOAT, out: Any = None
) -> Path:
    ends = [
        helper.make_tensor_value_info("a", kind, shape),
        helper.make_tensor_value_info("b", kind, shape if out is None else out),
    ]
    stored = [numpy_helper.from_array(np.array([1, 3, 64, 64], np.int64), "shape")]
    made = helper.make_graph([node], "g", ends[:1], ends[1:], stored)
    opsets = [helper.make_opsetid("", 17)]
    return saved(path, helper.make_model(made, opset_imports=opsets, ir_version=8))


def tanh(shape: list[Any], kind: int = TensorProto.FLOAT) -> Callable[[Path], Path]:
    return lambda path: small_graph(path, helper.make_node("Tanh", ["a"], ["b"]), shape, kind)


def half_size(path: Path) -> Path:
    pool = helper.make_node("AveragePool", ["a"], ["b"], kernel_shape=[2, 2], strides=[2, 2])
    return small_graph(path, pool, [1, 3, 64, 64], out=[1, 3, 32, 32])


def fixed_reshape(path: Path) -> Path:
    reshape = helper.make_node("Reshape", ["a", "shape"], ["b"])
    return small_graph(path, reshape, [1, 3, 64, 64])


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: path.with_name("absent"), "No such file or directory; expected latest_net"),
        (lambda path: path.parent, "Is a directory"),
        (empty, "an empty file"),
        (text, "not an ONNX file"),
        (cut_off, "not an ONNX file"),
        (external, "keeps weights in another file"),
        (not_finite, "gives values from nan to nan"),
        (without_tanh, "expected a generator that ends in tanh, -1 to 1"),
        (half_size, r"gives the shape [1, 3, 16, 16] for 32x32"),
        (fixed_reshape, "does not run at 32x32, as it was exported for 64x64"),
        (tanh([1, 2, 64, 64]), "takes a of shape [1, 2, 64, 64]"),
        (tanh([1, 64, 64, 3]), "expected float32 pictures, batch x 1 or 3 channels"),
        (tanh([1, 3]), "takes a of shape [1, 3]"),
        (tanh([1, 3, 64, 64], TensorProto.INT32), "expected float32 pictures"),
        (lambda _: FER, "gives logits, affect, features; expected a generator of one input"),
        (lambda _: CENTERFACE, "takes input.1 and gives 537, 538"),
    ],
)
def test_other_files_are_refused_in_one_line(
    tmp_path: Path, refuse: Callable[..., str], make: Callable[[Path], Path], complaint: str
) -> None:
    assert complaint in refuse(make(tmp_path / "g.onnx"), "--size", "32x32")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--size", "64x48"], "--size 64x48: expected a square"),
        (["--size", "66x66"], "of a multiple of 4"),
        (["--size", "8x8"], "from 16 to 1024"),
        (["--size", "4096x4096"], "from 16 to 1024"),
        (["--size", "large"], "expected WIDTHxHEIGHT"),
        (["--formats", "onnx,coreml"], "'coreml' is none of onnx, tflite"),
        (["--precisions", "fp16"], "fp16"),
        (["--precisions", "int8"], "expected --calibration DIR"),
        (["--precisions", "int8", "--calibration", "nowhere"], "nowhere"),
        (["--precisions", "int8", "--calibration", ".", "--expression", "none"], "'none'"),
        (["--board", "mips"], "mips"),
        (["--layers", "9"], "--layers"),
    ],
)
def test_wrong_options_are_refused_in_one_line(
    tmp_path: Path, refuse: Callable[..., str], options: list[str], complaint: str
) -> None:
    assert complaint in refuse(onnx_file(tmp_path / "g.onnx"), *options)


def test_without_torch_a_checkpoint_is_refused_with_the_remedy(
    tmp_path: Path, refuse: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    weights = tmp_path / "latest_net_G.pth"
    weights.write_bytes(b"PK\x03\x04 and so on")
    line = refuse(weights)
    assert "needs torch" in line
    assert "make setup-export" in line


def test_an_input_with_several_users_cannot_become_mono(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["a", "a"], ["square"]),
        helper.make_node("Tanh", ["square"], ["b"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, 32, 32]) for n in "ab"]
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:]), opset_imports=opsets, ir_version=8
    )
    source = saved(tmp_path / "g.onnx", model)
    with pytest.raises(ModelError, match="cannot become mono"):
        export_cyclegan(source, tmp_path / "net", size=(32, 32), mono=True)
    manifest = export_cyclegan(source, tmp_path / "colour", size=(32, 32))
    assert json.loads(manifest.model_dump_json())["input"]["colour"] == "rgb"
