"""Expression networks of every kind: the folder answers as the network was trained to."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edge.config import ExpressionConfig
from edge.errors import ModelError
from edge.vision.expression import open_expression
from edge.vision.expression.two_headed import TwoHeadedNetwork
from edge.vision.golden import expression_findings, golden_picture
from edge.vision.inference import Network, load_manifest, open_network, verify
from edge.vision.inference.golden_schema import ExpressionGolden
from edge.vision.inference.manifest import PerSampleNormalisation, Recalibration
from edge.vision.inference.runtimes import OnnxSession
from edge.vision.values import Box
from edge.vocabulary import EXPRESSIONS
from exporters.__main__ import main
from exporters.artifacts.driver import ExportOptions
from exporters.artifacts.parity import sample_pictures, table
from exporters.expression import export as exporter
from exporters.expression.export import export_mobilenet_fer
from exporters.expression.golden import Read
from exporters.expression.input_folding import Affine, fold_input, normalise_by, take_nchw
from exporters.expression.original import ExpressionOptions
from exporters.expression.source import UNKNOWN, read_source
from tests.support.keras2_files import answer, mobilenet_fer, random_arrays, write

MODELS = Path(__file__).parents[2] / "models"
PUBLISHED = MODELS / "centerface-published" / "centerface.onnx"
OURS = MODELS / "expression-nir" / "expression.onnx"
RANDOM = np.random.default_rng(20240607)


# -- networks of any shape, small ---------------------------------------------------------------


class Net:
    """An ONNX graph in the making: front, one convolution, pooling, heads."""

    def __init__(self, channels: int = 3, size: int = 24, layout: str = "nchw", pads: int = 1):
        self.random = np.random.default_rng(77)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.outputs: list[Any] = []
        self.channels, self.layout, self.pads = channels, layout, pads
        sides: list[Any] = [size, size]
        self.shape = [1, channels, *sides] if layout == "nchw" else ["batch", *sides, channels]
        self.last = "picture"
        if layout == "nhwc":
            self.add("Transpose", [], perm=[0, 3, 1, 2])

    def add(self, kind: str, constants: Sequence[Any], **settings: Any) -> "Net":
        """Add a node behind the last one; its further inputs are arrays."""
        output = f"{kind}_{len(self.nodes)}".lower()
        names = [self.last]
        for index, values in enumerate(constants):
            names.append(f"{output}.{index}")
            held = np.asarray(values)
            held = held.astype(np.int64 if held.dtype.kind == "i" else np.float32)
            self.weights.append(numpy_helper.from_array(held, names[-1]))
        self.nodes.append(helper.make_node(kind, names, [output], **settings))
        self.last = output
        return self

    def body(self) -> "Net":
        """A convolution and a mean over the picture: 12 features."""
        draw = self.random.normal
        self.add("Conv", [draw(0, 0.5, (12, self.channels, 3, 3)), draw(0, 0.3, 12)],
                 strides=[2, 2], pads=[self.pads] * 4)  # fmt: skip
        self.add("Relu", [])
        self.add("GlobalAveragePool", [])
        return self.add("Flatten", [])

    def head(self, name: str, count: int, *after: str) -> "Net":
        """A linear head on the features, activations behind it."""
        features = self.last
        self.add("Gemm", [self.random.normal(0, 2, (12, count)), self.random.normal(0, 1, count)])
        for kind in after:
            self.add(kind, [])
        self.nodes[-1].output[0] = name
        self.outputs.append(name)
        self.last = features
        return self

    def model(self, **metadata: str) -> Any:
        """The finished model."""
        made = helper.make_model(
            helper.make_graph(
                self.nodes,
                "net",
                [helper.make_tensor_value_info("picture", TensorProto.FLOAT, self.shape)],
                [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
                 for name in self.outputs],
                self.weights,
            ),
            opset_imports=[helper.make_opsetid("", 13)],
            ir_version=8,
        )  # fmt: skip
        for key, value in metadata.items():
            entry = made.metadata_props.add()
            entry.key, entry.value = key, value
        return made

    def save(self, folder: Path, **metadata: str) -> Path:
        path = folder / "net.onnx"
        onnx.save(self.model(**metadata), path)
        return path


def two_heads(**shape: Any) -> Net:
    net = Net(**shape).body()
    return net.head("classifier", 8, "Softmax").head("regressor", 2, "Sigmoid")


def run_original(model: Any, tensor: Any, names: Sequence[str]) -> list[Any]:
    outputs = OnnxSession(model.SerializeToString(), 1).run(tensor.astype(np.float32))
    return [outputs[name] for name in names]


def thesis_input(picture: Any, channels: int, layout: str) -> Any:
    """Kalabis 2024: x / 127.5, less the sample's own mean; equal channels."""
    values = picture.astype(np.float64) / 127.5
    values = values - values.mean()
    planes = np.repeat(values[None], channels, axis=0)[None]
    return planes if layout == "nchw" else planes.transpose(0, 2, 3, 1)


