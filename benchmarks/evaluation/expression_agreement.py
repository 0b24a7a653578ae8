"""Agreement of an expression network with the float network that it was made from."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluation.metrics import ccc
from edge.vision.expression.readout import FEATURES, Readout
from edge.vision.inference import Network
from edge.vision.values import Luma

Predictions = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Probabilities (n, labels), and valence and arousal (n, 2) in -1..1, of n faces."""


def expression_agreement(
    reference: Network, candidate: Network, crops: Sequence[Luma]
) -> dict[str, float]:
    """Return the figures of an expression network against its float network.

    Those of ``prediction_agreement``, and ``probability_max_difference``,
    ``affect_max_difference`` and the ``mean`` of either.

    Args:
        reference: the float network.
        candidate: another artifact of the same model.
        crops: mono faces of the input's size (see ``pictures.face_crops``).

    Raises:
        InferenceError: a network fails.
    """
    known, tested = (predict_all(network, crops) for network in (reference, candidate))
    shares, affect = (np.abs(one - other) for one, other in zip(known, tested, strict=True))
    return {
        **prediction_agreement(known, tested),
        "probability_mean_difference": float(shares.mean()),
        "probability_max_difference": float(shares.max()),
        "affect_mean_difference": float(affect.mean()),
        "affect_max_difference": float(affect.max()),
    }


def predict_all(network: Network, crops: Iterable[Luma]) -> Predictions:
    """Return an expression network's predictions for faces of its input's size.

    Raises:
        InferenceError: the network fails.
        ModelError: the manifest lacks an output or the anchors (see ``Readout.of``).
    """
    readout = Readout.of(network.manifest)
    heads = [network.run(crop[None]) for crop in crops]
    scores, affect, features = (
        np.concatenate([each[role] for each in heads]) if role in heads[0] else None
        for role in ("expression", "affect", FEATURES)
    )
    assert scores is not None  # the role that every decoder needs
    probabilities, values = readout.decode(scores, affect, readout.inputs(scores, features))
    return probabilities.astype(np.float64), values.astype(np.float64)


def prediction_agreement(known: Predictions, candidate: Predictions) -> dict[str, float]:
    """Return the agreement of two sets of predictions for the same faces.

    ``concordance``: share of faces with the same most probable label; ``kappa``: that agreement
    beyond chance (Cohen's kappa); ``valence_ccc`` and ``arousal_ccc``: Lin's concordance
    correlation coefficients.
    """
    one, other = (shares.argmax(axis=1) for shares, _ in (known, candidate))
    return {
        "concordance": float(np.mean(one == other)),
        "kappa": kappa(one, other),
        "valence_ccc": ccc(candidate[1][:, 0], known[1][:, 0]),
        "arousal_ccc": ccc(candidate[1][:, 1], known[1][:, 1]),
    }


def kappa(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return Cohen's kappa of two raters' labels, at most 1; 1 if both give one label only.

    J. Cohen: A coefficient of agreement for nominal scales, 1960.
    """
    labels = np.union1d(one, other)
    chance = sum(float(np.mean(one == each) * np.mean(other == each)) for each in labels)
    return (float(np.mean(one == other)) - chance) / (1 - chance) if chance < 1 else 1.0
