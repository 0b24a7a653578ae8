"""Standard metrics of expression, valence and arousal, on plain arrays.

Definitions follow Kalabis, *Facial expression analysis from NIR image* (CTU Prague, 2024),
sections 3.3.3.2 and 3.5.1.2, where no other source is named. Labels are indices into
``edge.vocabulary.EXPRESSIONS``; valence and arousal lie in -1..1.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.intp]
Values = NDArray[np.float64]

REGIONS: Final = 71
"""Regions along each side of the circumplex for the normalised RMSE."""


def top_k(probabilities: Values, truth: Labels, k: int) -> float:
    """Return top-k accuracy: the true label is among the ``k`` most probable of (n, classes)."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float((order == truth[:, None]).any(axis=1).mean())


def f1_scores(predicted: Labels, truth: Labels, classes: int) -> Values:
    """Return F1 of each class; NaN for a class that is neither true nor predicted anywhere."""
    hits = np.bincount(truth[predicted == truth], minlength=classes)
    total = np.bincount(truth, minlength=classes) + np.bincount(predicted, minlength=classes)
    return np.where(total > 0, 2 * hits / np.maximum(total, 1), np.nan)


def macro_f1(predicted: Labels, truth: Labels, classes: int) -> float:
    """Return the mean of F1 over the classes that are true or predicted somewhere."""
    return float(np.nanmean(f1_scores(predicted, truth, classes)))


def confusion(predicted: Labels, truth: Labels, classes: int) -> NDArray[np.intp]:
    """Return the confusion matrix (classes, classes): rows true, columns predicted."""
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def rmse(predicted: Values, truth: Values) -> float:
    """Return the root mean squared error."""
    return float(np.sqrt(np.mean((predicted - truth) ** 2)))


def ccc(predicted: Values, truth: Values) -> float:
    """Return Lin's concordance correlation coefficient, -1..1; 0 if nothing varies.

    L. I. Lin: A concordance correlation coefficient to evaluate reproducibility, Biometrics 1989.
    """
    spread = predicted.var() + truth.var() + (predicted.mean() - truth.mean()) ** 2
    covariance = np.mean((predicted - predicted.mean()) * (truth - truth.mean()))
    return float(2 * covariance / spread) if spread > 0 else 0.0


def sagr(predicted: Values, truth: Values) -> float:
    """Return the sign agreement: share of equal signs; zero is a sign of its own."""
    return float(np.mean(np.sign(predicted) == np.sign(truth)))


def normalised_rmse(predicted: Values, truth: Values) -> tuple[float, float]:
    """Return RMSE of valence and of arousal, each the mean over the circumplex's regions.

    Args:
        predicted: (n, 2).
        truth: (n, 2); it decides to which of 71 x 71 equal regions a face belongs.
    """
    places = np.clip(((truth + 1) / 2 * REGIONS).astype(np.intp), 0, REGIONS - 1)
    _, region = np.unique(places[:, 0] * REGIONS + places[:, 1], return_inverse=True)
    counts = np.bincount(region)
    squared = (predicted - truth) ** 2
    means = [np.sqrt(np.bincount(region, squared[:, axis]) / counts).mean() for axis in (0, 1)]
    return float(means[0]), float(means[1])


def downsampled(
    predicted: Labels, truth: Labels, classes: int, *, folds: int = 200, seed: int = 0
) -> tuple[float, float]:
    """Return accuracy and macro F1 for a uniform class distribution.

    In each fold as many faces of every expression are drawn, without replacement, as the rarest
    has; the result is the mean over the folds.
    """
    random = np.random.default_rng(seed)
    groups = [np.flatnonzero(truth == label) for label in np.unique(truth)]
    size = min(len(group) for group in groups)
    figures = []
    for _ in range(folds):
        drawn = np.concatenate([random.choice(group, size, replace=False) for group in groups])
        hit = float((predicted[drawn] == truth[drawn]).mean())
        figures.append((hit, macro_f1(predicted[drawn], truth[drawn], classes)))
    accuracy, score = np.mean(figures, axis=0)
    return float(accuracy), float(score)


def calibration_error(probabilities: Values, truth: Labels, *, bins: int = 10) -> float:
    """Return the expected calibration error: confidence against observed accuracy, 0..1.

    M. P. Naeini, G. Cooper, M. Hauskrecht: Obtaining Well Calibrated Probabilities Using Bayesian
    Binning, AAAI 2015, with bins of equal width.
    """
    confidence = probabilities.max(axis=1)
    hits = probabilities.argmax(axis=1) == truth
    where = np.minimum((confidence * bins).astype(np.intp), bins - 1)
    gaps = [
        abs(float(confidence[where == each].mean()) - float(hits[where == each].mean()))
        * float((where == each).mean())
        for each in np.unique(where)
    ]
    return float(sum(gaps))


def log_loss(probabilities: Values, truth: Labels) -> float:
    """Return the mean of -log of the probability of the true label; nats."""
    given = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(given, np.finfo(np.float32).tiny)).mean())