def exported(folder: Path, name: str = "net") -> Network:
    assert verify(folder / name) == []
    return open_network(folder / name, task="facial-expression")


# -- Keras 2 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mono", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_a_thesis_checkpoint_answers_as_keras_would(
    tmp_path: Path, mono: bool, whole: bool
) -> None:
    said = mobilenet_fer(64, 0.25)
    arrays = random_arrays(said, 12, (64, 64, 3))
    weights = write(tmp_path / "net.h5", said, arrays, whole=whole)
    architecture = None if whole else tmp_path / "net.json"
    if architecture:
        architecture.write_text(json.dumps(said))
    manifest = export_mobilenet_fer(weights, tmp_path / "net", architecture=architecture, mono=mono)
    assert manifest.input.shape == (1, 1 if mono else 3, 64, 64)
    assert manifest.input.value_range == (0.0, 2.0)
    assert manifest.input.normalisation == PerSampleNormalisation(kind="per-sample", divide=False)
    assert manifest.input.crop is not None
    assert manifest.input.crop.margin == 0
    assert manifest.source.licence == manifest.source.citation == UNKNOWN
    assert manifest.outputs["expression"].activation == "softmax"
    assert manifest.outputs["affect"].activation == "sigmoid"
    assert manifest.outputs["affect"].encoding == "(s-0.5)*2"
    # its norm in front shifts, its first convolution pads: it cannot be folded exactly
    assert manifest.exporter.options["input_affine"] == "in front of the first convolution"
    assert ("architecture_sha256" in manifest.exporter.options) is not whole
    network = exported(tmp_path)
    for picture in sample_pictures(64, 64)[:5]:
        expected = answer(said, arrays, thesis_input(picture, 3, "nhwc")[0])
        heads = network.run(picture[None])
        np.testing.assert_allclose(heads["expression"][0], expected[0], atol=1e-4)
        np.testing.assert_allclose(heads["affect"][0], expected[1], atol=1e-4)
    assert expression_findings(TwoHeadedNetwork(network)) == []


def test_both_keras_kinds_are_the_same_network(tmp_path: Path) -> None:
    said = mobilenet_fer(48, 0.25, blocks=4)
    arrays = random_arrays(said, 13, (48, 48, 3))
    write(tmp_path / "whole.h5", said, arrays)
    write(tmp_path / "apart.hdf5", said, arrays, whole=False)
    (tmp_path / "apart.json").write_text(json.dumps(said))
    one = export_mobilenet_fer(tmp_path / "whole.h5", tmp_path / "one")
    two = export_mobilenet_fer(
        tmp_path / "apart.hdf5", tmp_path / "two", architecture=tmp_path / "apart.json"
    )
    assert one.artifacts == two.artifacts
    assert one.golden == two.golden


# -- ONNX ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mono", [True, False])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_layout_and_channels_answer_as_the_original(
    tmp_path: Path, layout: str, channels: int, mono: bool
) -> None:
    net = two_heads(channels=channels, layout=layout, size=32)
    manifest = export_mobilenet_fer(net.save(tmp_path), tmp_path / "net", mono=mono)
    assert manifest.input.shape == (1, 1 if mono else channels, 32, 32)
    network = exported(tmp_path)
    held = onnx.load(tmp_path / "net" / "expression.onnx")
    assert "Transpose" not in {node.op_type for node in held.graph.node}
    assert [value.name for value in held.graph.output] == ["logits", "affect"]
    for picture in sample_pictures(32, 32):
        tensor = thesis_input(picture, channels, layout)
        known = run_original(net.model(), tensor, net.outputs)
        heads = network.run(picture[None])
        np.testing.assert_allclose(heads["expression"], known[0], atol=1e-5)
        np.testing.assert_allclose(heads["affect"], known[1], atol=1e-5)


