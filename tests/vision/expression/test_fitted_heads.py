"""Heads that were fitted to photographs, compared with their formulas; refused manifests."""

import json
import math
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from edge.clock import Stopwatch
from edge.config import MeshConfig
from edge.errors import ModelError
from edge.vision.expression import expression_for
from edge.vision.expression.readout import Readout
from edge.vision.golden import golden_frame, golden_picture
from edge.vision.inference import find_model, load_manifest, open_network
from edge.vision.inference.golden_schema import MeshGolden
from edge.vision.inference.manifest import Manifest
from edge.vision.mesh import open_mesh
from edge.vision.mesh.names import COEFFICIENTS as COEFFICIENTS_OF
from edge.vision.values import Box, Detection
from edge.vocabulary import EXPRESSIONS

RANDOM = np.random.default_rng(5)
FEATURES = 3
SCORES = RANDOM.dirichlet(np.ones(8), 4).astype(np.float32)
GIVEN = RANDOM.normal(0, 1, (4, FEATURES)).astype(np.float32)
COEFFICIENTS = RANDOM.uniform(0, 1, (4, 52)).astype(np.float32)
AROUSAL = tuple(round(0.1 * place - 0.3, 2) for place in range(8))


def head(inputs: tuple[str, ...], count: int, **changed: Any) -> dict[str, Any]:
    rows = RANDOM.normal(0, 0.3, (8, 1 + count)).round(4)
    return {
        "kind": "multinomial", "inputs": inputs, "fitted_on": "a test", "samples": 9, "people": 3,
        "penalty": 0.1, "recalibrated": 0.25,
        "weights": [" ".join(map(str, row)) for row in rows.tolist()],
    } | changed  # fmt: skip


PLAIN = head(("logits", "features"), 8 + FEATURES)
MESH = head(("logits", "features", "coefficients"), 8 + FEATURES + 52, arousal=AROUSAL)


def manifest(*heads: dict[str, Any], **changed: Any) -> Manifest:
    data = json.loads((find_model("expression-nir") / "manifest.json").read_text())
    return Manifest.model_validate_json(json.dumps(data | {"heads": heads or None} | changed))


def logits(fitted: dict[str, Any], *inputs: np.ndarray) -> np.ndarray:
    rows = np.array([[float(word) for word in row.split()] for row in fitted["weights"]])
    logs = np.log(SCORES.astype(float))
    read = np.concatenate([logs - logs.mean(1, keepdims=True), *inputs], axis=1)
    return np.asarray(rows[:, 0] + read @ rows[:, 1:].T)


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def test_a_head_follows_its_formula_and_leaves_affect_to_the_recalibration() -> None:
    plain, fitted = Readout.of(manifest()), Readout.of(manifest(PLAIN))
    probabilities, affect = fitted.decode(SCORES, None, fitted.inputs(SCORES, GIVEN))
    np.testing.assert_allclose(probabilities, softmax(logits(PLAIN, GIVEN)), atol=2e-6)
    np.testing.assert_array_equal(affect, plain.decode(SCORES)[1])
    assert (plain.head, fitted.head) == ("network", "features")
    assert not fitted.takes_coefficients


def test_a_head_with_coefficients_gives_arousal_from_its_points() -> None:
    readout = Readout.of(manifest(PLAIN, MESH))
    inputs = readout.inputs(SCORES, GIVEN)
    assert inputs is not None
    _, affect = readout.decode(SCORES, None, inputs)
    probabilities, values = readout.decode_with_mesh(inputs, COEFFICIENTS, affect)
    expected = softmax(logits(MESH, GIVEN, np.log(COEFFICIENTS + 0.01)))
    np.testing.assert_allclose(probabilities, expected, atol=2e-6)
    np.testing.assert_allclose(values[:, 1], expected @ AROUSAL, atol=2e-6)
    np.testing.assert_array_equal(values[:, 0], affect[:, 0])


def test_priors_weigh_a_heads_probabilities_and_leave_affect_alone() -> None:
    uniform, weighed = (
        Readout.of(manifest(PLAIN, MESH), priors) for priors in ({}, {"neutral": 0.7})
    )
    ratio = math.log(0.7) - math.log(0.3 / 7)
    for readout in (uniform, weighed):
        assert readout.takes_coefficients
    for decode in (
        lambda readout: readout.decode(SCORES, None, readout.inputs(SCORES, GIVEN)),
        lambda readout: readout.decode_with_mesh(
            readout.inputs(SCORES, GIVEN), COEFFICIENTS, np.zeros((4, 2), np.float32)
        ),
    ):
        (before, affect), (after, same) = decode(uniform), decode(weighed)
        np.testing.assert_array_equal(same, affect)
        moved = np.log(after[:, 0] / after[:, 3]) - np.log(before[:, 0] / before[:, 3])
        np.testing.assert_allclose(moved, ratio, atol=1e-4)


@pytest.mark.parametrize(
    ("heads", "changed", "message"),
    [
        ((PLAIN, PLAIN), {}, "one with coefficients, one without"),
        ((head(("features", "logits"), 11),), {}, "inputs: features logits; expected logits"),
        ((PLAIN,), {"recalibration": None}, "a recalibration with points"),
        ((PLAIN | {"weights": ["1 x"] * 8},), {}, "weights: could not convert"),
        ((PLAIN | {"weights": ["1 2"] * 7 + ["1"]},), {}, "rows of one length"),
        ((PLAIN | {"weights": ["1 nan"] * 8},), {}, "numbers of -1000 to 1000"),
        ((PLAIN | {"arousal": [0.0] * 7},), {}, "arousal"),
    ],
)  # fmt: skip
def test_a_head_that_cannot_be_applied_is_refused(
    heads: tuple[dict[str, Any], ...], changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        manifest(*heads, **changed)


def test_a_head_of_another_network_is_refused() -> None:
    network = open_network("expression-nir", task="facial-expression", artifact="expression.onnx")
    network.manifest = manifest(PLAIN)
    with pytest.raises(ModelError, match=r"has 11 weights for each expression, expected 200"):
        expression_for(network, {})


def test_the_bundled_heads_see_the_smile_of_the_golden_face() -> None:
    bundled = load_manifest(find_model("expression-nir"))
    assert [each.takes_coefficients for each in bundled.heads or ()] == [False, True]
    network = open_network("expression-nir", task="facial-expression", artifact="expression.onnx")
    expression = expression_for(network, {})
    frame = golden_frame(golden_picture()[0])
    golden = load_manifest(find_model("face-mesh")).golden
    assert isinstance(golden, MeshGolden)
    box = Box(*golden.box)
    prediction = expression.predict(frame, box, Stopwatch())
    mesh = open_mesh(MeshConfig(enabled=True, artifact="mesh.onnx"))
    assert mesh is not None
    detection = Detection(box, np.array(golden.landmarks, np.float32), 1.0)
    measured = mesh.measure(frame.luma, detection, Stopwatch())
    assert measured is not None
    with_mesh = expression.with_mesh(prediction, measured.coefficients)
    assert (prediction.head, with_mesh.head) == ("features", "mesh")
    for each in (prediction, with_mesh):
        assert EXPRESSIONS[int(each.probabilities.argmax())] == "happy"
    # without what the mesh calls a smile it is less of one
    serious = measured.coefficients.copy()
    serious[[COEFFICIENTS_OF.index(f"mouthSmile{side}") for side in ("Left", "Right")]] = 0
    assert serious.max() < measured.coefficients.max()
    less = expression.with_mesh(prediction, serious)
    assert less.probabilities[1] < with_mesh.probabilities[1] - 0.02
