"""``exporters expression``: networks with one head, fewer expressions, or all values in one row."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from edge.clock import Stopwatch
from edge.config import ExpressionConfig
from edge.errors import ModelError
from edge.vision.expression import open_expression
from edge.vision.golden import expression_findings, golden_picture
from edge.vision.inference import load_manifest, open_network, verify
from edge.vision.values import Box, Prediction
from edge.vocabulary import EXPRESSIONS
from exporters.artifacts.parity import sample_pictures
from exporters.cli import main
from exporters.expression.golden import FACE
from exporters.expression.known import ANCHORS, KNOWN
from tests.support.command_errors import refusal
from tests.support.expression_networks import EFFICIENT, OURS, Net, run_original
from tests.support.frames import frame_of

SEVEN = ("anger", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""HSEmotion's order without contempt."""

ANY = ["--unverified"]  # random weights see no smile


def export(weights: Path, out: Path, *words: str) -> Path:
    assert main(["expression", "--weights", str(weights), "--out", str(out), *words]) == 0
    assert verify(out) == []
    return out


def predicted(folder: Path) -> Prediction:
    network = open_expression(ExpressionConfig(model=str(folder)))
    assert expression_findings(network) == []
    return network.predict(frame_of(golden_picture()[0]), Box(*FACE), Stopwatch())


def imagenet_input(size: int) -> np.ndarray:
    """Return the face as ImageNet's networks take it: float (1, 3, size, size)."""
    picture = sample_pictures(size, size)[0].astype(np.float64) / 255
    mean, std = (
        np.array(each)[:, None, None] for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    return ((picture[None] - mean) / std)[None]


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max())
    return powers / powers.sum()


def test_one_head_of_eight_classes_gets_affect_from_anchors(tmp_path: Path) -> None:
    net = Net(size=24).body().head("scores", 8)
    folder = export(net.save(tmp_path), tmp_path / "net", "--network", "hsemotion", *ANY)
    manifest = load_manifest(folder)
    assert (manifest.decoder, manifest.labels) == ("classifier", EFFICIENT)
    assert manifest.unknown_expressions is None
    network = open_network(folder, task="facial-expression")
    (known,) = run_original(net.model(), imagenet_input(24), ["scores"])
    heads = network.run(sample_pictures(24, 24)[0][None])
    np.testing.assert_allclose(heads["expression"][0], softmax(known[0]), atol=1e-5)
    prediction = predicted(folder)
    assert (prediction.unknown, prediction.affect_source) == ((), "anchors")
    anchors = np.array([ANCHORS[name] for name in EXPRESSIONS])
    point = prediction.probabilities @ anchors
    assert (prediction.affect.valence, prediction.affect.arousal) == pytest.approx(point, abs=1e-6)


def test_a_class_that_the_network_lacks_is_unknown_not_unlikely(tmp_path: Path) -> None:
    net = Net(size=24).body().head("scores", 7, "Softmax")
    labels = ["--labels", ",".join(SEVEN), "--normalisation", "none"]
    folder = export(net.save(tmp_path), tmp_path / "net", *labels, *ANY)
    manifest = load_manifest(folder)
    assert manifest.unknown_expressions == ("contempt",)
    assert all(set(each.probabilities) == set(SEVEN) for each in manifest.golden.readings)
    prediction = predicted(folder)
    assert prediction.unknown == ("contempt",)
    assert prediction.probabilities[EXPRESSIONS.index("contempt")] == 0
    assert float(prediction.probabilities.sum()) == pytest.approx(1, abs=1e-6)
    card = (folder / "README.md").read_text()
    assert "contempt: null in messages, not 0" in card
    assert "not from the network: class anchors" in card


@pytest.mark.parametrize("size", [24, 30])
def test_one_row_of_ten_values_gives_expressions_valence_and_arousal(
    tmp_path: Path, size: int
) -> None:
    net = Net(size=size).body().head("values", 10)
    folder = export(net.save(tmp_path), tmp_path / "net", "--network", "hsemotion", *ANY)
    manifest = load_manifest(folder)
    assert (manifest.decoder, manifest.labels) == ("mobilenet-fer", EFFICIENT)
    (known,) = run_original(net.model(), imagenet_input(size), ["values"])
    network = open_network(folder, task="facial-expression")
    heads = network.run(sample_pictures(size, size)[0][None])
    np.testing.assert_allclose(heads["expression"][0], softmax(known[0, :8]), atol=1e-5)
    np.testing.assert_allclose(heads["affect"][0], known[0, 8:], atol=1e-4)
    assert predicted(folder).affect_source == "network"
    assert "the network's second output" in (folder / "README.md").read_text()


def test_further_outputs_such_as_features_and_attention_are_left_out(tmp_path: Path) -> None:
    net = Net(size=24).body().head("features", 512).head("logits", 7).head("heads", 1024)
    folder = export(net.save(tmp_path), tmp_path / "net", "--network", "ddamfn", *ANY)
    assert load_manifest(folder).labels == EXPRESSIONS[:7]
    graph = onnx.load(folder / "expression.onnx").graph
    assert [value.name for value in graph.output] == ["logits"]
    assert predicted(folder).unknown == ("contempt",)


def test_labels_in_the_metadata_of_a_file_are_taken(tmp_path: Path) -> None:
    net = Net(size=24).body().head("scores", 7)
    weights = net.save(tmp_path, labels=", ".join(SEVEN), normalisation="none")
    assert load_manifest(export(weights, tmp_path / "net", *ANY)).labels == SEVEN