def test_an_nhwc_graph_that_starts_with_something_else_keeps_its_transposition(
    tmp_path: Path,
) -> None:
    net = Net(layout="nhwc", size=32)
    net.nodes.clear()
    net.last = "picture"
    net.add("Mul", [np.array([0.5, 1.0, 2.0])]).add("Transpose", [], perm=[0, 3, 1, 2]).body()
    net.head("classifier", 8, "Softmax").head("regressor", 2, "Sigmoid")
    export_mobilenet_fer(net.save(tmp_path), tmp_path / "net", mono=True)
    network, picture = exported(tmp_path), sample_pictures(32, 32)[0]
    known = run_original(net.model(), thesis_input(picture, 3, "nhwc"), net.outputs)
    np.testing.assert_allclose(network.run(picture[None])["expression"], known[0], atol=1e-5)


HEADS: dict[str, tuple[Callable[[Net], Net], ExpressionOptions, str, str, str]] = {
    "activations inside": (
        lambda net: net.head("a", 8, "Softmax").head("b", 2, "Sigmoid"),
        ExpressionOptions(), "softmax", "sigmoid", "(s-0.5)*2",
    ),
    "none inside": (
        lambda net: net.head("a", 8).head("b", 2),
        ExpressionOptions(), "softmax", "sigmoid", "(s-0.5)*2",
    ),
    "the other way round": (
        lambda net: net.head("b", 2).head("a", 8, "Softmax"),
        ExpressionOptions(), "softmax", "sigmoid", "(s-0.5)*2",
    ),
    "identities behind": (
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
    "other outputs besides": (
        lambda net: net.head("features", 40).head("logits", 8).head("affect", 2).head("age", 1),
        ExpressionOptions(), "softmax", "sigmoid", "(s-0.5)*2",
    ),
    "a name decides": (
        lambda net: net.head("other", 8).head("classifier", 8).head("regressor", 2).head("x", 2),
        ExpressionOptions(), "softmax", "sigmoid", "(s-0.5)*2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_heads_are_found_and_their_activation_is_said(tmp_path: Path, name: str) -> None:
    build, options, softmax, sigmoid, encoding = HEADS[name]
    net = build(Net(size=20).body())
    fields = {"normalisation": "thesis", "affect": options.affect}
    export_mobilenet_fer(
        net.save(tmp_path), tmp_path / "net", overrides=ExpressionOptions(**fields)
    )
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


def test_probabilities_that_no_softmax_ends_stay_as_they_are(tmp_path: Path) -> None:
    net = Net(size=20).body()
    net.head("a", 8, "Softmax").head("b", 2, "Sigmoid")
    net.nodes = [node for node in net.nodes if node.op_type != "Softmax"]
    linear = next(node for node in net.nodes if node.op_type == "Gemm").output[0]
    net.nodes += [
        helper.make_node("Exp", [linear], ["powers"]),
        helper.make_node("ReduceSum", ["powers"], ["total"], keepdims=1),
        helper.make_node("Div", ["powers", "total"], ["a"]),
    ]
    export_mobilenet_fer(
        net.save(tmp_path), tmp_path / "net", overrides=ExpressionOptions(normalisation="thesis")
    )
    network, picture = exported(tmp_path), sample_pictures(20, 20)[0]
    assert network.manifest.outputs["expression"].tensor == "probabilities"
    assert network.manifest.outputs["expression"].activation == "none"
    known = run_original(net.model(), thesis_input(picture, 3, "nchw"), ["a"])
    np.testing.assert_allclose(network.run(picture[None])["expression"], known[0], atol=1e-5)


def test_a_recalibration_goes_into_the_manifest_and_the_golden_answer(tmp_path: Path) -> None:
    setting = {"fitted_on": "a test", "samples": 9, "temperature": 2.0, "offsets": [0.5] * 8,
               "points": [[0.5, -0.5]] * 8}  # fmt: skip
    path = tmp_path / "setting.json"
    path.write_text(json.dumps(setting))
    words = ["mobilenet-fer", "--weights", str(OURS), "--recalibration", str(path)]
    assert main([*words, "--out", str(tmp_path / "net")]) == 0
    made, plain = load_manifest(tmp_path / "net"), export_mobilenet_fer(OURS, tmp_path / "plain")
    assert made.recalibration is not None
    assert made.recalibration.temperature == 2
    assert plain.recalibration is None
    assert isinstance(made.golden, ExpressionGolden)
    assert isinstance(plain.golden, ExpressionGolden)
    for soft, sharp in zip(made.golden.readings, plain.golden.readings, strict=False):
        if soft.box == sharp.box:
            roots = {name: share**0.5 for name, share in sharp.probabilities.items()}
            for name, share in soft.probabilities.items():
                assert share == pytest.approx(roots[name] / sum(roots.values()), abs=2e-3)
        assert (soft.valence, soft.arousal) == (0.5, -0.5)


def test_golden_tolerances_are_as_narrow_as_a_recalibration_draws_logits_together(
    tmp_path: Path,
) -> None:
    setting = {"fitted_on": "a test", "samples": 9, "temperature": 2.0, "offsets": [0.5] * 8}
    narrowed = []
    for name, mixing in (("plain", None), ("mixed", (np.eye(8) / 4).tolist())):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(setting | {"mixing": mixing}))
        words = ["mobilenet-fer", "--weights", str(OURS), "--recalibration", str(path)]
        assert main([*words, "--out", str(tmp_path / name)]) == 0
        golden = load_manifest(tmp_path / name).golden
        assert isinstance(golden, ExpressionGolden)
        narrowed.append(golden.log_probability_max)
    assert narrowed == pytest.approx([0.15 / 2, 0.15 * (1 / 2 + 1 / 4)])


@pytest.mark.parametrize(
    "change",
    [
        {"affect": {"encoding": "none"}},
        {"affect": {"activation": "none"}},
        {"expression": {"activation": "sigmoid"}},
    ],
)
def test_a_wrong_encoding_is_seen_where_the_second_output_is_used(
    tmp_path: Path, change: dict[str, dict[str, str]]
) -> None:
    out = tmp_path / "net"
    export_mobilenet_fer(OURS, out)
    config = ExpressionConfig(model=str(out))
    assert expression_findings(open_expression(config)) == []
    data = json.loads((out / "manifest.json").read_text())
    for role, fields in change.items():
        data["outputs"][role].update(fields)
    (out / "manifest.json").write_text(json.dumps(data))
    assert expression_findings(open_expression(config))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        ("", "Invalid JSON"),
        ("[]", "should be an object"),
        ('{"fitted_on": "x", "samples": 1, "temperature": 1, "offsets": [0]}', "offsets: "),
    ],
)
def test_what_is_no_recalibration_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, told: str
) -> None:
    path = tmp_path / "setting.json"
    if content is not None:
        path.write_text(content)
    words = ["mobilenet-fer", "--weights", str(OURS), "--recalibration", str(path)]
    assert main([*words, "--out", str(tmp_path / "net")]) == 78
    err = capsys.readouterr().err
    assert "--recalibration" in err
    assert told in err
    assert err.count("\n") == 1


