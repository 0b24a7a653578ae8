"""Smoothing over time: properties of the filter, and the stable label."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import AffectConfig
from edge.vision.affect import AffectSmoother, AffectState, StableLabel
from edge.vision.values import Affect, Prediction
from edge.vocabulary import EXPRESSIONS

CONFIG = AffectConfig()
NEUTRAL, HAPPY, SAD = (EXPRESSIONS.index(name) for name in ("neutral", "happy", "sad"))


def ns(seconds: float) -> int:
    return round(seconds * 1e9)


def prediction(shares: dict[int, float], valence: float = 0.0, arousal: float = 0.0) -> Prediction:
    """Return a prediction of the given shares; the others share the remainder equally."""
    left = (1 - sum(shares.values())) / (len(EXPRESSIONS) - len(shares))
    values = [shares.get(index, left) for index in range(len(EXPRESSIONS))]
    return Prediction(np.array(values, np.float32), Affect(valence, arousal))


def point(state: AffectState) -> np.ndarray:
    """Return valence and arousal of a state."""
    return np.array([state.affect.valence, state.affect.arousal])


signed = st.floats(-1, 1)
predictions = st.builds(
    lambda weights, valence, arousal: Prediction(
        (np.array(weights) / sum(weights)).astype(np.float32), Affect(valence, arousal)
    ),
    st.lists(st.floats(0.001, 1), min_size=8, max_size=8),
    signed,
    signed,
)
steps_ns = st.integers(0, 1_900_000_000) | st.sampled_from([0, 1, -3, 33_000_000])


# --- the filter -----------------------------------------------------------------------------


@given(predictions, st.integers())
def test_first_smoothed_value_is_the_prediction(first, sensor_ns):
    smoothed = AffectSmoother(CONFIG).update(7, first, sensor_ns)
    assert smoothed.affect == first.affect
    assert smoothed.stable_label == EXPRESSIONS[int(np.argmax(first.probabilities))]


@given(predictions, st.lists(st.tuples(predictions, steps_ns), max_size=20))
def test_values_stay_between_their_inputs(first, later):
    state, now_ns = AffectState.initial(first, 0), 0
    inputs = [point(state)]
    for one, step_ns in later:
        now_ns += step_ns
        state = state.updated(one, now_ns, CONFIG)
        inputs.append(point(AffectState.initial(one, 0)))
        assert (point(state) >= np.min(inputs, axis=0)).all()
        assert (point(state) <= np.max(inputs, axis=0)).all()


@given(predictions, predictions, st.lists(st.integers(1, 500_000_000), min_size=1, max_size=20))
def test_result_for_a_constant_input_does_not_depend_on_the_frame_rate(first, then, steps):
    state = AffectState.initial(first, 0)
    at_once = state.updated(then, sum(steps), CONFIG)
    now_ns = 0
    for step_ns in steps:
        now_ns += step_ns
        state = state.updated(then, now_ns, CONFIG)
    assert point(state) == pytest.approx(point(at_once), abs=1e-9)


@given(predictions, st.lists(steps_ns, max_size=20))
def test_constant_input_is_unchanged(one, steps):
    state, now_ns = AffectState.initial(one, 0), 0
    for step_ns in steps:
        now_ns += step_ns
        state = state.updated(one, now_ns, CONFIG)
    assert state.affect == one.affect


@given(predictions, predictions, st.sampled_from([5, 10, 30]))
def test_filter_converges_to_a_new_constant_input(first, then, rate_hz):
    affect = AffectSmoother(CONFIG)
    affect.update(1, first, 0)
    for i in range(1, 6 * rate_hz):
        smoothed = affect.update(1, then, ns(i / rate_hz))
    assert smoothed.affect.valence == pytest.approx(then.affect.valence, abs=1e-4)
    assert smoothed.affect.arousal == pytest.approx(then.affect.arousal, abs=1e-4)


@pytest.mark.parametrize("smoothing_s", [0.1, 0.5, 2.0])
def test_step_response_is_63_percent_after_one_time_constant(smoothing_s):
    affect = AffectSmoother(AffectConfig(smoothing_s=smoothing_s))
    affect.update(1, prediction({HAPPY: 1}, valence=-1), 0)
    smoothed = affect.update(1, prediction({HAPPY: 1}, valence=1), ns(smoothing_s))
    assert (smoothed.affect.valence + 1) / 2 == pytest.approx(1 - math.exp(-1))


@given(predictions, predictions, st.integers(-1_900_000_000, 0))
def test_no_elapsed_time_changes_nothing(first, then, step_ns):
    before = AffectState.initial(first, 0)
    after = before.updated(then, step_ns, CONFIG)
    assert (after.affect, after.label.index) == (before.affect, before.label.index)


def test_after_a_step_backwards_time_continues_from_there():
    affect = AffectSmoother(CONFIG)
    affect.update(1, prediction({HAPPY: 1}, valence=-1), ns(1.5))
    assert affect.update(1, prediction({HAPPY: 1}, valence=1), ns(1)).affect.valence == -1
    smoothed = affect.update(1, prediction({HAPPY: 1}, valence=1), ns(1 + CONFIG.smoothing_s))
    assert (smoothed.affect.valence + 1) / 2 == pytest.approx(1 - math.exp(-1))


# --- the label ------------------------------------------------------------------------------


def labels(given_at: list[tuple[float, Prediction]], config: AffectConfig = CONFIG) -> list[str]:
    affect = AffectSmoother(config)
    return [affect.update(1, one, ns(at_s)).stable_label for at_s, one in given_at]


def test_first_of_equally_likely_expressions_is_the_label():
    assert labels([(0, prediction({SAD: 0.4, HAPPY: 0.4}))]) == ["happy"]


@pytest.mark.parametrize("rate_hz", [10, 30, 100])
@pytest.mark.parametrize(("lead", "documented_s"), [(1.0, 0.15), (0.5, 0.32), (0.2, 0.95)])
def test_label_changes_after_the_documented_latency(rate_hz, lead, documented_s):
    rest = (1 - lead) / 2  # of each of the two
    before = [(-0.001, prediction({NEUTRAL: rest + lead, HAPPY: rest}))]
    changed = prediction({NEUTRAL: rest, HAPPY: rest + lead})
    stable = labels(before + [(i / rate_hz, changed) for i in range(2 * rate_hz)])
    changed_s = (stable.index("happy") - 1) / rate_hz
    margin, hold_s = CONFIG.label_margin, CONFIG.label_hold_s
    expected_s = hold_s * (1 - margin) / (lead - margin)
    assert expected_s == pytest.approx(documented_s, abs=0.005)
    assert expected_s - 1e-6 <= changed_s <= expected_s + 1 / rate_hz
    assert set(stable[stable.index("happy") :]) == {"happy"}


def test_lead_below_the_margin_does_not_change_the_label():
    start = [(0, prediction({NEUTRAL: 0.5, HAPPY: 0.4}))]
    later = [(i / 10, prediction({NEUTRAL: 0.40, HAPPY: 0.43})) for i in range(1, 200)]
    assert set(labels(start + later)) == {"neutral"}


def test_a_lead_that_comes_and_goes_does_not_change_the_label():
    flicker = [
        (i / 10, prediction({HAPPY: 0.5, NEUTRAL: 0.3} if i % 4 == 3 else {NEUTRAL: 0.5}))
        for i in range(200)
    ]
    assert set(labels(flicker)) == {"neutral"}


def test_a_drifting_face_between_two_expressions_keeps_its_label():
    """The label of a still photograph changed each time the lead swung beyond the margin."""
    rng = np.random.default_rng(3)
    given_at = []
    for i in range(2500):
        lead = 0.14 * math.sin(2 * math.pi * i / 75) + rng.normal(0, 0.08)  # a swing of 3 s
        given_at.append((i / 25, prediction({NEUTRAL: 0.4 - lead / 2, HAPPY: 0.4 + lead / 2})))
    assert len(set(labels(given_at))) == 1


def test_one_prediction_after_a_pause_is_no_evidence():
    pause = [(0.0, prediction({NEUTRAL: 0.8})), (2.0, prediction({HAPPY: 1.0}))]
    back = [(2.04 + i / 25, prediction({NEUTRAL: 0.8})) for i in range(20)]
    assert set(labels(pause + back)) == {"neutral"}


def test_label_changes_when_two_other_expressions_alternate_in_the_lead():
    start = [(0.0, prediction({NEUTRAL: 0.8}))]
    later = [
        (i / 10, prediction({HAPPY: 0.45 + 0.02 * (-1) ** i, SAD: 0.45 - 0.02 * (-1) ** i}))
        for i in range(1, 30)
    ]
    stable = labels(start + later)
    assert stable[4] == "neutral"
    assert set(stable[6:]) in ({"happy"}, {"sad"})  # whichever leads when it changes, and only once


@given(st.floats(0, 1), st.floats(0, 2), st.lists(st.tuples(predictions, steps_ns), max_size=25))
def test_label_changes_to_an_expression_with_enough_evidence_only(margin, hold_s, later):
    """Compare with the largest sum of leads that ends now, over all times at which it may begin."""
    config = AffectConfig(label_margin=margin, label_hold_s=hold_s)
    first = (0.125,) * 8
    label, history = StableLabel(NEUTRAL, first), []
    before = np.array(first)
    for one, step_ns in later:
        step_s = max(0, step_ns) / 1e9
        now = one.probabilities.astype(np.float64)
        lead = np.minimum(now - now[label.index], before - before[label.index])
        history.append((lead - margin) * step_s)
        sums = np.cumsum(history[::-1], axis=0)  # of the newest, of the newest two, ...
        evidence = np.maximum(0, sums.max(axis=0))
        is_ahead = (now > now[label.index]) & (now - now[label.index] >= margin)
        needed = hold_s * (1 - margin)
        new = label.updated(tuple(now.tolist()), step_s, config)
        if new.index != label.index:
            assert is_ahead[new.index]
            assert evidence[new.index] >= needed - 1e-6
            history = []
        else:
            assert not (is_ahead & (evidence > needed + 1e-6)).any()
            assert new.evidence_s == pytest.approx(evidence, abs=1e-9)
        label, before = new, now


def test_one_outlier_does_not_change_the_label():
    run = [(i / 30, prediction({SAD if i == 15 else HAPPY: 1})) for i in range(30)]
    assert set(labels(run)) == {"happy"}


def test_two_equally_likely_expressions_do_not_flicker():
    rng = np.random.default_rng(5)
    frames = [(i / 30, prediction({(SAD, HAPPY)[rng.integers(2)]: 0.6})) for i in range(300)]
    raw = [int(one.probabilities.argmax()) for _, one in frames]
    changes, raw_changes = (
        sum(before != after for before, after in itertools.pairwise(stable))
        for stable in (labels(frames), raw)
    )
    assert raw_changes > 100
    assert changes < raw_changes / 10


def test_without_hold_and_margin_the_label_is_the_most_likely_expression():
    plain = AffectConfig(label_margin=0, label_hold_s=0)
    rng = np.random.default_rng(4)
    given_at = [
        (i / 10, Prediction(rng.dirichlet(np.ones(8)).astype(np.float32), Affect(0, 0)))
        for i in range(100)
    ]
    stable = labels(given_at, plain)
    assert stable == [EXPRESSIONS[int(one.probabilities.argmax())] for _, one in given_at]


# --- memory ---------------------------------------------------------------------------------


def test_stale_state_is_not_used():
    old, new = prediction({NEUTRAL: 0.9}, valence=-0.5), prediction({HAPPY: 0.9}, valence=0.5)
    for gap_s, fresh in ((2.5, False), (2.6, True), (-2.5, False), (-2.6, True)):
        affect = AffectSmoother(CONFIG)
        affect.update(1, old, 0)
        smoothed = affect.update(1, new, ns(gap_s))
        assert (smoothed.affect == new.affect and smoothed.stable_label == "happy") == fresh


def test_tracks_do_not_affect_each_other():
    affect = AffectSmoother(CONFIG)
    affect.update(1, prediction({NEUTRAL: 0.9}, valence=-1), 0)
    second = affect.update(2, prediction({HAPPY: 0.9}, valence=1), ns(0.1))
    assert (second.affect.valence, second.stable_label) == (1, "happy")
    assert affect.update(1, prediction({NEUTRAL: 0.9}, valence=-1), ns(0.1)).affect.valence == -1


def test_memory_is_bounded():
    """A new track every 13 s for three days, then ten a second: only the last seconds are kept."""
    affect = AffectSmoother(CONFIG)
    one = prediction({NEUTRAL: 0.9})
    for track in range(1, 20_000):
        affect.update(track, one, ns(track * 13))
        assert len(affect) <= 1
    for track in range(20_000, 21_000):
        affect.update(track, one, ns(20_000 * 13 + (track - 20_000) * 0.1))
        assert len(affect) <= affect.stale_s / 0.1 + 2
    affect.update(1, one, 0)  # the clock restarted
    assert len(affect) == 1