def test_the_card_of_the_user_stays(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "README.md").write_text("mine")
    weights = Net(size=24).body().head("scores", 8).save(tmp_path)
    folder = export(weights, tmp_path / "net", "--network", "ddamfn", *ANY)
    assert (folder / "README.md").read_text() == "mine"


def test_the_card_is_that_of_the_newest_export(tmp_path: Path) -> None:
    """The card of a folder told of the weights that were there before."""
    weights = Net(size=24).body().head("scores", 8).save(tmp_path)
    for licence in ("MIT", "Apache-2.0"):
        folder = export(
            weights, tmp_path / "net", "--network", "ddamfn", "--licence", licence, *ANY
        )
    assert "| licence | Apache-2.0 |" in (folder / "README.md").read_text()


TRAINED = {"hsemotion": EFFICIENT, "another": ("happy", "neutral", *EXPRESSIONS[2:])}


@pytest.mark.parametrize("labels", TRAINED.values(), ids=TRAINED)
def test_a_wrong_order_of_classes_is_told_by_the_golden_face(
    tmp_path: Path, labels: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "trained.onnx"
    weights.write_bytes(OURS.read_bytes())
    command = ["expression", "--weights", str(weights), "--out", str(tmp_path / "net")]
    text = refusal(main, [*command, "--labels", ",".join(labels)], capsys)
    assert f"golden face: {labels[1]} 1.00, expected happy, since the face smiles" in text
    assert "with the order of AffectNet or FER+ it is happy: wrong --labels" in text
    assert not (tmp_path / "net").exists()
    export(weights, tmp_path / "net", "--labels", ",".join(EXPRESSIONS))
    options = load_manifest(tmp_path / "net").exporter.options
    assert options["golden_face"] == "happy 1.00"


def anonymous(folder: Path) -> Path:
    """Write our trained network with names that do not state its normalisation."""
    model = onnx.load(OURS)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"x_{each}" if each in ("logits", "affect") else each for each in names]
    del model.graph.output[2:]  # its features have no name of their own in other files
    for value in model.graph.output:
        value.name = f"x_{value.name}"
    onnx.save(model, folder / "anonymous.onnx")
    return folder / "anonymous.onnx"


REFUSED: dict[str, tuple[list[str], str]] = {
    "no order": (["--normalisation", "none"], "neither the file nor its names state the order"),
    "no normalisation": (["--labels", ",".join(EXPRESSIONS)], "how pictures are normalised"),
    "normalisation that makes the smile vanish": (
        ["--labels", ",".join(EXPRESSIONS), "--normalisation", "none", "--value-range", "0", "255"],
        "is happy 1.00: wrong --normalisation",
    ),
    "order stated twice": (
        ["--network", "hsemotion", "--labels", ",".join(EXPRESSIONS)],
        "--labels: --network hsemotion states it; leave it out",
    ),
    "normalisation stated twice": (
        ["--network", "ddamfn", "--normalisation", "thesis"],
        "--normalisation: --network ddamfn states it; leave it out",
    ),
    "architecture alone": (["--network", "efficientnet"], "state the order of its classes"),
    "a label misspelt": (
        ["--labels", "neutral,hapy,sad", "--normalisation", "none"], "unknown: hapy",
    ),
    "one label": (["--labels", "happy", "--normalisation", "none"], "expected some of neutral"),
    "mean in blue, green, red": (
        ["--labels", ",".join(EXPRESSIONS), "--normalisation", "fixed", "--mean", ".406", ".456",
         ".485", "--std", ".225", ".224", ".229"],
        "--mean 0.406 0.456 0.485: ImageNet's mean for BGR, and the network is said to take RGB",
    ),
    "mean in red, green, blue": (
        ["--labels", ",".join(EXPRESSIONS), "--normalisation", "fixed", "--channels", "bgr",
         "--mean", "123.68", "116.78", "103.94", "--std", "1", "--value-range", "0", "255"],
        "expected 103.94 116.78 123.68, or --channels rgb",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_stated_or_wrong_is_told_in_one_line(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words, complaint = REFUSED[name]
    out = tmp_path / "net"
    command = ["expression", "--weights", str(anonymous(tmp_path)), "--out", str(out), *words]
    assert complaint in refusal(main, command, capsys)
    assert not out.exists()


def test_a_normalisation_other_than_that_of_the_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "ours.onnx"
    weights.write_bytes(OURS.read_bytes())
    command = ["expression", "--weights", str(weights), "--out", str(tmp_path / "net")]
    text = refusal(main, [*command, "--normalisation", "thesis"], capsys)
    assert "--normalisation thesis: the file or the names in it state standardised" in text


def test_a_network_of_another_number_of_classes_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = Net(size=24).body().head("scores", 6).save(tmp_path)
    command = ["expression", "--weights", str(weights), "--out", str(tmp_path / "net")]
    text = refusal(main, [*command, "--network", "hsemotion"], capsys)
    assert "--network hsemotion has 8 or 7 classes; this one gives scores of 6 values" in text


def test_every_known_order_names_expressions_once() -> None:
    for known in KNOWN.values():
        for order in known.orders:
            assert set(order) <= set(EXPRESSIONS)
            assert len(set(order)) == len(order)


def test_a_manifest_without_anchors_is_refused(tmp_path: Path) -> None:
    weights = Net(size=24).body().head("scores", 8).save(tmp_path)
    folder = export(weights, tmp_path / "net", "--network", "ddamfn", *ANY)
    manifest = folder / "manifest.json"
    text = manifest.read_text()
    start = text.index('  "anchors"')
    manifest.write_text(text[:start] + text[text.index('  "source"', start) :])
    with pytest.raises(ModelError, match="decoder 'classifier' also needs anchors"):
        open_expression(ExpressionConfig(model=str(folder)))