EFFICIENT = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""The order that EfficientNet-B0 networks of HSEmotion give, alphabetical, in our names."""


def test_one_row_of_eight_expressions_and_valence_and_arousal(tmp_path: Path) -> None:
    """As multi-task EfficientNet-B0 gives it: rgb by the figures of ImageNet, labels by name."""
    net = Net(size=32).body().head("output", 10)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    manifest = export_mobilenet_fer(
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
    assert expression_findings(TwoHeadedNetwork(network)) == []


def exporter_crop(picture: Any, box: Box, side: int, margin: float) -> Any:
    from edge.vision.expression.crop import square_crop

    return square_crop(picture, box, (side, side), margin)


# -- what is done to every picture alike --------------------------------------------------------


@settings(max_examples=80)
@given(
    front=st.sampled_from(["nothing", "norm", "arithmetic", "identity", "minus from"]),
    pads=st.sampled_from([0, 1]),
    mono=st.booleans(),
    fixed=st.booleans(),
    grouped=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_folded_input_is_the_same_function_of_equal_channels(  # noqa: PLR0917
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
    (seen,) = run_original(model, plane if mono else planes, ["a"])
    np.testing.assert_allclose(seen, known, rtol=1e-4, atol=1e-4 * max(1, np.abs(known).max()))
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


def test_affine_functions_chain() -> None:
    one = Affine(np.array([2.0, 3.0]), np.array([1.0, -1.0]))
    both = one.then(np.array([5.0, 7.0]), np.array([0.5, 0.25]))
    x = np.array([0.3, -4.0])
    np.testing.assert_allclose(
        both.scale * x + both.shift,
        (one.scale * x + one.shift) * [5, 7] + [0.5, 0.25],
    )


def test_nhwc_becomes_nchw_for_every_reader_of_the_input() -> None:
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
    (seen,) = run_original(model, picture.transpose(0, 3, 1, 2), ["all"])
    np.testing.assert_allclose(seen, known, atol=1e-6)
    assert sum(node.op_type == "Transpose" for node in model.graph.node) == 1


# -- how pictures are normalised ----------------------------------------------------------------


def test_our_own_network_keeps_what_its_folder_says(tmp_path: Path) -> None:
    bundled = load_manifest(MODELS / "expression-nir")
    made = export_mobilenet_fer(OURS, tmp_path / "expression-nir")
    assert made.input == bundled.input
    assert made.outputs == bundled.outputs
    assert made.source.licence == bundled.source.licence
    assert made.source.citation == bundled.source.citation


def test_a_file_may_say_what_cannot_be_seen(tmp_path: Path) -> None:
    net = two_heads(size=20).save(
        tmp_path,
        licence="MIT\n",
        citation="A. N. Other",
        normalisation="standardised",
        margin="0.2",
    )
    manifest = export_mobilenet_fer(net, tmp_path / "net")
    assert (manifest.source.licence, manifest.source.citation) == ("MIT", "A. N. Other")
    assert manifest.input.value_range == (0, 1)
    assert manifest.exporter.options["normalisation"] == "standardised"
    assert manifest.input.crop is not None
    assert manifest.input.crop.margin == 0.2
    # an artifact that was exported has no metadata: its folder says the same
    again = export_mobilenet_fer(tmp_path / "net" / "expression.onnx", tmp_path / "again")
    assert again.input == manifest.input
    assert again.source.licence == "MIT"
    assert again.source.citation == "A. N. Other"
    overruled = export_mobilenet_fer(
        net,
        tmp_path / "other",
        overrides=ExpressionOptions(
            normalisation="none", value_range=(-1, 1), margin=0.0, licence="mine", citation="me"
        ),
    )
    assert (overruled.source.licence, overruled.source.citation) == ("mine", "me")
    assert overruled.input.normalisation.kind == "none"
    assert overruled.input.value_range == (-1, 1)
    assert overruled.input.crop is not None
    assert overruled.input.crop.margin == 0


def test_a_mono_network_with_our_heads_is_standardised(tmp_path: Path) -> None:
    """48 pixels, as the next network takes them; no other name or size is needed."""
    net = Net(channels=1, size=48).body().head("logits", 8).head("affect", 2)
    manifest = export_mobilenet_fer(net.save(tmp_path), tmp_path / "net")
    assert manifest.input.shape == (1, 1, 48, 48)
    assert manifest.exporter.options["normalisation"] == "standardised"
    assert manifest.input.crop is not None
    assert manifest.input.crop.margin == 0.05
    network, picture = exported(tmp_path), sample_pictures(48, 48)[1]
    values = picture.astype(np.float64) / 255
    values = (values - values.mean()) / (values.std() + 0.05)
    logits, affect = run_original(net.model(), values[None, None], ["logits", "affect"])
    heads = network.run(picture[None])
    np.testing.assert_allclose(
        heads["expression"], np.exp(logits) / np.exp(logits).sum(), atol=1e-5
    )
    np.testing.assert_allclose(heads["affect"], 1 / (1 + np.exp(-affect)), atol=1e-5)


def test_an_open_size_is_the_one_given(tmp_path: Path) -> None:
    net = two_heads()
    net.shape = ["n", 3, "height", "width"]
    path = net.save(tmp_path)
    with pytest.raises(ModelError, match="leaves the size of its input open; give --size"):
        export_mobilenet_fer(path, tmp_path / "net")
    manifest = export_mobilenet_fer(path, tmp_path / "net", size=(40, 40))
    assert manifest.input.shape == (1, 3, 40, 40)
    assert manifest.exporter.options["size"] == "40x40"
    with pytest.raises(ModelError, match=r"--size 10x10: .* takes 24x24; leave --size out"):
        export_mobilenet_fer(two_heads().save(tmp_path), tmp_path / "net", size=(10, 10))


# -- golden face, determinism, integers ---------------------------------------------------------


def test_an_artifact_that_fails_the_golden_face_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sad(read: Read, recalibration: Recalibration | None, *, int8: bool) -> ExpressionGolden:
        known = golden(read, recalibration, int8=int8)
        reading = known.readings[0].model_copy(update={"valence": -0.5})
        return known.model_copy(update={"readings": (reading, *known.readings[1:])})

    golden = exporter.expression_golden
    monkeypatch.setattr(exporter, "expression_golden", sad)
    with pytest.raises(ModelError, match=r"valence -?0.\d\d, expected -0.50; nothing was exported"):
        export_mobilenet_fer(OURS, tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_the_golden_readings_set_all_labels_apart(tmp_path: Path) -> None:
    """So that two swapped labels show, of any network: the second region is chosen for that."""
    manifest = export_mobilenet_fer(OURS, tmp_path / "net")
    golden = manifest.golden
    assert isinstance(golden, ExpressionGolden)
    for one in EXPRESSIONS:
        for other in EXPRESSIONS:
            apart = max(
                abs(np.log(each.probabilities[one] / each.probabilities[other]))
                for each in golden.readings
            )
            assert one == other or apart > 2 * golden.log_probability_max


@pytest.mark.parametrize("kind", ["keras", "onnx"])
def test_the_same_input_twice_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    if kind == "keras":
        said = mobilenet_fer(32, 0.25, blocks=3)
        weights = write(tmp_path / "net.h5", said, random_arrays(said, 5, (32, 32, 3)))
    else:
        weights = two_heads(layout="nhwc").save(tmp_path)
    held = []
    for folder in ("one", "two"):
        out = tmp_path / folder / "net"
        export_mobilenet_fer(weights, out, mono=True)
        held.append({path.name: path.read_bytes() for path in sorted(out.iterdir())})
        assert not any(str(tmp_path).encode() in content for content in held[-1].values())
    assert held[0] == held[1]


@pytest.fixture(scope="module")
def face_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures cut from the golden one: faces and what is read from no face, in many lights.

    The face alone is happy in all of them, and agreement on a constant cannot be measured.
    """
    folder = tmp_path_factory.mktemp("faces")
    face, _ = golden_picture()
    random = np.random.default_rng(31)
    for number in range(60):
        side = int(random.integers(70, 220))
        left = int(random.integers(0, face.shape[1] - side))
        top = int(random.integers(0, face.shape[0] - side))
        values = face[top : top + side, left : left + side].astype(np.float32)
        values = values * random.uniform(0.5, 1.3) + random.uniform(-20, 30)
        values += random.normal(0, random.uniform(1, 12), values.shape)
        made = np.clip(values, 0, 255).astype(np.uint8)
        made = cv2.resize(made, (160, 160), interpolation=cv2.INTER_LINEAR)
        cv2.imwrite(str(folder / f"{number}.png"), made[:, ::-1] if number % 2 else made)
    return folder


