"""Properties of predictions relative to a personal neutral face."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.evaluation.neutral import NeutralPrediction, relative_to_neutral
from edge.vision.values import Affect, Prediction
from edge.vocabulary import EXPRESSIONS


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    logits = np.array(draw(st.lists(st.floats(-4, 4), min_size=8, max_size=8)))
    powers = np.exp(logits)
    values = st.floats(-0.95, 0.95)
    return Prediction(
        (powers / powers.sum()).astype(np.float32), Affect(draw(values), draw(values))
    )


def assert_close(one: Prediction, other: Prediction) -> None:
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    assert one.affect.valence == pytest.approx(other.affect.valence, abs=1e-5)
    assert one.affect.arousal == pytest.approx(other.affect.arousal, abs=1e-5)


@given(predictions(), predictions(), predictions())
def test_the_result_is_a_valid_prediction(
    prediction: Prediction, own: Prediction, common: Prediction
) -> None:
    relative = relative_to_neutral(
        prediction, NeutralPrediction.mean([own]), NeutralPrediction.mean([common])
    )
    assert relative.probabilities.dtype == np.float32
    assert relative.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert abs(relative.affect.valence) <= 1
    assert abs(relative.affect.arousal) <= 1
    assert np.isfinite(relative.probabilities).all()


@given(predictions(), predictions())
def test_a_neutral_face_is_predicted_half_way_to_the_common_neutral(
    own: Prediction, common: Prediction
) -> None:
    relative = relative_to_neutral(
        own, NeutralPrediction.mean([own]), NeutralPrediction.mean([common])
    )
    between = np.sqrt(own.probabilities * common.probabilities)
    assert relative.probabilities == pytest.approx(between / between.sum(), abs=1e-5)
    for name in ("valence", "arousal"):
        mine, others = getattr(own.affect, name), getattr(common.affect, name)
        middle = np.tanh((np.arctanh(mine) + np.arctanh(others)) / 2)
        assert getattr(relative.affect, name) == pytest.approx(middle, abs=1e-5)


@given(predictions(), predictions())
def test_nothing_changes_for_a_person_whose_neutral_is_the_common_one(
    prediction: Prediction, own: Prediction
) -> None:
    neutral = NeutralPrediction.mean([own])
    assert_close(relative_to_neutral(prediction, neutral, neutral), prediction)


@given(predictions(), predictions(), predictions())
def test_swapping_both_neutrals_restores_the_prediction(
    prediction: Prediction, own: Prediction, common: Prediction
) -> None:
    mine, all_ = NeutralPrediction.mean([own]), NeutralPrediction.mean([common])
    relative = relative_to_neutral(prediction, mine, all_)
    if (
        max(abs(relative.affect.valence), abs(relative.affect.arousal)) < 0.99
        and min(relative.probabilities) > 1e-5
    ):  # within the limits of _SHARE_MIN and _AFFECT_MAX
        assert_close(relative_to_neutral(relative, all_, mine), prediction)


def test_certain_predictions_stay_finite() -> None:
    certain = Prediction(np.eye(len(EXPRESSIONS), dtype=np.float32)[2], Affect(1.0, -1.0))
    other = Prediction(np.eye(len(EXPRESSIONS), dtype=np.float32)[5], Affect(-1.0, 1.0))
    relative = relative_to_neutral(
        certain, NeutralPrediction.mean([other]), NeutralPrediction.mean([certain])
    )
    assert np.isfinite(relative.probabilities).all()
    assert -1 <= relative.affect.valence <= 1


def test_a_baseline_needs_a_prediction() -> None:
    with pytest.raises(ValueError, match="at least one"):
        NeutralPrediction.mean([])
