"""Personal baseline: predictions relative to the person's own neutral face.

Neutral faces differ: a long upper lip looks sad on every frame. Both heads of an expression
network are linear in its features, so subtracting the person's neutral features is
subtracting its logits; for the expression head log-probabilities serve as well, because softmax
drops a common offset. A recalibration scales and shifts the logits of everybody alike, which does
not change this; where it computes valence and arousal from the expressions, the shift is an
approximation. Ten numbers a person have to be kept, no picture and nothing that identifies. The
gain depends on the network: ``benchmarks accuracy --personal-baseline`` measures it. The daemon
publishes changes from the baseline instead (``hub.participants``), and does not change
probabilities.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.vision.values import Affect, Prediction
from edge.vocabulary import EXPRESSIONS

_SHARE_MIN = 1e-6
"""Probabilities below this carry no information that survives a float's rounding."""

_AFFECT_MAX = 0.995
"""Valence and arousal nearer to 1 than this have a logit that rounding decides."""

_SUBTRACTED = 0.5
"""Share of a person's shift that is subtracted. A neutral prediction is itself uncertain, and
subtracting it adds its error. Over 93 near-infrared photographs of ten people, relative to one
neutral picture each, by a fit without that person (``recipes recalibrate``, ``beside``, with a
network bundled earlier; this figure was changed for it), with nothing, half and all subtracted:
log loss 1.70, 1.67, 1.79; CCC of arousal .31, .34, .30, of valence .53, .51, .48."""


@dataclass(frozen=True, slots=True)
class NeutralReading:
    """What a network predicts for neutral faces: of one person, or of many.

    Attributes:
        logits: ten numbers: centred log-probabilities in the order of ``EXPRESSIONS``, then the
            logits of valence and arousal mapped to 0..1.
    """

    logits: NDArray[np.float64]

    @classmethod
    def mean(cls, readings: Iterable[Prediction]) -> "NeutralReading":
        """Return the mean over readings of neutral faces.

        Raises:
            ValueError: there is none.
        """
        rows = [_logits(reading) for reading in readings]
        if not rows:
            raise ValueError("a neutral baseline needs at least one reading")
        return cls(np.mean(rows, axis=0))


def relative_to_neutral(
    reading: Prediction, own: NeutralReading, common: NeutralReading
) -> Prediction:
    """Return ``reading``, half of the person's shift from the common neutral subtracted.

    Args:
        reading: what the network predicts.
        own: the person's neutral.
        common: the neutral of people in general.
    """
    count = len(EXPRESSIONS)
    moved = _logits(reading) + _SUBTRACTED * (common.logits - own.logits)
    powers = np.exp(moved[:count] - moved[:count].max())
    valence, arousal = np.tanh(moved[count:] / 2).tolist()
    return Prediction((powers / powers.sum()).astype(np.float32), Affect(valence, arousal))


def _logits(reading: Prediction) -> NDArray[np.float64]:
    shares = np.log(np.maximum(reading.probabilities.astype(np.float64), _SHARE_MIN))
    values = np.clip([reading.affect.valence, reading.affect.arousal], -_AFFECT_MAX, _AFFECT_MAX)
    # 2 artanh(x) is the logit of (x + 1) / 2
    return np.concatenate([shares - shares.mean(), 2 * np.arctanh(values)])


def first_neutrals(truth: Sequence[int], subjects: Sequence[str]) -> dict[str, int]:
    """Return the index of each person's first neutral picture, of those who have one."""
    first: dict[str, int] = {}
    for index, (label, subject) in enumerate(zip(truth, subjects, strict=True)):
        if EXPRESSIONS[label] == "neutral":
            first.setdefault(subject, index)
    return first


def relative_to_own_neutral(
    readings: Sequence[Prediction], truth: Sequence[int], subjects: Sequence[str]
) -> dict[int, Prediction]:
    """Return readings relative to each person's first neutral picture, by their index.

    That picture is left out, and so is a person without one. The common neutral is the mean of the
    other people's.

    Args:
        readings: of the pictures.
        truth: what each shows, index into ``EXPRESSIONS``.
        subjects: who is on each.
    """
    first = first_neutrals(truth, subjects)
    neutral = {name: NeutralReading.mean([readings[index]]) for name, index in first.items()}
    common = {
        name: NeutralReading.mean(
            readings[index] for other, index in first.items() if other != name
        )
        for name in first
        if len(first) > 1
    }
    return {
        index: relative_to_neutral(readings[index], neutral[subject], common[subject])
        for index, subject in enumerate(subjects)
        if subject in common and index != first[subject]
    }