def judged_well(manifest: Any, folder: Path, files: set[str], least: float) -> None:
    """Every artifact agrees by ``least``, and has passed where, and only where, its limits say."""
    assert {artifact.file for artifact in manifest.artifacts} == files
    assert manifest.calibration is not None
    for file, parity in manifest.parity.items():
        for figure in ("concordance", "valence_ccc", "arousal_ccc"):
            assert parity.metrics[figure] >= least, (file, parity.metrics)
        kept = all(limit.kept_by(parity.metrics[name]) for name, limit in parity.limits.items())
        assert parity.passed is kept
    int8 = manifest.parity["expression.int8.onnx"]
    assert {name: limit.at_least for name, limit in int8.limits.items()} == {
        "concordance": 0.98, "valence_ccc": 0.99, "arousal_ccc": 0.99,
    }  # fmt: skip
    assert load_manifest(folder) == manifest


def test_int8_of_the_bundled_network_agrees_and_is_the_same_each_time(
    tmp_path: Path, face_folder: Path
) -> None:
    one, two = (
        export_mobilenet_fer(
            OURS, tmp_path / name / "net", options=ExportOptions(
                precisions=("fp32", "int8"), calibration=face_folder, allow_parity_loss=True
            ),
        )
        for name in ("one", "two")
    )  # fmt: skip
    assert one == two
    for file in ("expression.int8.onnx", "manifest.json"):
        held = [(tmp_path / name / "net" / file).read_bytes() for name in ("one", "two")]
        assert held[0] == held[1]
    files = {"expression.onnx", "expression.int8.onnx"}
    judged_well(one, tmp_path / "one" / "net", files, least=0.9)
    # heads stay float: integers cut off what differs more than the calibration pictures
    held = onnx.load(tmp_path / "one" / "net" / "expression.int8.onnx").graph
    makers = {output: node.op_type for node in held.node for output in node.output}
    assert makers["logits"] == makers["affect"] == "Gemm"
    assert len(str(one.exporter.options["float_nodes"]).split()) >= 5
    lines = table(one).splitlines()
    assert any("arousal_ccc" in line and "(at least 0.99" in line for line in lines)
    assert any("kappa" in line and "(" not in line for line in lines)  # measured, not limited
    assert any("expression_max_error" in line and "(at most 0.0001)" in line for line in lines)


