"""The contract of expression networks (``ExpressionNetwork``), run over all of them.

What they share with other networks: ``tests/vision/test_network_contract.py``.
"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clock import Stopwatch
from edge.errors import InferenceError
from edge.vision.expression import ExpressionNetwork
from edge.vision.golden import expression_findings, golden_picture
from edge.vision.inference import NetworkInfo
from edge.vision.inference.golden_schema import ExpressionGolden
from edge.vision.values import Box, Frame, Luma, Prediction
from edge.vocabulary import EXPRESSIONS
from tests.support.frames import frame_of
from tests.support.networks import EXPRESSION_NETWORKS, ExpressionCase

pytestmark = pytest.mark.parametrize(
    "case", EXPRESSION_NETWORKS, ids=lambda case: case.name, scope="module"
)


@pytest.fixture(scope="module")
def network(case: ExpressionCase, folder: Path) -> ExpressionNetwork:
    return case.open(folder)


@pytest.fixture(scope="module")
def face(network: ExpressionNetwork) -> Box:
    """The face in the golden picture."""
    assert isinstance(network.golden, ExpressionGolden)
    return Box(*network.golden.readings[0].box)


class Inverted:
    """A translator that returns the negative and records the faces that it received."""

    golden = None

    def __init__(self, side: int) -> None:
        self.info = NetworkInfo("negative", "none", "none", "fp32", "0" * 64, side, side, 1)
        self.faces: list[Luma] = []

    def translate(self, face: Luma) -> Luma:
        self.faces.append(face)
        return 255 - face


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


def test_golden_answer_is_given(network: ExpressionNetwork) -> None:
    assert expression_findings(network) == []


def test_laps_are_recorded(network: ExpressionNetwork, face: Box) -> None:
    plain, translated = Stopwatch(), Stopwatch()
    network.predict(golden(), face, plain)
    network.predict(golden(), face, translated, Inverted(64))
    assert list(plain.stage_ms) == ["crop", "classify"]
    assert list(translated.stage_ms) == ["crop", "translate", "classify"]


def test_translator_receives_one_square_of_its_size(network: ExpressionNetwork, face: Box) -> None:
    translator = Inverted(80)
    translated = network.predict(golden(), face, Stopwatch(), translator)
    assert_valid(translated)
    assert [(each.shape, each.dtype) for each in translator.faces] == [((80, 80), np.uint8)]
    plain = network.predict(golden(), face, Stopwatch())
    assert np.abs(translated.probabilities - plain.probabilities).max() > 0.01


def test_faces_do_not_affect_each_other(network: ExpressionNetwork, face: Box) -> None:
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


def test_priors_follow_bayes_rule_and_can_be_removed(
    network: ExpressionNetwork, case: ExpressionCase, folder: Path, face: Box
) -> None:
    weighted = case.open(folder, priors={"neutral": 0.999})
    plain = network.predict(golden(), face, Stopwatch())
    moved = weighted.predict(golden(), face, Stopwatch())
    assert_valid(moved)
    others = 7 - len(plain.unknown)
    products = np.array([0.999, *[0.001 / others] * 7]) * plain.probabilities
    np.testing.assert_allclose(moved.probabilities, products / products.sum(), atol=1e-5)
    assert moved.affect == plain.affect
    assert_same(weighted.without_priors.predict(golden(), face, Stopwatch()), plain)
    assert_same(weighted.predict(golden(), face, Stopwatch()), moved)  # it still has its priors
    assert expression_findings(weighted) == []


def test_failing_translator_raises_inference_error(
    network: ExpressionNetwork, face: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(face: Luma) -> Luma:
        raise InferenceError("translator: out of memory")

    translator = Inverted(48)
    monkeypatch.setattr(translator, "translate", fails)
    with pytest.raises(InferenceError, match="out of memory"):
        network.predict(golden(), face, Stopwatch(), translator)
