"""Converts the outputs of an expression network to probabilities, valence and arousal.

Only this module applies a manifest's labels, encoding and recalibration: the daemon, the exporters'
parity figures and the benchmarks all use it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelError
from edge.vision.inference.manifest import Manifest, Recalibration
from edge.vision.values import Floats
from edge.vocabulary import EXPRESSIONS

ROLES: Final = ("expression", "affect")
"""The output roles that a two-headed network must have."""

SHARE_MIN: Final = np.float32(1e-12)
"""Lower bound of probabilities before the logarithm: small ones may have been rounded to 0."""


class _Arrays(NamedTuple):
    """A recalibration as arrays, so that it is converted once and not for each face.

    Attributes:
        temperature: divides the logarithms.
        offsets: (8,).
        mixing: (8, 8), transposed; None: no mixing.
        points: (8, 2), valence and arousal of the expressions; None: the network's are used.
    """

    temperature: np.float32
    offsets: Floats
    mixing: Floats | None
    points: Floats | None

    @classmethod
    def of(cls, recalibration: Recalibration) -> Self:
        """Return the arrays of ``recalibration``."""
        mixing, points = recalibration.mixing, recalibration.points
        return cls(
            np.float32(recalibration.temperature),
            np.array(recalibration.offsets, np.float32),
            None if mixing is None else np.array(mixing, np.float32).T,
            None if points is None else np.array(points, np.float32),
        )


@dataclass(frozen=True, slots=True)
class Readout:
    """Converts the two outputs for n faces. Stateless; safe from any thread.

    Attributes:
        order: position of each of ``EXPRESSIONS`` among the network's labels.
        affect_in_0_1: whether the affect output s is in 0..1 and means ``(s - 0.5) * 2``.
        recalibration: adapts the outputs to a domain; None: they stay unchanged.
        log_priors: (8,), logarithms of class priors; None: a uniform class prior. They weigh the
            probabilities only: valence and arousal stay the same.
    """

    order: NDArray[np.intp]
    affect_in_0_1: bool
    recalibration: Recalibration | None
    log_priors: Floats | None = None
    _arrays: _Arrays | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        arrays = None if self.recalibration is None else _Arrays.of(self.recalibration)
        object.__setattr__(self, "_arrays", arrays)

    @classmethod
    def of(cls, manifest: Manifest, priors: Mapping[str, float] | None = None) -> "Readout":
        """Return the conversion for a network with ``manifest``.

        ``priors`` are class priors by expression name. If not all are named, their sum is less
        than 1, and the others share the remainder equally. Priors need a recalibration, because
        it assumes a uniform class prior: without one, the prior to replace is unknown. Priors
        change the probabilities only.

        Raises:
            ModelError: an output is missing, or there are priors but no recalibration.
        """
        manifest.require_outputs(ROLES)
        if priors and manifest.recalibration is None:
            raise ModelError(
                f"model {manifest.name}: has no recalibration, so the prior that its"
                " probabilities assume is unknown; expected no expression.priors"
            )
        return cls(
            np.array([manifest.labels.index(name) for name in EXPRESSIONS]),
            manifest.outputs["affect"].encoding == "(s-0.5)*2",
            manifest.recalibration,
            _log_priors(priors) if priors else None,
        )

    def decode(self, scores: Floats, affect: Floats) -> tuple[Floats, Floats]:
        """Return probabilities and affect.

        Args:
            scores: (n, labels), the network's first output, 0 or more; rows need not sum to 1.
            affect: (n, 2), valence and arousal as the network encodes them.

        Returns:
            Probabilities (n, 8) in the order of ``EXPRESSIONS``; zeros if all scores of a row are
            0. Valence and arousal (n, 2), -1..1.
        """
        probabilities: Floats = scores[:, self.order]  # a copy
        np.minimum(np.maximum(probabilities, 0, out=probabilities), 1, out=probabilities)
        total: Floats = np.add.reduce(probabilities, axis=1, keepdims=True)
        probabilities /= np.maximum(total, SHARE_MIN, out=total)
        values = (affect - np.float32(0.5)) * np.float32(2) if self.affect_in_0_1 else affect
        if self._arrays is not None:
            probabilities, unmixed = _recalibrated(probabilities, self._arrays, self.log_priors)
            if self._arrays.points is not None:
                values = unmixed @ self._arrays.points
        return probabilities, np.minimum(np.maximum(values, -1), 1)


def _recalibrated(
    probabilities: Floats, arrays: _Arrays, log_priors: Floats | None
) -> tuple[Floats, Floats]:
    """Return recalibrated probabilities (n, 8): to publish, and for valence and arousal.

    The first: softmax(log(p) / temperature + offsets + mixing z + log_priors), where z is log(p)
    minus its mean over the expressions. The second: the same without mixing and without priors, for
    which the valence/arousal points of the expressions were fitted. Priors move the second to the
    point of the expected expression, far from what annotators see: on 103 near-infrared photographs
    a prior of 0.7 for neutral lowered the CCC of arousal from .345 to .120.

    Temperature and mixing (matrix scaling, minus the temperature's part): C. Guo, G. Pleiss,
    Y. Sun, K. Weinberger, On Calibration of Modern Neural Networks, ICML 2017. Offsets: the
    logarithm of how much more often each expression occurs where the network is used than among
    the training pictures: M. Saerens, P. Latinne, C. Decaestecker, Adjusting the Outputs of a
    Classifier to New a Priori Probabilities, Neural Computation 2002. Priors by Bayes' rule: the
    same, equation 2.4.
    """
    logs: Floats = np.log(np.maximum(probabilities, SHARE_MIN))
    logits = logs / arrays.temperature + arrays.offsets
    unmixed = _softmax(logits)
    if arrays.mixing is None and log_priors is None:
        return unmixed, unmixed
    if arrays.mixing is not None:
        centred = logs - np.add.reduce(logs, axis=1, keepdims=True) / np.float32(logs.shape[1])
        logits = logits + centred @ arrays.mixing
    if log_priors is not None:
        logits = logits + log_priors
    return _softmax(logits), unmixed


def _log_priors(priors: Mapping[str, float]) -> Floats:
    """Return the logarithm of the prior of each expression; the unnamed share the remainder."""
    others = len(EXPRESSIONS) - len(priors)
    remainder = (1 - sum(priors.values())) / others if others else 0.0
    return np.array([math.log(priors.get(name, remainder)) for name in EXPRESSIONS], np.float32)


def _softmax(logits: Floats) -> Floats:
    exponentials: Floats = np.exp(logits - np.maximum.reduce(logits, axis=1, keepdims=True))
    total: Floats = np.add.reduce(exponentials, axis=1, keepdims=True)
    result: Floats = exponentials / total
    return result
