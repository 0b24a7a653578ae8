"""What an expression network must predict for the golden picture."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from edge.vision.expression.crop import square_crop
from edge.vision.golden import golden_picture
from edge.vision.inference.golden_schema import (
    ExpressionGolden,
    ExpressionTolerance,
    GoldenPrediction,
)
from edge.vision.inference.manifest import Recalibration
from edge.vision.values import Box, Luma
from edge.vocabulary import EXPRESSIONS

_FACE: Final = (155.4, 38.9, 86.4, 151.0)
"""The face in the golden picture, x, y, width, height; plainly happy."""

_TOLERANCE: Final = ExpressionTolerance(
    probability_max=0.025, log_probability_max=0.15, affect_max=0.025
)
"""Twice what one grey level of noise on every pixel does to a network of this project."""

_INT8_TOLERANCE: Final = ExpressionTolerance(
    probability_max=0.1, log_probability_max=0.7, affect_max=0.1
)

_PROBABILITY_FLOOR: Final = 1e-6  # below it, logarithms show rounding, not labels


Read = Callable[[Luma, Box], tuple[Sequence[float], tuple[float, float]]]
"""Picture and box to a probability for each of ``EXPRESSIONS``, and valence and arousal."""


def expression_golden(
    read: Read, recalibration: Recalibration | None, *, int8: bool
) -> ExpressionGolden:
    """Return what a network predicts for the golden picture.

    The second region is the one that, with the face, sets the labels apart best: swapped labels
    would not show otherwise. The third is the faintest: what a picture is divided by shows there,
    while a network may read a face of good contrast the same.

    Args:
        read: runs the network whose answers are the expected ones.
        recalibration: of the network; it narrows the tolerances.
        int8: whether int8 artifacts have to read it, too.
    """
    picture, digest = golden_picture()
    face = read(picture, Box(*_FACE))
    others = [(box, read(picture, Box(*box))) for box in _regions(picture)]
    second = max(others, key=lambda each: _gap(face[0], each[1][0]))
    third = min(others, key=lambda each: _contrast(picture, each[0]))
    known = dict([(_FACE, face), second, third])
    return ExpressionGolden(
        kind="expression",
        picture_sha256=digest,
        readings=tuple(
            GoldenPrediction(
                box=place,
                probabilities={
                    label: float(f"{share:.4g}")
                    for label, share in zip(EXPRESSIONS, shares, strict=True)
                },
                valence=round(point[0], 4),
                arousal=round(point[1], 4),
            )
            for place, (shares, point) in known.items()
        ),
        **_softened(_TOLERANCE, recalibration).model_dump(),
        int8=_softened(_INT8_TOLERANCE, recalibration) if int8 else None,
    )


def _softened(
    tolerance: ExpressionTolerance, recalibration: Recalibration | None
) -> ExpressionTolerance:
    """Return ``tolerance`` as much narrower as a recalibration brings probabilities together."""
    factor = min(1.0, _logit_gain(recalibration)) if recalibration else 1.0
    return tolerance.model_copy(
        update={
            "probability_max": round(tolerance.probability_max * factor, 4),
            "log_probability_max": round(tolerance.log_probability_max * factor, 4),
        }
    )


def _logit_gain(setting: Recalibration) -> float:
    """Return how much a recalibration can enlarge a difference of logits (2-norm, at most)."""
    count = len(EXPRESSIONS)
    centring = np.eye(count) - 1 / count
    mixing = np.zeros((count, count)) if setting.mixing is None else np.array(setting.mixing)
    # a common offset of all logits is none to softmax
    whole = centring @ (np.eye(count) / setting.temperature + mixing) @ centring
    return float(np.linalg.norm(whole, 2))


def _regions(picture: Luma) -> list[tuple[float, float, float, float]]:
    """Return squares all over the picture and over its borders."""
    height, width = picture.shape
    return [
        (float(x), float(y), float(side), float(side))
        for side in (90, 180)
        for x in range(-side // 4, width - side // 2, 70)
        for y in range(-side // 4, height - side // 2, 70)
    ]


def _contrast(picture: Luma, box: tuple[float, float, float, float]) -> float:
    """Return the standard deviation of what is cut from ``box``, grey levels."""
    return float(square_crop(picture, Box(*box), (64, 64), 0.0).std())


def _gap(one: Sequence[float], other: Sequence[float]) -> float:
    """Return how far apart two readings together set the two labels that they set apart least."""
    logs = np.log(np.maximum(np.array([one, other]), _PROBABILITY_FLOOR))
    apart = np.abs(logs[:, :, None] - logs[:, None, :]).max(axis=0)
    return float(apart[np.triu_indices(len(EXPRESSIONS), 1)].min())
