"""A person's own neutral face as the origin that other readings are told from.

Faces at rest differ: a long upper lip reads as sad on every frame. Both heads of an expression
network are linear in its features, so that taking the person's neutral away in feature space is
taking its logits away; of the expression head, log-probabilities serve as well, because softmax
forgets a common offset. A recalibration scales and shifts logits alike for everybody, which changes
nothing of that; where it makes valence and arousal of the expressions, their shift is an
approximation. No feature, no picture, nothing that would identify has to be kept: ten numbers a
person. What it gains is a network's own: ``benchmarks accuracy --personal-baseline``.
The daemon tells changes from rest instead (``hub.participants``), and leaves probabilities alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.vision.values import Affect, Reading
from edge.vocabulary import EXPRESSIONS

_SHARE_MIN = 1e-6
"""Probabilities below this carry no information that survives a float's rounding."""

_AFFECT_MAX = 0.995
"""Valence and arousal nearer to 1 than this have a logit that rounding decides."""

_TAKEN_AWAY = 0.5
"""How much of a person's shift is taken away. A neutral reading is itself uncertain, and what is
taken away with it adds its error. Over 93 near-infrared photographs of ten people, told from one
neutral picture each, by a fit without that person (``recipes recalibrate``, ``beside``, with a
network bundled earlier; for all of it this figure was changed), with nothing, half and all taken
away: log loss 1.70, 1.67, 1.79; concordance of arousal .31, .34, .30, of valence .53, .51, .48."""


@dataclass(frozen=True, slots=True)
class NeutralReading:
    """What a network reads from neutral faces: of one person, or of many.

    Attributes:
        logits: ten numbers: centred log-probabilities in the order of ``EXPRESSIONS``, then the
            logits of valence and arousal mapped to 0..1.
    """

    logits: NDArray[np.float64]

    @classmethod
    def mean(cls, readings: Iterable[Reading]) -> "NeutralReading":
        """Return the mean over readings of neutral faces.

        Raises:
            ValueError: there is none.
        """
        rows = [_logits(reading) for reading in readings]
        if not rows:
            raise ValueError("a neutral baseline needs at least one reading")
        return cls(np.mean(rows, axis=0))


def told_from(reading: Reading, own: NeutralReading, common: NeutralReading) -> Reading:
    """Return ``reading`` with half of the person's shift from the common neutral taken away.

    Args:
        reading: what the network said.
        own: the person's neutral.
        common: the neutral of people in general.
    """
    count = len(EXPRESSIONS)
    moved = _logits(reading) + _TAKEN_AWAY * (common.logits - own.logits)
    powers = np.exp(moved[:count] - moved[:count].max())
    valence, arousal = np.tanh(moved[count:] / 2).tolist()
    return Reading((powers / powers.sum()).astype(np.float32), Affect(valence, arousal))


def _logits(reading: Reading) -> NDArray[np.float64]:
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


def told_from_own_neutral(
    readings: Sequence[Reading], truth: Sequence[int], subjects: Sequence[str]
) -> dict[int, Reading]:
    """Return what readings are from each person's first neutral picture, by their index.

    That picture has no part, nor has anybody of whom there is none; the common neutral is that of
    the others.

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
        index: told_from(readings[index], neutral[subject], common[subject])
        for index, subject in enumerate(subjects)
        if subject in common and index != first[subject]
    }
