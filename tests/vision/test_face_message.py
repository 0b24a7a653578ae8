"""What a message says of a face where a network or detector does not know something."""

import json
from dataclasses import replace

import numpy as np
import pytest

from edge.protocol.messages import Face
from edge.vision.face_message import faces_json
from edge.vision.values import (
    Affect,
    Box,
    Detection,
    FaceState,
    Prediction,
    Quality,
    SmoothedPrediction,
    Track,
)
from edge.vocabulary import EXPRESSIONS, AffectSource, HeadName


def face(unknown: tuple[str, ...] = (), source: AffectSource = "network") -> FaceState:
    detection = Detection(Box(1, 2, 30, 40), np.full((5, 2), 7, np.float32), 0.9)
    shares = np.array([0 if name in unknown else 1 for name in EXPRESSIONS], np.float32)
    prediction = Prediction(shares / shares.sum(), Affect(0.25, -0.5), unknown, source)
    smoothed = SmoothedPrediction(Affect(0.25, -0.5), "neutral")
    quality = Quality(True, (), 40, 0.1, 0.5, 0.0, 3.0)
    return FaceState(Track(4, detection, 1.5), quality, prediction, smoothed)


def test_an_unknown_expression_is_null_and_not_zero() -> None:
    (written,) = json.loads(faces_json([face(("contempt",))]))
    probabilities = written["expression"]["probabilities"]
    assert probabilities["contempt"] is None
    assert [name for name, share in probabilities.items() if share is None] == ["contempt"]
    assert sum(probabilities[name] for name in EXPRESSIONS[:7]) == pytest.approx(1, abs=1e-3)
    read = Face.model_validate(written)
    assert read.expression is not None
    assert read.expression.probabilities.contempt is None


@pytest.mark.parametrize("source", ["network", "recalibration", "anchors"])
def test_the_message_says_where_affect_comes_from(source: AffectSource) -> None:
    (written,) = json.loads(faces_json([face(source=source)]))
    assert written["affect"]["source"] == source
    read = Face.model_validate(written)
    assert read.affect is not None
    assert read.affect.source == source


@pytest.mark.parametrize("head", ["network", "features", "mesh"])
def test_the_message_says_which_head_gave_the_probabilities(head: HeadName) -> None:
    state = face()
    assert state.prediction is not None
    state = replace(state, prediction=replace(state.prediction, head=head))
    (written,) = json.loads(faces_json([state]))
    assert written["expression"]["head"] == head
    read = Face.model_validate(written)
    assert read.expression is not None
    assert read.expression.head == head


def test_a_face_without_landmarks_has_none_and_no_yaw() -> None:
    state = face()
    detection = replace(state.track.detection, landmarks=None)
    quality = replace(state.quality, yaw_deg=None)
    state = replace(state, track=replace(state.track, detection=detection), quality=quality)
    (written,) = json.loads(faces_json([state]))
    assert written["landmarks"] is None
    assert written["quality"]["yaw"] is None
    read = Face.model_validate(written)
    assert read.landmarks is None
    assert read.quality.yaw is None
