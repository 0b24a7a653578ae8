"""Affect over time: the laws of smoothing by elapsed time, and a label with hysteresis."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.affect import AffectOverTime
from edge.config import AffectConfig
from edge.values import EXPRESSIONS, Affect, Reading

S = 1_000_000_000
CONFIG = AffectConfig()
unit = st.floats(-1, 1)
points = st.builds(Affect, unit, unit)
weights = st.lists(st.floats(0.001, 1), min_size=8, max_size=8)


ORIGIN = Affect(0, 0)


def reading(affect: Affect = ORIGIN, label: str = "neutral", sure: float = 0.93) -> Reading:
    """A reading that is ``sure`` of one label and indifferent to the others."""
    probabilities = np.full(8, (1 - sure) / 7, np.float32)
    probabilities[EXPRESSIONS.index(label)] = sure
    return Reading(probabilities, affect)


def distribution(values: list[float]) -> Reading:
    array = np.array(values, np.float32)
    return Reading(array / array.sum(), Affect(0, 0))


@given(points, weights)
def test_the_first_value_is_the_raw_one(point: Affect, values: list[float]) -> None:
    raw = Reading(distribution(values).probabilities, point)
    smoothed = AffectOverTime(CONFIG).update(1, raw, 0)
    assert smoothed.affect.valence == pytest.approx(point.valence)
    assert smoothed.affect.arousal == pytest.approx(point.arousal)
    assert smoothed.stable_label == EXPRESSIONS[int(raw.probabilities.argmax())]


@given(st.lists(st.tuples(points, st.integers(-S, S)), min_size=1, max_size=30))
def test_it_stays_within_what_was_read(steps: list[tuple[Affect, int]]) -> None:
    affect = AffectOverTime(CONFIG)
    now_ns, seen = 0, []
    for point, step_ns in steps:
        now_ns += step_ns
        seen.append(point.valence)
        smoothed = affect.update(1, reading(point), now_ns).affect
        assert min(seen) - 1e-6 <= smoothed.valence <= max(seen) + 1e-6
        assert math.isfinite(smoothed.arousal)


@given(st.lists(st.integers(1, S // 4), min_size=1, max_size=20), points, points)
def test_a_constant_input_may_be_cut_into_any_pieces(
    steps_ns: list[int], start: Affect, goal: Affect
) -> None:
    total_ns = sum(steps_ns)
    tau_s = CONFIG.smoothing_s
    affect = AffectOverTime(CONFIG)
    affect.update(1, reading(start), 0)
    now_ns = 0
    for step_ns in steps_ns:
        now_ns += step_ns
        smoothed = affect.update(1, reading(goal), now_ns).affect
    left = math.exp(-total_ns / 1e9 / tau_s)
    assert smoothed.valence == pytest.approx(
        goal.valence + left * (start.valence - goal.valence), abs=1e-5
    )


def test_a_past_that_tells_nothing_is_forgotten_and_memory_is_bounded() -> None:
    affect = AffectOverTime(CONFIG)
    affect.update(1, reading(Affect(1, 1)), 0)
    later_ns = int((affect.stale_s + 0.1) * 1e9)
    assert affect.update(1, reading(Affect(-1, -1)), later_ns).affect.valence == -1
    for track in range(2, 5000):
        affect.update(track, reading(), later_ns + track * S)
    assert len(affect) <= affect.stale_s + 2


def test_tracks_do_not_mix() -> None:
    affect = AffectOverTime(CONFIG)
    affect.update(1, reading(Affect(1, 1)), 0)
    assert affect.update(2, reading(Affect(-1, -1)), 0).affect.valence == -1
    assert affect.update(1, reading(Affect(1, 1)), S).affect.valence == pytest.approx(1)


def labels(readings: list[tuple[float, Reading]]) -> list[str]:
    affect = AffectOverTime(CONFIG)
    return [affect.update(1, each, round(at_s * 1e9)).stable_label for at_s, each in readings]


def test_one_odd_frame_changes_no_label() -> None:
    run = [(n / 30, reading(label="happy")) for n in range(30)]
    run[15] = (0.5, reading(label="fear", sure=1.0))
    assert set(labels(run)) == {"happy"}


def test_a_lasting_change_shows_after_the_documented_time() -> None:
    change_s = 1.0
    run = [
        (n / 30, reading(label="happy" if n / 30 < change_s else "sad", sure=1.0))
        for n in range(90)
    ]
    got = labels(run)
    lead_s = CONFIG.smoothing_s * math.log(2 / (1 - CONFIG.label_margin))
    shows_s = run[got.index("sad")][0] - change_s
    assert shows_s == pytest.approx(lead_s + CONFIG.label_hold_s, abs=0.1)
    assert got[-1] == "sad"


def test_two_labels_in_a_draw_do_not_flicker() -> None:
    rng = np.random.default_rng(5)
    draw = [
        (n / 30, reading(label=("sad", "anger")[int(rng.integers(2))], sure=0.6))
        for n in range(300)
    ]
    got = labels(draw)
    changes = sum(before != after for before, after in itertools.pairwise(got))
    raw = [EXPRESSIONS[int(each.probabilities.argmax())] for _, each in draw]
    raw_changes = sum(before != after for before, after in itertools.pairwise(raw))
    assert changes < raw_changes / 10