@pytest.mark.nir
def test_int8_keeps_its_limits_on_true_nir_faces(tmp_path: Path, nir_faces: Path) -> None:
    out = tmp_path / "net"
    manifest = export_mobilenet_fer(
        OURS,
        out,
        options=ExportOptions(precisions=("fp32", "int8"), calibration=nir_faces / "images"),
    )
    judged_well(manifest, out, {"expression.onnx", "expression.int8.onnx"}, least=0.98)
    for artifact in manifest.artifacts:
        network = open_network(out, task="facial-expression", artifact=artifact.file)
        assert expression_findings(TwoHeadedNetwork(network)) == []


@pytest.mark.export
@pytest.mark.timeout(600)  # onnx2tf takes minutes on a busy board
def test_tensorflow_lite_of_the_bundled_network_agrees(tmp_path: Path, face_folder: Path) -> None:
    manifest = export_mobilenet_fer(
        OURS, tmp_path / "net", options=ExportOptions(
            formats=("onnx", "tflite"), precisions=("fp32", "int8"), calibration=face_folder,
            allow_parity_loss=True,
        ),
    )  # fmt: skip
    names = ("onnx", "int8.onnx", "tflite", "int8.tflite")
    judged_well(manifest, tmp_path / "net", {f"expression.{name}" for name in names}, least=0.9)
    assert manifest.parity["expression.tflite"].passed


