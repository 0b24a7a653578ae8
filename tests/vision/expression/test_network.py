"""The bundled expression network: order of labels, ranges, refused manifests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.clock import Stopwatch
from edge.config import ExpressionConfig
from edge.errors import ModelError
from edge.vision.expression import ExpressionNetwork, open_expression
from edge.vision.expression.crop import square_crop
from edge.vision.golden import golden_picture
from edge.vision.inference import find_model, load_manifest
from edge.vision.inference.ort import onnxruntime
from edge.vision.values import Box
from edge.vocabulary import EXPRESSIONS
from tests.support.frames import frame_of
from tests.support.model_folders import Change, changed_copy

FACE = Box(155.4, 38.9, 86.4, 151.0)


@pytest.fixture(scope="module")
def network() -> ExpressionNetwork:
    return open_expression(ExpressionConfig(artifact="expression.onnx"))


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Change], str]:
    """A function that copies the model with a changed manifest and returns the path."""

    def make(change: Change) -> str:
        target = tmp_path / f"copy-{len(list(tmp_path.iterdir()))}"
        return str(changed_copy(find_model("expression-nir"), target, change))

    return make


def test_the_golden_face_is_happy(network: ExpressionNetwork) -> None:
    prediction = network.predict(frame_of(golden_picture()[0]), FACE, Stopwatch())
    assert EXPRESSIONS[int(prediction.probabilities.argmax())] == "happy"
    assert prediction.affect.valence > 0.8


def test_prediction_equals_the_artifact_run_step_by_step(network: ExpressionNetwork) -> None:
    folder = find_model("expression-nir")
    session = onnxruntime.InferenceSession(
        folder / "expression.onnx", providers=["CPUExecutionProvider"]
    )
    luma, _ = golden_picture()
    x = square_crop(luma, FACE, (48, 48), 0.05).astype(np.float64) / 255
    x = (x - x.mean()) / (x.std() + 0.05)
    logits, features = session.run(
        ["logits", "features"], {"input": x[None, None].astype(np.float32)}
    )
    manifest = load_manifest(folder)
    fitted, (head, *_) = manifest.recalibration, manifest.heads or ()
    assert fitted is not None
    assert fitted.points is not None
    assert head.inputs == ("logits", "features")
    rows = np.array(head.rows)
    read = np.concatenate([logits[0] - logits[0].mean(), features[0]])
    unmixed_logits = logits[0] / fitted.temperature + fitted.offsets
    head_logits = rows[:, 0] + rows[:, 1:] @ read
    unmixed, shares = (np.exp(each) / np.exp(each).sum() for each in (unmixed_logits, head_logits))
    prediction = network.predict(frame_of(luma), FACE, Stopwatch())
    np.testing.assert_allclose(prediction.probabilities, shares, atol=1e-5)
    point = unmixed @ np.array(fitted.points)
    for axis, own in enumerate((head.valence, head.arousal)):
        point[axis] = point[axis] if own is None else shares @ np.array(own)
    point = np.clip(point, -1, 1)
    assert (prediction.affect.valence, prediction.affect.arousal) == pytest.approx(point, abs=1e-5)


def test_a_prior_for_neutral_changes_names_but_not_valence_and_arousal(
    network: ExpressionNetwork,
) -> None:
    config = ExpressionConfig(artifact="expression.onnx", priors={"neutral": 0.999})
    frame = frame_of(golden_picture()[0])
    plain, moved = (
        each.predict(frame, FACE, Stopwatch()) for each in (network, open_expression(config))
    )
    assert moved.affect == plain.affect
    neutral = EXPRESSIONS.index("neutral")
    assert moved.probabilities[neutral] > plain.probabilities[neutral]


def test_labels_are_matched_by_name(changed: Callable[..., str]) -> None:
    order = [7, 3, 1, 0, 2, 6, 5, 4]
    plain, mixed = (
        open_expression(
            ExpressionConfig(
                model=changed(
                    lambda data, names=names: data.update(
                        labels=names, recalibration=None, heads=None
                    )
                ),
                artifact="expression.onnx",
            )
        )
        .predict(frame_of(golden_picture()[0]), FACE, Stopwatch())
        .probabilities
        for names in (list(EXPRESSIONS), [EXPRESSIONS[i] for i in order])
    )
    np.testing.assert_allclose(mixed[order], plain, atol=1e-7)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda data: data["labels"].remove("fear"), "labels: expected each of"),
        (lambda data: data["labels"].append("bored"), r"shape \(1, 8\), expected \(1, 9\)"),
        (lambda data: data["outputs"]["affect"].update(tensor="logits"), r"expected \(1, 2\)"),
        (lambda data: data["input"].pop("crop"), "needs one"),
    ],
)
def test_manifest_that_does_not_fit_the_network_is_refused(
    changed: Callable[..., str], change: Callable[[dict[str, Any]], None], complaint: str
) -> None:
    with pytest.raises(ModelError, match=complaint) as caught:
        open_expression(ExpressionConfig(model=changed(change)))
    assert "\n" not in str(caught.value)


@pytest.mark.nir
def test_valence_of_happy_photographs_is_higher(
    network: ExpressionNetwork, nir_faces: Path
) -> None:
    """A minimum of quality: happy faces have a higher predicted valence than sad and angry ones."""
    from edge.config import DetectorConfig
    from edge.vision.detect import open_detector

    detector = open_detector(DetectorConfig())
    valence: dict[str, list[float]] = {}
    labels = (nir_faces / "labels.csv").read_text().splitlines()
    for line in labels[1:]:
        file, _, expression, *_ = line.split(",")
        if expression in ("happy", "sad", "anger"):
            luma = cv2.imread(str(nir_faces / "images" / file), cv2.IMREAD_GRAYSCALE)
            face = detector.detect(frame_of(luma), Stopwatch())[0]
            prediction = network.predict(frame_of(luma), face.box, Stopwatch())
            valence.setdefault(expression, []).append(prediction.affect.valence)
    assert np.mean(valence["happy"]) > np.mean(valence["sad"]) + 0.2
    assert np.mean(valence["happy"]) > np.mean(valence["anger"]) + 0.2


def test_manifest_states_labels_and_licence() -> None:
    manifest = load_manifest(find_model("expression-nir"))
    assert manifest.labels == EXPRESSIONS
    assert "research" in manifest.source.licence
