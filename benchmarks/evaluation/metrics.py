"""Metrics of expression, valence and arousal that the field reports, on plain arrays.

Definitions follow Kalabis, *Facial expression analysis from NIR image* (CTU Prague, 2024),
sections 3.3.3.2 and 3.5.1.2, where no other source is named. Labels are indices into
``edge.vision.values.EXPRESSIONS``; valence and arousal lie in -1..1.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.intp]
Values = NDArray[np.float64]

REGIONS: Final = 71
"""Regions along each side of the circumplex for the normalised RMSE."""


def top_k(probabilities: Values, truth: Labels, k: int) -> float:
    """Return the share of faces whose expression is among the ``k`` likeliest of (n, classes)."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float((order == truth[:, None]).any(axis=1).mean())


def f1_scores(chosen: Labels, truth: Labels, classes: int) -> Values:
    """Return F1 of each class; NaN for one that is neither shown nor named."""
    shown = np.bincount(truth, minlength=classes)
    named = np.bincount(chosen, minlength=classes)
    hits = np.bincount(truth[chosen == truth], minlength=classes)
    total = shown + named
    return np.where(total > 0, 2 * hits / np.maximum(total, 1), np.nan)


def macro_f1(chosen: Labels, truth: Labels, classes: int) -> float:
    """Return the mean of F1 over the classes that are shown or named."""
    return float(np.nanmean(f1_scores(chosen, truth, classes)))


def confusion(chosen: Labels, truth: Labels, classes: int) -> NDArray[np.intp]:
    """Return counts (classes, classes): rows what was shown, columns what was named."""
    return np.bincount(truth * classes + chosen, minlength=classes**2).reshape(classes, classes)


def rmse(read: Values, truth: Values) -> float:
    """Return the root of the mean squared difference."""
    return float(np.sqrt(np.mean((read - truth) ** 2)))


def ccc(read: Values, truth: Values) -> float:
    """Return Lin's concordance correlation coefficient, -1..1; 0 where nothing varies.

    L. I. Lin: A concordance correlation coefficient to evaluate reproducibility, Biometrics 1989.
    """
    spread = read.var() + truth.var() + (read.mean() - truth.mean()) ** 2
    covariance = np.mean((read - read.mean()) * (truth - truth.mean()))
    return float(2 * covariance / spread) if spread > 0 else 0.0


def sagr(read: Values, truth: Values) -> float:
    """Return the share of faces with the right sign; zero is a sign of its own."""
    return float(np.mean(np.sign(read) == np.sign(truth)))


def normalised_rmse(read: Values, truth: Values) -> tuple[float, float]:
    """Return RMSE of valence and of arousal, each the mean over the circumplex's regions.

    Args:
        read: (n, 2).
        truth: (n, 2); a face belongs to the one of 71 x 71 equal regions that its truth lies in.
    """
    places = np.clip(((truth + 1) / 2 * REGIONS).astype(np.intp), 0, REGIONS - 1)
    _, region = np.unique(places[:, 0] * REGIONS + places[:, 1], return_inverse=True)
    counts = np.bincount(region)
    squared = (read - truth) ** 2
    means = [np.sqrt(np.bincount(region, squared[:, axis]) / counts).mean() for axis in (0, 1)]
    return float(means[0]), float(means[1])


def downsampled(
    chosen: Labels, truth: Labels, classes: int, *, folds: int = 200, seed: int = 0
) -> tuple[float, float]:
    """Return accuracy and macro F1 as if every expression were shown equally often.

    In each fold as many faces of every expression are drawn, without return, as the rarest has;
    the result is the mean over the folds.
    """
    random = np.random.default_rng(seed)
    groups = [np.flatnonzero(truth == label) for label in np.unique(truth)]
    size = min(len(group) for group in groups)
    figures = []
    for _ in range(folds):
        drawn = np.concatenate([random.choice(group, size, replace=False) for group in groups])
        hit = float((chosen[drawn] == truth[drawn]).mean())
        figures.append((hit, macro_f1(chosen[drawn], truth[drawn], classes)))
    accuracy, score = np.mean(figures, axis=0)
    return float(accuracy), float(score)