@pytest.mark.export
@pytest.mark.timeout(600)  # onnx2tf takes minutes on a busy board
def test_tensorflow_lite_of_a_keras_network_answers_as_keras_would(tmp_path: Path) -> None:
    said = mobilenet_fer(64, 0.25)
    arrays = random_arrays(said, 12, (64, 64, 3))
    weights = write(tmp_path / "net.h5", said, arrays)
    export_mobilenet_fer(
        weights, tmp_path / "net", options=ExportOptions(formats=("tflite",)), mono=True
    )
    network = exported(tmp_path)
    assert network.info.runtime == "litert"
    for picture in sample_pictures(64, 64)[:4]:
        expected = answer(said, arrays, thesis_input(picture, 3, "nhwc")[0])
        heads = network.run(picture[None])
        np.testing.assert_allclose(heads["expression"][0], expected[0], atol=1e-4)
        np.testing.assert_allclose(heads["affect"][0], expected[1], atol=1e-4)


# -- what is refused ----------------------------------------------------------------------------


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
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": 1}))
    return named("net.pth", held.getvalue())(folder)


def keras_file(folder: Path) -> Path:
    said = mobilenet_fer(32, 0.25, blocks=1)
    return write(folder / "net.h5", said, random_arrays(said, 6, (32, 32, 3)), whole=False)


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
    held = [each for each in model.graph.initializer if each.name == "gemm_4.1"]
    held[0].CopyFrom(bad)