def interval(
    figure: Callable[[NDArray[np.intp]], float],
    subjects: Sequence[str],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of ``figure``, resampled by person.

    Pictures of one person resemble each other, so resampling pictures would make the interval too
    narrow.

    Args:
        figure: takes indices of pictures, with repeats, and returns the figure on those; NaN if it
            is undefined there: such draws do not count.
        subjects: the person on each picture.
        draws: number of resamples, with replacement.
        seed: of the random numbers.
    """
    random = np.random.default_rng(seed)
    names = np.asarray(subjects)
    groups = [np.flatnonzero(names == name) for name in np.unique(names)]
    drawn = []
    for _ in range(draws):
        people = random.integers(0, len(groups), len(groups))
        drawn.append(figure(np.concatenate([groups[each] for each in people])))
    low, high = np.nanpercentile(drawn, [2.5, 97.5]).tolist()
    return low, high


_MAIN_FIGURES: Final[Mapping[str, Callable[[Values, Values, Labels, Values], float]]] = {
    "top1": lambda shares, _, truth, __: top_k(shares, truth, 1),
    "macro_f1": lambda shares, _, truth, __: macro_f1(
        shares.argmax(axis=1), truth, shares.shape[1]
    ),
    "ccc_valence": lambda _, affect, __, target: ccc(affect[:, 0], target[:, 0]),
    "ccc_arousal": lambda _, affect, __, target: ccc(affect[:, 1], target[:, 1]),
    "log_loss": lambda shares, _, truth, __: log_loss(shares, truth),
    "ece": lambda shares, _, truth, __: calibration_error(shares, truth),
}


def main_figures(
    probabilities: Values, affect: Values, truth: Labels, target: Values
) -> dict[str, float]:
    """Return the main figures, without intervals; networks are compared by them."""
    return {
        name: figure(probabilities, affect, truth, target) for name, figure in _MAIN_FIGURES.items()
    }


def differences(
    one: tuple[Values, Values],
    other: tuple[Values, Values],
    truth: Labels,
    target: Values,
    subjects: Sequence[str],
) -> dict[str, Any]:
    """Return the main figures of ``other`` minus those of ``one``, with 95 % intervals.

    Both are predictions for the same pictures, and each resample draws the same people for both:
    the interval of a difference is narrower than its parts'.

    Args:
        one: probabilities (n, classes), and valence and arousal (n, 2).
        other: the same of another pipeline.
        truth: (n,), annotated expressions.
        target: (n, 2), annotated valence and arousal.
        subjects: (n,), the person on each picture.
    """

    def difference(name: str) -> Callable[[NDArray[np.intp]], float]:
        figure = _MAIN_FIGURES[name]

        def of(at: NDArray[np.intp]) -> float:
            mine, yours = (
                figure(shares[at], affect[at], truth[at], target[at])
                for shares, affect in (one, other)
            )
            return yours - mine

        return of

    everything = np.arange(len(truth))
    return {
        name: {
            "value": difference(name)(everything),
            "interval95": list(interval(difference(name), subjects)),
        }
        for name in _MAIN_FIGURES
    }


def figures(
    probabilities: Values, affect: Values, truth: Labels, target: Values, subjects: Sequence[str]
) -> dict[str, Any]:
    """Return every figure of one set of predictions, the main ones with 95 % intervals.

    Args:
        probabilities: (n, classes).
        affect: (n, 2), predicted valence and arousal.
        truth: (n,), annotated expressions.
        target: (n, 2), annotated valence and arousal.
        subjects: (n,), the person on each picture.
    """
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)

    def with_interval(figure: Callable[[NDArray[np.intp]], float]) -> dict[str, Any]:
        everything = np.arange(len(truth))
        return {"value": figure(everything), "interval95": list(interval(figure, subjects))}

    def axis_figures(axis: int) -> dict[str, Any]:
        predicted, annotated = affect[:, axis], target[:, axis]
        return {
            "rmse": with_interval(lambda at: rmse(predicted[at], annotated[at])),
            "ccc": with_interval(lambda at: ccc(predicted[at], annotated[at])),
            "sagr": with_interval(lambda at: sagr(predicted[at], annotated[at])),
        }

    def f1_interval(which: int) -> list[float]:
        def f1(at: NDArray[np.intp]) -> float:
            return float(f1_scores(predicted[at], truth[at], classes)[which])

        return list(interval(f1, subjects))

    scores = f1_scores(predicted, truth, classes)
    accuracy, score = downsampled(predicted, truth, classes)
    regions = normalised_rmse(affect, target)
    return {
        "top1": with_interval(lambda at: top_k(probabilities[at], truth[at], 1)),
        "top2": with_interval(lambda at: top_k(probabilities[at], truth[at], 2)),
        "top3": with_interval(lambda at: top_k(probabilities[at], truth[at], 3)),
        "macro_f1": with_interval(lambda at: macro_f1(predicted[at], truth[at], classes)),
        "valence": axis_figures(0),
        "arousal": axis_figures(1),
        "downsampled": {"top1": accuracy, "macro_f1": score},
        "normalised_rmse": {"valence": regions[0], "arousal": regions[1]},
        "log_loss": with_interval(lambda at: log_loss(probabilities[at], truth[at])),
        "ece": with_interval(lambda at: calibration_error(probabilities[at], truth[at])),
        "f1": [None if np.isnan(each) else float(each) for each in scores],
        "f1_interval95": [
            None if np.isnan(value) else f1_interval(each) for each, value in enumerate(scores)
        ],
        "confusion": confusion(predicted, truth, classes).tolist(),
    }
