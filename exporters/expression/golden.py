"""Golden answers of expression networks."""

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
from exporters.artifacts.input_folding import Doubles

FACE: Final = (155.4, 38.9, 86.4, 151.0)
"""The face in the golden picture, x, y, width, height; clearly happy."""

_TOLERANCE: Final = ExpressionTolerance(
    probability_max=0.025, log_probability_max=0.15, affect_max=0.025
)
"""Twice the effect of one grey level of noise on every pixel, on a network of this project."""

_INT8_TOLERANCE: Final = ExpressionTolerance(
    probability_max=0.1, log_probability_max=0.7, affect_max=0.1
)

_NARROWEST: Final = 0.04
"""A probability may differ by 0.001 then: ten times what a float artifact may."""

_PROBABILITY_FLOOR: Final = 1e-6  # logarithms of smaller values are rounding errors


Answer = tuple[Sequence[float], tuple[float, float]]
"""Probabilities in the order of ``EXPRESSIONS``, and (valence, arousal)."""

Predict = Callable[[Luma, Box], Answer]
"""Picture and box -> answer."""


def expression_golden(
    predict: Predict,
    recalibration: Recalibration | None,
    *,
    int8: bool,
    labels: Sequence[str] = EXPRESSIONS,
    mistakes: Sequence[Predict] = (),
    recalibrated: float = 1.0,
) -> ExpressionGolden:
    """Return a network's predictions for three regions of the golden picture, with tolerances.

    The first region is the face. The second, together with the face, separates the labels best, so
    that swapped labels are detected. The third has the lowest contrast, so that a wrong divisor in
    the normalisation is detected: predictions for a face of high contrast may not change.

    Args:
        predict: runs the reference network.
        recalibration: of the network; it narrows the tolerances.
        int8: whether int8 artifacts must give the answers, too.
        labels: what the network knows; other expressions get no answer.
        mistakes: the network with wrong preprocessing; float tolerances become narrow enough to
            tell each of them.
        recalibrated: share of the recalibrated network in the logits; the rest is of a fitted head,
            which does not see swapped labels, so float tolerances narrow by it.
    """
    known_places = [place for place, name in enumerate(EXPRESSIONS) if name in labels]
    picture, digest = golden_picture()
    face = predict(picture, Box(*FACE))
    others = [(box, predict(picture, Box(*box))) for box in _regions(picture)]
    second = max(
        others,
        key=lambda each: _separation(*(np.array(one[0])[known_places] for one in (face, each[1]))),
    )
    third = min(others, key=lambda each: _contrast(picture, each[0]))
    known = dict([(FACE, face), second, third])
    tolerance = _narrowed(_TOLERANCE, recalibration, recalibrated)
    for mistake in mistakes:
        wrong = {place: mistake(picture, Box(*place)) for place in known}
        excess = max(_excess(known[place], wrong[place], tolerance) for place in known)
        tolerance = _scaled(tolerance, min(1.0, max(_NARROWEST, excess / 2)))
    return ExpressionGolden(
        kind="expression",
        picture_sha256=digest,
        readings=tuple(
            GoldenPrediction(
                box=place,
                probabilities={
                    label: float(f"{share:.4g}")
                    for label, share in zip(EXPRESSIONS, shares, strict=True)
                    if label in labels
                },
                valence=round(point[0], 4),
                arousal=round(point[1], 4),
            )
            for place, (shares, point) in known.items()
        ),
        **tolerance.model_dump(),
        int8=_narrowed(_INT8_TOLERANCE, recalibration if recalibrated == 1 else None)
        if int8
        else None,
    )


def _narrowed(
    tolerance: ExpressionTolerance, recalibration: Recalibration | None, share: float = 1.0
) -> ExpressionTolerance:
    """Return ``tolerance``, narrowed by the factor by which a recalibration reduces differences."""
    factor = min(1.0, _logit_gain(recalibration) * share) if recalibration else 1.0
    factor = max(factor, _NARROWEST)
    return tolerance.model_copy(
        update={
            "probability_max": round(tolerance.probability_max * factor, 4),
            "log_probability_max": round(tolerance.log_probability_max * factor, 4),
        }
    )


def _excess(known: Answer, wrong: Answer, tolerance: ExpressionTolerance) -> float:
    """Return how many times its tolerance the largest difference of two answers is."""
    one, other = (np.array(answer[0]) for answer in (known, wrong))
    logs = [np.log(np.maximum(shares, _PROBABILITY_FLOOR)) for shares in (one, other)]
    points = np.abs(np.array(known[1]) - np.array(wrong[1])).max()
    return float(
        max(
            np.abs(one - other).max() / tolerance.probability_max,
            np.abs(logs[0] - logs[1]).max() / tolerance.log_probability_max,
            points / tolerance.affect_max,
        )
    )


def _scaled(tolerance: ExpressionTolerance, factor: float) -> ExpressionTolerance:
    values = tolerance.model_dump().items()
    return ExpressionTolerance(**{name: round(value * factor, 5) for name, value in values})


def _logit_gain(recalibration: Recalibration) -> float:
    """Return the largest factor by which a recalibration scales differences of logits (2-norm)."""
    count = len(EXPRESSIONS)
    centring = np.eye(count) - 1 / count
    mixing = np.zeros((count, count))
    if recalibration.mixing is not None:
        mixing = np.array(recalibration.mixing)
    # centred, because softmax ignores a common offset of the logits
    gain = centring @ (np.eye(count) / recalibration.temperature + mixing) @ centring
    return float(np.linalg.norm(gain, 2))


def _regions(picture: Luma) -> list[tuple[float, float, float, float]]:
    """Return squares all over the picture, some across its borders: x, y, width, height."""
    height, width = picture.shape
    return [
        (float(x), float(y), float(side), float(side))
        for side in (90, 180)
        for x in range(-side // 4, width - side // 2, 70)
        for y in range(-side // 4, height - side // 2, 70)
    ]


def _contrast(picture: Luma, box: tuple[float, float, float, float]) -> float:
    """Return the standard deviation of the crop of ``box``, grey levels."""
    return float(square_crop(picture, Box(*box), (64, 64), 0.0).std())


def _separation(one: Doubles, other: Doubles) -> float:
    """Return the smallest difference of two labels' log-probabilities in two predictions.

    The difference of two labels is the larger one of the two predictions.
    """
    logs = np.log(np.maximum(np.array([one, other]), _PROBABILITY_FLOOR))
    differences = np.abs(logs[:, :, None] - logs[:, None, :]).max(axis=0)
    return float(differences[np.triu_indices(len(one), 1)].min())
