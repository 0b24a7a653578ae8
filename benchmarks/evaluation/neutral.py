"""Personal baseline: predictions relative to the person's own neutral face.

Neutral faces differ: a long upper lip looks sad on every frame. Both heads of an expression network
are linear in its features, so subtracting the person's neutral features equals subtracting the
logits. For the expression head log-probabilities do as well, because softmax ignores a common
offset. A recalibration scales and shifts everybody's logits alike and does not change this; where
it computes valence and arousal from the expressions, the shift is an approximation. Ten numbers per
person are kept, no picture and nothing that identifies. ``benchmarks accuracy --personal-baseline``
measures the gain, which depends on the network. The daemon publishes changes from the baseline
instead (``edge.participants.participants``) and does not change probabilities.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.protocol.messages import Point
from edge.vision.values import Affect, Prediction
from edge.vocabulary import BASELINE_MAX, EXPRESSIONS

_SHARE_MIN = 1e-6
"""Probabilities below this are rounding errors."""

_AFFECT_MAX = 0.995
"""Limit of the absolute value: rounding dominates the logit of larger ones."""

_SUBTRACTED = 0.5
"""Share of a person's shift that is subtracted. A neutral prediction is itself uncertain, and
subtracting it adds its error. Measured on jittered crops of 93 near-infrared photographs of ten
people, relative to one neutral picture each, with a recalibration fitted without that person
(``recipes recalibrate``, a network bundled earlier):

| subtracted | log loss | CCC of arousal | CCC of valence |
|---|---|---|---|
| nothing | 1.70 | .31 | .53 |
| half | 1.67 | .34 | .51 |
| all | 1.79 | .30 | .48 |
"""


@dataclass(frozen=True, slots=True)
class NeutralPrediction:
    """A network's mean prediction for neutral faces, of one person or of several.

    Attributes:
        logits: ten numbers: centred log-probabilities in the order of ``EXPRESSIONS``, then the
            logits of valence and arousal mapped to 0..1.
    """

    logits: NDArray[np.float64]

    @classmethod
    def mean(cls, predictions: Iterable[Prediction]) -> "NeutralPrediction":
        """Return the mean over predictions for neutral faces.

        Raises:
            ValueError: ``predictions`` is empty.
        """
        rows = [_logits(prediction) for prediction in predictions]
        if not rows:
            raise ValueError("a neutral baseline needs at least one prediction")
        return cls(np.mean(rows, axis=0))


def relative_to_neutral(
    prediction: Prediction, own: NeutralPrediction, common: NeutralPrediction
) -> Prediction:
    """Return ``prediction`` minus half of the person's shift from the common neutral.

    Args:
        prediction: the network's prediction for a face of the person.
        own: the person's mean neutral prediction.
        common: the mean neutral prediction of other people.
    """
    count = len(EXPRESSIONS)
    moved = _logits(prediction) + _SUBTRACTED * (common.logits - own.logits)
    powers = np.exp(moved[:count] - moved[:count].max())
    valence, arousal = np.tanh(moved[count:] / 2).tolist()
    return Prediction((powers / powers.sum()).astype(np.float32), Affect(valence, arousal))


def _logits(prediction: Prediction) -> NDArray[np.float64]:
    shares = np.log(np.maximum(prediction.probabilities.astype(np.float64), _SHARE_MIN))
    values = np.clip(
        [prediction.affect.valence, prediction.affect.arousal], -_AFFECT_MAX, _AFFECT_MAX
    )
    # 2 artanh(x) is the logit of (x + 1) / 2
    return np.concatenate([shares - shares.mean(), 2 * np.arctanh(values)])


def first_neutrals(truth: Sequence[int], subjects: Sequence[str]) -> dict[str, int]:
    """Return the index of the first neutral picture of each person who has one."""
    first: dict[str, int] = {}
    for index, (label, subject) in enumerate(zip(truth, subjects, strict=True)):
        if EXPRESSIONS[label] == "neutral":
            first.setdefault(subject, index)
    return first


def relative_to_own_neutral(
    predictions: Sequence[Prediction], truth: Sequence[int], subjects: Sequence[str]
) -> dict[int, Prediction]:
    """Return predictions relative to each person's first neutral picture, by index.

    That picture is left out, and so are people without one. The common neutral is the mean of the
    other people's first neutral pictures.

    Args:
        predictions: one per picture.
        truth: annotated expression of each, index into ``EXPRESSIONS``.
        subjects: the person on each.
    """
    first = first_neutrals(truth, subjects)
    neutral = {name: NeutralPrediction.mean([predictions[index]]) for name, index in first.items()}
    common = {
        name: NeutralPrediction.mean(
            predictions[index] for other, index in first.items() if other != name
        )
        for name in first
        if len(first) > 1
    }
    return {
        index: relative_to_neutral(predictions[index], neutral[subject], common[subject])
        for index, subject in enumerate(subjects)
        if subject in common and index != first[subject]
    }


def changes_from_neutral(
    predicted: NDArray[np.float64],
    annotated: NDArray[np.float64],
    truth: Sequence[int],
    subjects: Sequence[str],
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Return predicted and annotated changes from each person's first neutral picture.

    The predicted ones are computed as the daemon does (``relative``). That picture is left out, and
    so are people without one, or whose prediction there exceeds ``BASELINE_MAX``.

    Args:
        predicted: valence and arousal, (n, 2).
        annotated: the same.
        truth: annotated expression of each picture, index into ``EXPRESSIONS``.
        subjects: the person on each.

    Returns:
        Indices of m pictures, predicted changes (m, 2), and annotated ones (m, 2).
    """
    baselines = first_neutrals(truth, subjects)
    pairs = [
        (index, baselines[person])
        for index, person in enumerate(subjects)
        if person in baselines
        and index != baselines[person]
        and np.abs(predicted[baselines[person]]).max() <= BASELINE_MAX
    ]
    faces, own = np.array(pairs, np.intp).reshape(-1, 2).T
    relative = [
        _point(predicted[face]).relative_to(_point(predicted[neutral])) for face, neutral in pairs
    ]
    values = np.array([[each.valence, each.arousal] for each in relative]).reshape(-1, 2)
    return faces, values, annotated[faces] - annotated[own]


def _point(affect: NDArray[np.float64]) -> Point:
    return Point(valence=float(affect[0]), arousal=float(affect[1]))
