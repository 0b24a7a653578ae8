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
def test_values_stay_between_their_inputs_and_probabilities_sum_to_one(first, later):
    state, now_ns = AffectState.initial(first, 0), 0
    inputs = [state.values]
    for one, step_ns in later:
        now_ns += step_ns
        state = state.updated(one, now_ns, CONFIG)
        inputs.append(AffectState.initial(one, 0).values)
        assert (state.values >= np.min(inputs, axis=0)).all()
        assert (state.values <= np.max(inputs, axis=0)).all()
        assert sum(state.probabilities) == pytest.approx(1, abs=1e-5)


@given(predictions, predictions, st.lists(st.integers(1, 500_000_000), min_size=1, max_size=20))
def test_result_for_a_constant_input_does_not_depend_on_the_frame_rate(first, then, steps):
    state = AffectState.initial(first, 0)
    at_once = state.updated(then, sum(steps), CONFIG)
    now_ns = 0
    for step_ns in steps:
        now_ns += step_ns
        state = state.updated(then, now_ns, CONFIG)
    assert state.values == pytest.approx(at_once.values, abs=1e-9)


@given(predictions, st.lists(steps_ns, max_size=20))
def test_constant_input_is_unchanged(one, steps):
    state, now_ns = AffectState.initial(one, 0), 0
    for step_ns in steps:
        now_ns += step_ns
        state = state.updated(one, now_ns, CONFIG)
    assert state.values == AffectState.initial(one, 0).values


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
    assert before.updated(then, step_ns, CONFIG).values == before.values


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
def test_label_changes_after_the_documented_latency(rate_hz):
    before = [(-0.001, prediction({NEUTRAL: 1}))]
    after = [(i / rate_hz, prediction({HAPPY: 1})) for i in range(2 * rate_hz)]
    stable = labels(before + after)
    changed_s = (stable.index("happy") - 1) / rate_hz
    lead_s = CONFIG.smoothing_s * math.log(2 / (1 - CONFIG.label_margin))
    assert lead_s == pytest.approx(0.38, abs=0.01)
    assert changed_s == pytest.approx(lead_s + CONFIG.label_hold_s, abs=2 / rate_hz + 1e-9)
    assert set(stable[stable.index("happy") :]) == {"happy"}


def test_lead_below_the_margin_does_not_change_the_label():
    start = [(0, prediction({NEUTRAL: 0.5, HAPPY: 0.4}))]
    later = [(i / 10, prediction({NEUTRAL: 0.40, HAPPY: 0.43})) for i in range(1, 200)]
    assert set(labels(start + later)) == {"neutral"}


def test_lead_shorter_than_the_hold_does_not_change_the_label():
    fast = AffectConfig(smoothing_s=0.001, label_hold_s=0.3)
    flicker = [
        (i / 10, prediction({HAPPY: 0.8} if i % 4 in (1, 2, 3) else {NEUTRAL: 0.8}))
        for i in range(200)
    ]
    assert set(labels(flicker, fast)) == {"neutral"}


def test_lead_of_exactly_the_hold_changes_the_label():
    fast = AffectConfig(smoothing_s=0.001, label_hold_s=0.5)
    steps = [(0.0, {NEUTRAL: 0.8}), (0.25, {HAPPY: 0.8}), (0.5, {HAPPY: 0.8}), (0.75, {HAPPY: 0.8})]
    stable = labels([(at_s, prediction(shares)) for at_s, shares in steps], fast)
    assert stable == ["neutral", "neutral", "neutral", "happy"]


def test_label_changes_when_two_other_expressions_alternate_in_the_lead():
    fast = AffectConfig(smoothing_s=0.001)
    start = [(0.0, prediction({NEUTRAL: 0.8}))]
    later = [
        (i / 10, prediction({HAPPY: 0.45 + 0.02 * (-1) ** i, SAD: 0.45 - 0.02 * (-1) ** i}))
        for i in range(1, 30)
    ]
    stable = labels(start + later, fast)
    assert stable[3] == "neutral"
    assert stable[4] == "happy"
    assert set(stable[4:]) == {"happy"}


@given(st.floats(0, 1), st.floats(0, 5), st.lists(st.tuples(predictions, steps_ns), max_size=25))
def test_label_changes_only_to_an_expression_that_led_throughout_the_hold(margin, hold_s, later):
    """Compare with the rule applied to the whole history after each prediction."""
    config = AffectConfig(label_margin=margin, label_hold_s=hold_s)
    label, now_s, history = StableLabel(NEUTRAL), 0.0, []
    for one, step_ns in later:
        step_s = max(0, step_ns) / 1e9
        now_s += step_s
        probabilities = one.probabilities.astype(np.float64)
        history.append((now_s, probabilities - probabilities[label.index]))
        new = label.updated(probabilities, step_s, config)
        held_s = []
        for other in range(8):
            led = [lead[other] >= margin and lead[other] > 0 for _, lead in history]
            since = len(led) - (led[::-1].index(False) if False in led else len(led))
            held_s.append(now_s - history[since][0] if led[-1] else None)
        certain = [r for r in range(8) if held_s[r] is not None and held_s[r] > hold_s + 1e-9]
        possible = [r for r in range(8) if held_s[r] is not None and held_s[r] >= hold_s - 1e-9]
        if new.index != label.index:
            assert new.index in possible
            history = [(now_s, probabilities - probabilities[new.index])]
        else:
            assert not certain
        label = new


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
    plain = AffectConfig(smoothing_s=0.001, label_margin=0, label_hold_s=0)
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
