"""Agreement of an expression network with the float network that it was made from."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluation.metrics import ccc
from edge.vision.expression.readout import Readout
from edge.vision.inference import Network
from edge.vision.values import Luma

Readings = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Probabilities (n, labels), and valence and arousal (n, 2) in -1..1, of n faces."""


def expression_agreement(
    reference: Network, candidate: Network, crops: Sequence[Luma]
) -> dict[str, float]:
    """Return the figures of an expression network against its float original.

    ``concordance``: share of faces with the same likeliest label; ``kappa``: that agreement
    beyond chance (Cohen 1960); ``valence_ccc`` and ``arousal_ccc``: Lin's concordance
    correlation; ``probability_max_difference``, ``affect_max_difference`` and the ``mean`` ones.

    Args:
        reference: the float network.
        candidate: another artifact of the same model.
        crops: mono faces of the input's size (see ``calibration.face_crops``).

    Raises:
        InferenceError: a network fails.
    """
    one, affect = read_all(reference, crops)
    other, also = read_all(candidate, crops)
    return {
        **readings_agreement((one, affect), (other, also)),
        "probability_mean_difference": float(np.abs(one - other).mean()),
        "probability_max_difference": float(np.abs(one - other).max()),
        "affect_mean_difference": float(np.abs(affect - also).mean()),
        "affect_max_difference": float(np.abs(affect - also).max()),
    }


def read_all(network: Network, crops: Iterable[Luma]) -> Readings:
    """Return what an expression network reads from faces of its input's size.

    Raises:
        InferenceError: the network fails.
        ModelError: the manifest names no output for one of the two roles.
    """
    readout = Readout.of(network.manifest)
    heads = [network.run(crop[None]) for crop in crops]
    shares, affect = (
        np.concatenate([each[role] for each in heads]) for role in ("expression", "affect")
    )
    probabilities, values = readout.decode(shares, affect)
    return probabilities.astype(np.float64), values.astype(np.float64)


def readings_agreement(known: Readings, candidate: Readings) -> dict[str, float]:
    """Return ``concordance``, ``kappa``, ``valence_ccc`` and ``arousal_ccc`` of two readings."""
    labels, also = (shares.argmax(axis=1) for shares, _ in (known, candidate))
    return {
        "concordance": float(np.mean(labels == also)),
        "kappa": kappa(labels, also),
        "valence_ccc": ccc(candidate[1][:, 0], known[1][:, 0]),
        "arousal_ccc": ccc(candidate[1][:, 1], known[1][:, 1]),
    }


def kappa(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return Cohen's kappa of two raters' labels, at most 1; 1 where both say one label alone.

    J. Cohen: A coefficient of agreement for nominal scales, 1960.
    """
    labels = np.union1d(one, other)
    chance = sum(float(np.mean(one == each) * np.mean(other == each)) for each in labels)
    return (float(np.mean(one == other)) - chance) / (1 - chance) if chance < 1 else 1.0