def calibration_error(probabilities: Values, truth: Labels, *, bins: int = 10) -> float:
    """Return the expected calibration error: how far confidence is from the share of hits, 0..1.

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
    """Return the mean of -log of the probability given to what was shown; nats."""
    given = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(given, np.finfo(np.float32).tiny)).mean())


def interval(
    figure: Callable[[NDArray[np.intp]], float],
    subjects: Sequence[str],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of ``figure``, people resampled, not pictures.

    Pictures of one person resemble each other: to resample them alone would promise too much.

    Args:
        figure: takes indices of pictures (with repeats) and returns the figure on those; NaN where
            it has none: such draws do not count.
        subjects: who is on each picture.
        draws: how often the people are drawn, with return.
        seed: of the draws.
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


def headlines(
    probabilities: Values, affect: Values, truth: Labels, target: Values
) -> dict[str, float]:
    """Return the figures that networks are chosen by, without intervals; see ``figures``."""
    return {
        "top1": top_k(probabilities, truth, 1),
        "macro_f1": macro_f1(probabilities.argmax(axis=1), truth, probabilities.shape[1]),
        "ccc_valence": ccc(affect[:, 0], target[:, 0]),
        "ccc_arousal": ccc(affect[:, 1], target[:, 1]),
        "log_loss": log_loss(probabilities, truth),
        "ece": calibration_error(probabilities, truth),
    }


def figures(
    probabilities: Values, affect: Values, truth: Labels, target: Values, subjects: Sequence[str]
) -> dict[str, Any]:
    """Return every figure of one set of readings, headlines with their 95 % intervals.

    Args:
        probabilities: (n, classes).
        affect: (n, 2), valence and arousal as read.
        truth: (n,), the expression shown.
        target: (n, 2), valence and arousal as annotated.
        subjects: (n,), who is on each picture.
    """
    classes = probabilities.shape[1]
    chosen = probabilities.argmax(axis=1)

    def headline(figure: Callable[[NDArray[np.intp]], float]) -> dict[str, Any]:
        everything = np.arange(len(truth))
        return {"value": figure(everything), "interval95": list(interval(figure, subjects))}

    def along(axis: int) -> dict[str, Any]:
        read, annotated = affect[:, axis], target[:, axis]
        return {
            "rmse": headline(lambda at: rmse(read[at], annotated[at])),
            "ccc": headline(lambda at: ccc(read[at], annotated[at])),
            "sagr": headline(lambda at: sagr(read[at], annotated[at])),
        }

    def of_class(which: int) -> list[float]:
        def f1(at: NDArray[np.intp]) -> float:
            return float(f1_scores(chosen[at], truth[at], classes)[which])

        return list(interval(f1, subjects))

    scores = f1_scores(chosen, truth, classes)
    accuracy, score = downsampled(chosen, truth, classes)
    regions = normalised_rmse(affect, target)
    return {
        "top1": headline(lambda at: top_k(probabilities[at], truth[at], 1)),
        "top2": headline(lambda at: top_k(probabilities[at], truth[at], 2)),
        "top3": headline(lambda at: top_k(probabilities[at], truth[at], 3)),
        "macro_f1": headline(lambda at: macro_f1(chosen[at], truth[at], classes)),
        "valence": along(0),
        "arousal": along(1),
        "downsampled": {"top1": accuracy, "macro_f1": score},
        "normalised_rmse": {"valence": regions[0], "arousal": regions[1]},
        "log_loss": headline(lambda at: log_loss(probabilities[at], truth[at])),
        "ece": headline(lambda at: calibration_error(probabilities[at], truth[at])),
        "f1": [None if np.isnan(each) else float(each) for each in scores],
        "f1_interval95": [
            None if np.isnan(value) else of_class(each) for each, value in enumerate(scores)
        ],
        "confusion": confusion(chosen, truth, classes).tolist(),
    }
