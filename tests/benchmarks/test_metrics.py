"""The metrics: against slow reference implementations, known values and their properties."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from benchmarks.evaluation import metrics

CLASSES = 8
labels = hnp.arrays(np.intp, st.shared(st.integers(2, 40), key="n"), elements=st.integers(0, 7))
values = hnp.arrays(
    np.float64, st.shared(st.integers(2, 40), key="n"), elements=st.floats(-1, 1, width=32)
)


@given(labels, labels)
def test_f1_and_confusion_agree_with_counting(
    predicted: NDArray[np.intp], truth: NDArray[np.intp]
) -> None:
    scores = metrics.f1_scores(predicted, truth, CLASSES)
    grid = metrics.confusion(predicted, truth, CLASSES)
    for label in range(CLASSES):
        pairs = list(zip(predicted.tolist(), truth.tolist(), strict=True))
        hits = sum(a == b == label for a, b in pairs)
        named, shown = sum(a == label for a, _ in pairs), sum(b == label for _, b in pairs)
        assert grid[label, label] == hits
        assert grid[label].sum() == shown
        assert grid[:, label].sum() == named
        if named + shown == 0:
            assert math.isnan(scores[label])
        else:
            precision = hits / named if named else 0
            recall = hits / shown if shown else 0
            total = precision + recall
            assert scores[label] == pytest.approx(2 * precision * recall / total if total else 0)


@given(values, values)
def test_ccc_is_symmetric_bounded_and_one_only_for_equal_values(
    predicted: NDArray[np.float64], truth: NDArray[np.float64]
) -> None:
    found = metrics.ccc(predicted, truth)
    assert -1 - 1e-9 <= found <= 1 + 1e-9
    assert found == pytest.approx(metrics.ccc(truth, predicted), abs=1e-9)
    if truth.std() > 1e-3:
        assert metrics.ccc(truth, truth) == pytest.approx(1)
        assert metrics.ccc(truth + 0.5, truth) < 1


def test_ccc_of_a_worked_example() -> None:
    # by hand: means 2 and 3, variances 2/3 each, covariance 2/3 -> (4/3) / (4/3 + 1)
    predicted, truth = np.array([1.0, 2, 3]), np.array([2.0, 3, 4])
    assert metrics.ccc(predicted, truth) == pytest.approx(4 / 7)


@given(st.integers(1, 8))
def test_top_k_of_all_classes_is_one(k: int) -> None:
    random = np.random.default_rng(3)
    shares, truth = random.random((60, CLASSES)), random.integers(0, CLASSES, 60)
    slow = np.mean([t in np.argsort(-s)[:k] for s, t in zip(shares, truth, strict=True)])
    assert metrics.top_k(shares, truth, k) == pytest.approx(slow)
    assert metrics.top_k(shares, truth, CLASSES) == 1


def test_sagr_is_the_share_of_equal_signs() -> None:
    assert metrics.sagr(np.array([0.1, -0.2, 0.3, 0.4]), np.array([0.9, -0.1, -0.3, 0.1])) == 0.75


def test_normalised_rmse_weighs_all_regions_equally() -> None:
    truth = np.array([[0.9, 0.9], [0.9, 0.9], [0.9, 0.9], [-0.9, -0.9]])
    predicted = truth + np.array([[0.1, 0.2], [0.1, 0.2], [0.1, 0.2], [0.5, 0.0]])
    assert metrics.normalised_rmse(predicted, truth) == pytest.approx((0.3, 0.1))


def test_downsampling_removes_the_class_imbalance() -> None:
    truth = np.array([0] * 90 + [1] * 10)
    always_common = np.zeros(100, np.intp)
    accuracy, _ = metrics.downsampled(always_common, truth, 2)
    assert accuracy == pytest.approx(0.5)
    assert metrics.downsampled(truth, truth, 2) == (1.0, 1.0)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    shares = np.tile([0.9, 0.1], (10, 1))
    truth = np.array([0] * 6 + [1] * 4)  # confidence 0.9, accuracy 0.6
    assert metrics.calibration_error(shares, truth) == pytest.approx(0.3)
    random = np.random.default_rng(5)
    honest = random.uniform(0.5, 1, 40_000)
    labels = (random.random(40_000) > honest).astype(np.intp)
    assert metrics.calibration_error(np.stack([honest, 1 - honest], 1), labels) < 0.01


def test_log_loss_is_zero_for_the_truth_and_finite_for_certain_errors() -> None:
    truth = np.array([0, 1])
    assert metrics.log_loss(np.array([[0.5, 0.5], [0.5, 0.5]]), truth) == pytest.approx(math.log(2))
    assert metrics.log_loss(np.eye(2), truth) == 0
    assert math.isfinite(metrics.log_loss(np.eye(2), truth[::-1]))


def test_the_main_figures_equal_those_of_all_figures() -> None:
    random = np.random.default_rng(3)
    shares, truth = random.dirichlet(np.ones(8), 60), random.integers(0, 8, 60)
    affect, target = random.uniform(-1, 1, (2, 60, 2))
    everything = metrics.figures(shares, affect, truth, target, [str(i % 6) for i in range(60)])
    main = metrics.main_figures(shares, affect, truth, target)
    for name in ("top1", "macro_f1", "log_loss", "ece"):
        assert main[name] == everything[name]["value"]
    assert main["ccc_valence"] == everything["valence"]["ccc"]["value"]
    assert main["ccc_arousal"] == everything["arousal"]["ccc"]["value"]


def test_intervals_resample_people_not_pictures() -> None:
    random = np.random.default_rng(11)
    people = [f"p{index}" for index in range(10) for _ in range(50)]
    right = np.repeat(random.random(10) < 0.5, 50).astype(
        float
    )  # all pictures of a person are right or wrong
    low, high = metrics.interval(lambda at: float(right[at].mean()), people)
    pictures = metrics.interval(lambda at: float(right[at].mean()), [str(i) for i in range(500)])
    assert low <= right.mean() <= high
    assert high - low > 3 * (pictures[1] - pictures[0])
    assert (low, high) == metrics.interval(lambda at: float(right[at].mean()), people)


def test_differences_are_paired_by_person() -> None:
    random = np.random.default_rng(3)
    truth = random.integers(0, CLASSES, 60)
    target = random.uniform(-1, 1, (60, 2))
    shares = random.dirichlet(np.ones(CLASSES), 60)
    affect = random.uniform(-1, 1, (60, 2))
    subjects = [str(index // 6) for index in range(60)]
    same = metrics.differences((shares, affect), (shares, affect), truth, target, subjects)
    assert all(
        each == {"value": 0.0, "interval95": [0.0, 0.0]} for each in same.values()
    )  # drawn alike, equal predictions never differ
    better = shares.copy()
    better[np.arange(60), truth] += 1
    better /= 2
    found = metrics.differences((shares, affect), (better, affect), truth, target, subjects)
    one, other = (metrics.main_figures(each, affect, truth, target) for each in (shares, better))
    for name, each in found.items():
        assert each["value"] == pytest.approx(other[name] - one[name])
    low, high = found["top1"]["interval95"]
    assert 0 < low <= found["top1"]["value"] <= high
    assert found["log_loss"]["interval95"][1] < 0
