"""What every expression network promises (``ExpressionNetwork``): run over all of them.

A new expression network is one more entry of ``NETWORKS``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clock import Stopwatch
from edge.config import ExpressionConfig
from edge.errors import InferenceError, ModelError
from edge.vision import expression
from edge.vision.expression import ExpressionNetwork, open_expression
from edge.vision.golden import expression_findings, golden_picture
from edge.vision.inference import Network, NetworkInfo, find_model, load_manifest
from edge.vision.inference.golden_schema import ExpressionGolden
from edge.vision.values import Box, Frame, Luma, Prediction
from edge.vocabulary import EXPRESSIONS
from tests.support.model_folders import changed_copy, known_decoders


@dataclass(frozen=True)
class Case:
    """One expression network.

    Attributes:
        decoder: the name of its decoder in manifests.
        model: a bundled model of that decoder.
        artifact: one of its files; ``auto`` would choose another one from machine to machine.
    """

    decoder: str
    model: str
    artifact: str

    def open(self, model: Path | None = None, **options: Any) -> ExpressionNetwork:
        name = self.model if model is None else str(model)
        return open_expression(ExpressionConfig(model=name, artifact=self.artifact, **options))


NETWORKS = (
    Case("mobilenet-fer", "expression-nir", "expression.onnx"),
    Case("mobilenet-fer", "expression-nir", "expression.int8.onnx"),
)


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda case: case.artifact)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


@pytest.fixture(scope="module")
def network(case: Case) -> ExpressionNetwork:
    return case.open()


@pytest.fixture(scope="module")
def face(network: ExpressionNetwork) -> Box:
    """The face in the golden picture."""
    assert isinstance(network.golden, ExpressionGolden)
    return Box(*network.golden.readings[0].box)


class Inverted:
    """A translator that returns the negative, and remembers the faces that it was given."""

    golden = None

    def __init__(self, side: int) -> None:
        self.info = NetworkInfo("negative", "none", "none", "fp32", "0" * 64, side, side, 1)
        self.faces: list[Luma] = []

    def translate(self, face: Luma) -> Luma:
        self.faces.append(face)
        return 255 - face


def frame_of(luma: Luma) -> Frame:
    """Return a frame whose picture raises an error when it is written to."""
    luma.flags.writeable = False
    return Frame(luma, index=0, sensor_ns=0, clock="media", captured_ns=0)


def golden() -> Frame:
    return frame_of(golden_picture()[0])


def assert_same(one: Prediction, other: Prediction) -> None:
    np.testing.assert_array_equal(one.probabilities, other.probabilities)
    assert one.affect == other.affect


def assert_valid(prediction: Prediction) -> None:
    assert prediction.probabilities.shape == (len(EXPRESSIONS),)
    assert prediction.probabilities.dtype == np.float32
    assert (prediction.probabilities >= 0).all()
    assert float(prediction.probabilities.sum()) == pytest.approx(1, abs=1e-5)
    assert -1 <= prediction.affect.valence <= 1
    assert -1 <= prediction.affect.arousal <= 1


def test_every_network_is_in_the_list() -> None:
    assert {case.decoder for case in NETWORKS} == known_decoders(expression)
    for case in NETWORKS:
        assert load_manifest(find_model(case.model)).decoder == case.decoder


def test_it_names_its_artifact(network: ExpressionNetwork, case: Case) -> None:
    assert (network.info.name, network.info.artifact) == (case.model, case.artifact)


def test_it_gives_the_golden_answer(network: ExpressionNetwork) -> None:
    assert expression_findings(network) == []


def test_laps_are_booked(network: ExpressionNetwork, face: Box) -> None:
    plain, translated = Stopwatch(), Stopwatch()
    network.predict(golden(), face, plain)
    network.predict(golden(), face, translated, Inverted(64))
    assert list(plain.stage_ms) == ["crop", "classify"]
    assert list(translated.stage_ms) == ["crop", "translate", "classify"]


def test_the_translator_gets_a_square_of_its_size_once(
    network: ExpressionNetwork, face: Box
) -> None:
    translator = Inverted(80)
    translated = network.predict(golden(), face, Stopwatch(), translator)
    assert_valid(translated)
    assert [(each.shape, each.dtype) for each in translator.faces] == [((80, 80), np.uint8)]
    plain = network.predict(golden(), face, Stopwatch())
    assert np.abs(translated.probabilities - plain.probabilities).max() > 0.01


def test_it_keeps_nothing_from_one_face_to_the_next(network: ExpressionNetwork, face: Box) -> None:
    first = network.predict(golden(), face, Stopwatch())
    network.predict(frame_of(np.zeros((50, 50), np.uint8)), Box(0, 0, 50, 50), Stopwatch())
    network.predict(golden(), face, Stopwatch(), Inverted(48))
    assert_same(network.predict(golden(), face, Stopwatch()), first)


@pytest.mark.parametrize("kind", ["black", "white", "noise", "gradient"])
@pytest.mark.parametrize("shape", [(1, 1), (240, 400), (6000, 8000)])
def test_any_frame_gives_probabilities(
    network: ExpressionNetwork, kind: str, shape: tuple[int, int]
) -> None:
    luma = np.full(shape, 255 if kind == "white" else 0, np.uint8)
    if kind == "noise":
        luma = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    elif kind == "gradient":
        luma[:] = np.linspace(0, 255, shape[1]).astype(np.uint8)
    for box in (Box(0, 0, shape[1], shape[0]), Box(-5, -5, 3, 3), Box(10, 10, 1, 1e5)):
        assert_valid(network.predict(frame_of(luma), box, Stopwatch()))


@settings(max_examples=60)
@given(st.floats(-500, 900), st.floats(-500, 700), st.floats(0, 2000), st.floats(0, 2000))
def test_any_box_gives_probabilities(
    network: ExpressionNetwork, x: float, y: float, width: float, height: float
) -> None:
    assert_valid(network.predict(golden(), Box(x, y, width, height), Stopwatch()))


def test_priors_follow_bayes_rule_and_leave_the_published_answer(
    network: ExpressionNetwork, case: Case, face: Box
) -> None:
    weighted = case.open(priors={"neutral": 0.999})
    plain = network.predict(golden(), face, Stopwatch())
    moved = weighted.predict(golden(), face, Stopwatch())
    assert_valid(moved)
    products = np.array([0.999, *[0.001 / 7] * 7]) * plain.probabilities
    np.testing.assert_allclose(moved.probabilities, products / products.sum(), atol=1e-5)
    assert_same(weighted.without_priors.predict(golden(), face, Stopwatch()), plain)
    assert_same(weighted.predict(golden(), face, Stopwatch()), moved)  # it still has its priors
    assert expression_findings(weighted) == []


def test_a_network_that_fails_is_an_inference_error(
    network: ExpressionNetwork, face: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Network, batch: Luma) -> dict[str, Any]:
        raise InferenceError("network: output is not finite")

    monkeypatch.setattr(Network, "run", fails)
    with pytest.raises(InferenceError, match="not finite"):
        network.predict(golden(), face, Stopwatch())


def test_a_translator_that_fails_is_an_inference_error(
    network: ExpressionNetwork, face: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(face: Luma) -> Luma:
        raise InferenceError("translator: out of memory")

    translator = Inverted(48)
    monkeypatch.setattr(translator, "translate", fails)
    with pytest.raises(InferenceError, match="out of memory"):
        network.predict(golden(), face, Stopwatch(), translator)


def test_a_network_that_fails_on_its_first_picture_is_not_opened(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Network, batch: Luma) -> dict[str, Any]:
        raise InferenceError("network: output is not finite")

    monkeypatch.setattr(Network, "run", fails)
    with pytest.raises(ModelError, match="model network: output is not finite"):
        case.open()


def test_each_missing_output_is_named(case: Case, tmp_path: Path) -> None:
    folder = find_model(case.model)
    for role in load_manifest(folder).outputs:
        copy = changed_copy(folder, tmp_path / role, lambda data, r=role: data["outputs"].pop(r))
        with pytest.raises(ModelError) as caught:
            case.open(copy)
        assert f"decoder {case.decoder!r} also needs {role};" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_decoder_unknown_here_is_refused_only_when_it_is_opened(
    case: Case, tmp_path: Path
) -> None:
    def change(data: dict[str, Any]) -> None:
        first = next(iter(data["outputs"].values()))
        data.update(decoder="other", outputs={"something": first})

    copy = changed_copy(find_model(case.model), tmp_path / "other", change)
    assert load_manifest(copy).decoder == "other"
    with pytest.raises(ModelError, match="decoder 'other' is unknown; expected") as caught:
        case.open(copy)
    assert "\n" not in str(caught.value)
    assert all(known in str(caught.value) for known in known_decoders(expression))


def test_a_model_of_another_task_is_refused() -> None:
    with pytest.raises(ModelError, match="made for face-detection, configured for"):
        open_expression(ExpressionConfig(model="centerface-320x192"))


def test_nothing_is_printed(case: Case, face: Box, capfd: pytest.CaptureFixture[str]) -> None:
    case.open().predict(golden(), face, Stopwatch())
    assert capfd.readouterr() == ("", "")
