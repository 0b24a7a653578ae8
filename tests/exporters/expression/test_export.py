"""Exported folders give the predictions of the original network."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge.config import ExpressionConfig
from edge.vision.expression import open_expression
from edge.vision.expression.heads import ExpressionHeads
from edge.vision.golden import expression_findings, golden_picture
from edge.vision.inference import load_manifest
from edge.vision.inference.golden_schema import ExpressionGolden
from edge.vision.inference.manifest import PerSampleNormalisation
from edge.vision.values import Box
from edge.vocabulary import EXPRESSIONS
from exporters.artifacts import driver
from exporters.artifacts.parity import sample_pictures
from exporters.cli import main
from exporters.expression.export import export_expression
from exporters.expression.original import ExpressionOptions
from exporters.expression.source import read_source
from tests.support.expression_networks import (
    EFFICIENT,
    OURS,
    Net,
    exported,
    run_original,
    thesis_input,
    two_heads,
)
from tests.support.keras2_files import mobilenet_fer, predict, random_arrays, write
from tests.support.onnx_forms import as_type

HEADS: dict[str, tuple[Callable[[Net], Net], ExpressionOptions, str, str, str]] = {
    "activations in the graph": (
        lambda net: net.head("a", 8, "Softmax").head("b", 2, "Sigmoid"),
        ExpressionOptions(), "softmax", "sigmoid", "(s-0.5)*2",
    ),
    "no activations": (
        lambda net: net.head("a", 8).head("b", 2),
        ExpressionOptions(), "softmax", "sigmoid", "(s-0.5)*2",
    ),
    "heads in reverse order": (
        lambda net: net.head("b", 2).head("a", 8, "Softmax"),
        ExpressionOptions(), "softmax", "sigmoid", "(s-0.5)*2",
    ),
    "identities at the end": (
        lambda net: net.head("a", 8, "Softmax", "Identity").head("b", 2, "Sigmoid", "Identity"),
        ExpressionOptions(), "softmax", "sigmoid", "(s-0.5)*2",
    ),
    "tanh": (
        lambda net: net.head("a", 8).head("b", 2, "Tanh"),
        ExpressionOptions(), "softmax", "none", "none",
    ),
    "signed without tanh": (
        lambda net: net.head("a", 8).head("b", 2),
        ExpressionOptions(affect="signed"), "softmax", "none", "none",
    ),
    "further outputs": (
        lambda net: net.head("features", 40).head("logits", 8).head("affect", 2).head("age", 1),
        ExpressionOptions(), "softmax", "sigmoid", "(s-0.5)*2",
    ),
    "heads chosen by name": (
        lambda net: net.head("other", 8).head("classifier", 8).head("regressor", 2).head("x", 2),
        ExpressionOptions(), "softmax", "sigmoid", "(s-0.5)*2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mono", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_a_thesis_checkpoint_gives_the_outputs_of_keras(
    tmp_path: Path, mono: bool, whole: bool
) -> None:
    architecture_json = mobilenet_fer(64, 0.25)
    arrays = random_arrays(architecture_json, 12, (64, 64, 3))
    weights = write(tmp_path / "net.h5", architecture_json, arrays, whole=whole)
    architecture = None if whole else tmp_path / "net.json"
    if architecture:
        architecture.write_text(json.dumps(architecture_json))
    manifest = export_expression(weights, tmp_path / "net", architecture=architecture, mono=mono)
    assert manifest.input.shape == (1, 1 if mono else 3, 64, 64)
    assert manifest.input.value_range == (0.0, 2.0)
    assert manifest.input.normalisation == PerSampleNormalisation(kind="per-sample", divide=False)
    assert manifest.input.crop is not None
    assert manifest.input.crop.margin == 0
    assert manifest.source.licence == manifest.source.citation == driver.UNKNOWN
    assert manifest.outputs["expression"].activation == "softmax"
    assert manifest.outputs["affect"].activation == "sigmoid"
    assert manifest.outputs["affect"].encoding == "(s-0.5)*2"
    # cannot be folded exactly: its first norm shifts, and its first convolution pads
    assert manifest.exporter.options["input_affine"] == "in front of the first convolution"
    assert ("architecture_sha256" in manifest.exporter.options) is not whole
    network = exported(tmp_path)
    for picture in sample_pictures(64, 64)[:5]:
        expected = predict(architecture_json, arrays, thesis_input(picture, 3, "nhwc")[0])
        heads = network.run(picture[None])
        np.testing.assert_allclose(heads["expression"][0], expected[0], atol=1e-4)
        np.testing.assert_allclose(heads["affect"][0], expected[1], atol=1e-4)
    assert expression_findings(ExpressionHeads(network)) == []


@pytest.mark.parametrize("inside_only", [False, True])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_a_network_in_other_floats_becomes_float32(
    tmp_path: Path, kind: int, inside_only: bool
) -> None:
    weights = two_heads(size=32).save(tmp_path)
    model = onnx.load(weights)
    export_expression(weights, tmp_path / "plain")
    as_type(kind, inside_only=inside_only)(model)
    onnx.save(model, weights)
    manifest = export_expression(weights, tmp_path / "net")
    assert manifest.input.dtype == "float32"
    plain, network = exported(tmp_path, "plain"), exported(tmp_path)
    picture = sample_pictures(32, 32)[0]
    for role, values in plain.run(picture[None]).items():
        np.testing.assert_allclose(network.run(picture[None])[role], values, atol=5e-3)


def test_both_keras_layouts_give_the_same_network(tmp_path: Path) -> None:
    architecture_json = mobilenet_fer(48, 0.25, blocks=4)
    arrays = random_arrays(architecture_json, 13, (48, 48, 3))
    write(tmp_path / "whole.h5", architecture_json, arrays)
    write(tmp_path / "apart.hdf5", architecture_json, arrays, whole=False)
    (tmp_path / "apart.json").write_text(json.dumps(architecture_json))
    one = export_expression(tmp_path / "whole.h5", tmp_path / "one")
    two = export_expression(
        tmp_path / "apart.hdf5", tmp_path / "two", architecture=tmp_path / "apart.json"
    )
    assert one.artifacts == two.artifacts
    assert one.golden == two.golden


@pytest.mark.parametrize("mono", [True, False])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_layout_and_channel_count_gives_the_original_outputs(
    tmp_path: Path, layout: str, channels: int, mono: bool
) -> None:
    net = two_heads(channels=channels, layout=layout, size=32)
    manifest = export_expression(net.save(tmp_path), tmp_path / "net", mono=mono)
    assert manifest.input.shape == (1, 1 if mono else channels, 32, 32)
    network = exported(tmp_path)
    exported_graph = onnx.load(tmp_path / "net" / "expression.onnx")
    assert "Transpose" not in {node.op_type for node in exported_graph.graph.node}
    assert [value.name for value in exported_graph.graph.output] == ["logits", "affect"]
    for picture in sample_pictures(32, 32):
        tensor = thesis_input(picture, channels, layout)
        known = run_original(net.model(), tensor, net.outputs)
        heads = network.run(picture[None])
        np.testing.assert_allclose(heads["expression"], known[0], atol=1e-5)
        np.testing.assert_allclose(heads["affect"], known[1], atol=1e-5)


def test_an_nhwc_graph_with_another_first_node_keeps_its_transposition(
    tmp_path: Path,
) -> None:
    net = Net(layout="nhwc", size=32)
    net.nodes.clear()
    net.last = "picture"
    net.add("Mul", [np.array([0.5, 1.0, 2.0])]).add("Transpose", [], perm=[0, 3, 1, 2]).body()
    net.head("classifier", 8, "Softmax").head("regressor", 2, "Sigmoid")
    export_expression(net.save(tmp_path), tmp_path / "net", mono=True)
    network, picture = exported(tmp_path), sample_pictures(32, 32)[0]
    known = run_original(net.model(), thesis_input(picture, 3, "nhwc"), net.outputs)
    np.testing.assert_allclose(network.run(picture[None])["expression"], known[0], atol=1e-5)


@pytest.mark.parametrize("name", HEADS)
def test_heads_are_found_and_their_activations_recorded(tmp_path: Path, name: str) -> None:
    build, options, softmax, sigmoid, encoding = HEADS[name]
    net = build(Net(size=20).body())
    fields = {"normalisation": "thesis", "affect": options.affect}
    export_expression(net.save(tmp_path), tmp_path / "net", overrides=ExpressionOptions(**fields))
    network, picture = exported(tmp_path), sample_pictures(20, 20)[0]
    outputs = network.manifest.outputs
    assert outputs["expression"].activation == softmax
    assert (outputs["affect"].activation, outputs["affect"].encoding) == (sigmoid, encoding)
    wanted = {"a": 8, "classifier": 8, "logits": 8, "b": 2, "regressor": 2, "affect": 2}
    chosen = [each for each in net.outputs if each in wanted]
    chosen.sort(key=lambda each: -wanted[each])
    known = run_original(net.model(), thesis_input(picture, 3, "nchw"), chosen)
    if "Softmax" not in {node.op_type for node in net.nodes}:
        known[0] = np.exp(known[0]) / np.exp(known[0]).sum()
    if sigmoid == "sigmoid" and "Sigmoid" not in {node.op_type for node in net.nodes}:
        known[1] = 1 / (1 + np.exp(-known[1]))
    heads = network.run(picture[None])
    np.testing.assert_allclose(heads["expression"], known[0], atol=1e-5)
    np.testing.assert_allclose(heads["affect"], known[1], atol=1e-5)


def test_probabilities_without_a_final_softmax_stay_unchanged(tmp_path: Path) -> None:
    net = Net(size=20).body()
    net.head("a", 8, "Softmax").head("b", 2, "Sigmoid")
    net.nodes = [node for node in net.nodes if node.op_type != "Softmax"]
    linear = next(node for node in net.nodes if node.op_type == "Gemm").output[0]
    net.nodes += [
        helper.make_node("Exp", [linear], ["powers"]),
        helper.make_node("ReduceSum", ["powers"], ["total"], keepdims=1),
        helper.make_node("Div", ["powers", "total"], ["a"]),
    ]
    export_expression(
        net.save(tmp_path), tmp_path / "net", overrides=ExpressionOptions(normalisation="thesis")
    )
    network, picture = exported(tmp_path), sample_pictures(20, 20)[0]
    assert network.manifest.outputs["expression"].tensor == "probabilities"
    assert network.manifest.outputs["expression"].activation == "none"
    known = run_original(net.model(), thesis_input(picture, 3, "nchw"), ["a"])
    np.testing.assert_allclose(network.run(picture[None])["expression"], known[0], atol=1e-5)


def exporter_crop(picture: Any, box: Box, side: int, margin: float) -> Any:
    from edge.vision.expression.crop import square_crop

    return square_crop(picture, box, (side, side), margin)


def test_a_single_output_of_expressions_valence_and_arousal(tmp_path: Path) -> None:
    """As multi-task EfficientNet-B0: normalised by the figures of ImageNet, labels in its order."""
    net = Net(size=32).body().head("output", 10)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    manifest = export_expression(
        net.save(tmp_path),
        tmp_path / "net",
        mono=True,
        overrides=ExpressionOptions(
            normalisation="fixed", mean=mean, std=std, labels=EFFICIENT, affect="signed", margin=0.1
        ),
    )
    assert manifest.labels == EFFICIENT
    assert manifest.input.normalisation.kind == "none"
    assert manifest.input.value_range == (0.0, 1.0)
    network = exported(tmp_path)
    picture, _ = golden_picture()
    box = Box(155.4, 38.9, 86.4, 151.0)
    crop = exporter_crop(picture, box, 32, 0.1)
    planes = np.stack([(crop / 255 - m) / s for m, s in zip(mean, std, strict=True)])[None]
    (row,) = run_original(net.model(), planes, ["output"])
    shares = np.exp(row[0, :8] - row[0, :8].max())
    shares = shares / shares.sum()
    known = dict(zip(EFFICIENT, shares.tolist(), strict=True))
    golden = manifest.golden
    assert isinstance(golden, ExpressionGolden)
    for label in EXPRESSIONS:
        assert golden.readings[0].probabilities[label] == pytest.approx(known[label], rel=1e-3)
    heads = network.run(crop[None])
    np.testing.assert_allclose(heads["expression"][0], shares, atol=1e-5)
    np.testing.assert_allclose(heads["affect"][0], row[0, 8:], atol=1e-5)
    assert expression_findings(ExpressionHeads(network)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"affect": {"encoding": "none"}},
        {"affect": {"activation": "none"}},
        {"expression": {"activation": "sigmoid"}},
    ],
)
def test_the_golden_face_detects_a_wrong_activation_or_encoding(
    tmp_path: Path, change: dict[str, dict[str, str]]
) -> None:
    out = tmp_path / "net"
    export_expression(OURS, out)
    config = ExpressionConfig(model=str(out))
    assert expression_findings(open_expression(config)) == []
    data = json.loads((out / "manifest.json").read_text())
    for role, fields in change.items():
        data["outputs"][role].update(fields)
    (out / "manifest.json").write_text(json.dumps(data))
    assert expression_findings(open_expression(config))


@pytest.mark.parametrize("kind", ["keras", "onnx"])
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    if kind == "keras":
        architecture_json = mobilenet_fer(32, 0.25, blocks=3)
        weights = write(
            tmp_path / "net.h5", architecture_json, random_arrays(architecture_json, 5, (32, 32, 3))
        )
    else:
        weights = two_heads(layout="nhwc").save(tmp_path)
    exported_graph = []
    for folder in ("one", "two"):
        out = tmp_path / folder / "net"
        export_expression(weights, out, mono=True)
        exported_graph.append({path.name: path.read_bytes() for path in sorted(out.iterdir())})
        assert not any(str(tmp_path).encode() in content for content in exported_graph[-1].values())
    assert exported_graph[0] == exported_graph[1]


def test_every_option_reaches_the_exporter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = two_heads(size=20).save(tmp_path), tmp_path / "net"
    code = main([
        "mobilenet-fer", "--weights", str(path), "--out", str(out), "--mono",
        "--normalisation", "fixed", "--value-range", "0", "255", "--mean", "128", "--std", "64",
        "--margin", "0.1", "--labels", ",".join(EFFICIENT), "--affect", "unit",
        "--licence", "CC0", "--citation", "Nobody, Nothing, 2024",
    ])  # fmt: skip
    assert (code, capsys.readouterr().err) == (0, "")
    manifest = load_manifest(out)
    assert manifest.labels == EFFICIENT
    assert manifest.source.licence == "CC0"
    assert manifest.source.citation == "Nobody, Nothing, 2024"
    assert manifest.input.colour == "mono"
    assert manifest.input.value_range == (0, 255)
    assert manifest.input.crop is not None
    assert manifest.input.crop.margin == 0.1
    source = read_source(path)
    assert (source.size, source.layout, source.channels) == ((20, 20), "nchw", 3)
