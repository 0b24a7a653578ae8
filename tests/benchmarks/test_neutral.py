"""The laws of a personal neutral baseline."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.evaluation.neutral import NeutralReading, relative_to_neutral
from edge.vision.values import Affect, Prediction
from edge.vocabulary import EXPRESSIONS


@st.composite
def readings(draw: st.DrawFn) -> Prediction:
    logits = np.array(draw(st.lists(st.floats(-4, 4), min_size=8, max_size=8)))
    powers = np.exp(logits)
    values = st.floats(-0.95, 0.95)
    return Prediction(
        (powers / powers.sum()).astype(np.float32), Affect(draw(values), draw(values))
    )


def close(one: Prediction, other: Prediction) -> None:
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    assert one.affect.valence == pytest.approx(other.affect.valence, abs=1e-5)
    assert one.affect.arousal == pytest.approx(other.affect.arousal, abs=1e-5)


@given(readings(), readings(), readings())
def test_what_comes_out_is_a_reading(
    reading: Prediction, own: Prediction, common: Prediction
) -> None:
    relative = relative_to_neutral(
        reading, NeutralReading.mean([own]), NeutralReading.mean([common])
    )
    assert relative.probabilities.dtype == np.float32
    assert relative.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert abs(relative.affect.valence) <= 1
    assert abs(relative.affect.arousal) <= 1
    assert np.isfinite(relative.probabilities).all()


@given(readings(), readings())
def test_a_person_at_rest_reads_half_way_to_the_common_neutral(
    own: Prediction, common: Prediction
) -> None:
    relative = relative_to_neutral(own, NeutralReading.mean([own]), NeutralReading.mean([common]))
    between = np.sqrt(own.probabilities * common.probabilities)
    assert relative.probabilities == pytest.approx(between / between.sum(), abs=1e-5)
    for name in ("valence", "arousal"):
        mine, others = getattr(own.affect, name), getattr(common.affect, name)
        middle = np.tanh((np.arctanh(mine) + np.arctanh(others)) / 2)
        assert getattr(relative.affect, name) == pytest.approx(middle, abs=1e-5)


@given(readings(), readings())
def test_nothing_changes_for_who_is_like_all(reading: Prediction, own: Prediction) -> None:
    neutral = NeutralReading.mean([own])
    close(relative_to_neutral(reading, neutral, neutral), reading)


@given(readings(), readings(), readings())
def test_there_and_back(reading: Prediction, own: Prediction, common: Prediction) -> None:
    mine, all_ = NeutralReading.mean([own]), NeutralReading.mean([common])
    relative = relative_to_neutral(reading, mine, all_)
    if (
        max(abs(relative.affect.valence), abs(relative.affect.arousal)) < 0.99
        and min(relative.probabilities) > 1e-5
    ):  # within the range that is kept apart
        close(relative_to_neutral(relative, all_, mine), reading)


def test_certain_readings_stay_finite() -> None:
    certain = Prediction(np.eye(len(EXPRESSIONS), dtype=np.float32)[2], Affect(1.0, -1.0))
    other = Prediction(np.eye(len(EXPRESSIONS), dtype=np.float32)[5], Affect(-1.0, 1.0))
    relative = relative_to_neutral(
        certain, NeutralReading.mean([other]), NeutralReading.mean([certain])
    )
    assert np.isfinite(relative.probabilities).all()
    assert -1 <= relative.affect.valence <= 1


def test_no_reading_is_no_baseline() -> None:
    with pytest.raises(ValueError, match="at least one"):
        NeutralReading.mean([])