def other_heads(*heads: tuple[str, int]) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        net = Net().body()
        for name, count in heads:
            net.head(name, count)
        return net.save(folder)

    return made


SEVEN = "neutral,happy,sad,surprise,fear,disgust,anger"
REFUSED: dict[str, tuple[Callable[[Path], Path], list[str], str]] = {
    "nothing there": (lambda folder: folder / "none.onnx", [], "No such file"),
    "a folder": (lambda folder: folder, [], "a folder; expected a file: ONNX, or Keras 2"),
    "a SavedModel": (saved_model, [], "a SavedModel folder; expected a file"),
    "a .keras file": (keras_zip, [], "a .keras file, which Keras 3 writes"),
    "a torch zip": (torch_zip, [], "a PyTorch checkpoint or another zip archive"),
    "half a zip": (named("a.zip", b"PK\x03\x04abc"), [], "another zip archive"),
    "a pickle": (named("net.pkl", pickle.dumps({"a": 1})), [], "a pickle, which is never loaded"),
    "JSON": (named("net.json", b' {"class_name": 1}'), [], "JSON; give it as --architecture"),
    "empty": (named("net.onnx", b""), [], "not an ONNX file"),
    "text": (named("net.onnx", b"hello, this is no network"), [], "not an ONNX file"),
    "truncated": (named("net.onnx", OURS.read_bytes()[:99_999]), [], "not an ONNX file"),
    "truncated Keras": (
        named("net.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 50), [], "damaged HDF5"
    ),
    "weights alone": (keras_file, [], "holds weights alone; give the model's --architecture"),
    "external data": (changed(external), [], "keeps weights in another file"),
    "two inputs": (changed(second_input), [], "expected one input for one picture"),
    "half floats": (changed(of_type(TensorProto.FLOAT16)), [], "is float16; expected float32"),
    "bytes": (changed(of_type(TensorProto.UINT8)), [], "is uint8; expected float32"),
    "five channels": (changed(five_channels), [], "has no 1 or 3 channels"),
    "not finite": (changed(not_finite), [], "is not finite"),
    "an unknown operator": (
        changed(lambda model: model.graph.node[0].__setattr__("op_type", "Nothing")), [],
        "onnxruntime refuses it",
    ),
    "a detector": (lambda folder: PUBLISHED, [], "a classifier of 8 values; this one gives 537"),
    "seven expressions": (
        other_heads(("a", 7), ("b", 2)), ["--labels", SEVEN], "missing: contempt"
    ),
    "seven, said to be eight": (other_heads(("a", 7), ("b", 2)), [], "a classifier of 8 values"),
    "no regressor": (other_heads(("a", 8)), [], "a regressor of 2 values (valence, arousal)"),
    "two classifiers": (other_heads(("a", 8), ("b", 8), ("c", 2)), [], "expected one output that"),
    "nobody says how": (other_heads(("a", 8), ("b", 2)), [], "give --normalisation thesis|"),
    "a label twice": (two_heads().save, ["--labels", f"{SEVEN},anger,contempt"], "there twice"),
    "a margin of 3": (two_heads().save, ["--margin", "3"], "--margin 3: expected a share"),
    "range upside down": (
        two_heads().save, ["--normalisation", "none", "--value-range", "1", "0"], "low before high"
    ),
    "range of the thesis": (two_heads().save, ["--value-range", "0", "1"], "thesis has its own"),
    "fixed by nothing": (two_heads().save, ["--normalisation", "fixed"], "--mean (none): goes"),
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
    "odd metadata": (
        lambda folder: two_heads().save(folder, margin="wide"), [], "metadata say margin 'wide'"
    ),
    "odder metadata": (
        lambda folder: two_heads().save(folder, normalisation="fixed"), [], "say normalisation"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    make, words, complaint = REFUSED[name]
    out = tmp_path / "made" / "net"
    code = main(["mobilenet-fer", "--weights", str(make(tmp_path)), "--out", str(out), *words])
    told = capfd.readouterr()
    assert (code, told.out) == (78, "")
    assert complaint in told.err
    assert told.err.count("\n") == 1
    assert not (tmp_path / "made").exists()


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
