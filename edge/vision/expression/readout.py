"""What the outputs of an expression network mean: probabilities and a point of the circumplex.

The one place that turns a manifest's labels, encoding and recalibration into readings: the daemon,
the exporters' parity and the benchmarks all read through it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelError
from edge.vision.inference.manifest import Manifest, Recalibration
from edge.vision.values import Floats
from edge.vocabulary import EXPRESSIONS

ROLES: Final = ("expression", "affect")
"""The output roles that a two-headed network must have."""

SHARE_MIN: Final = np.float32(1e-12)
"""A probability that a float rounded to nothing still has a logarithm; lower ones count as this."""


@dataclass(frozen=True, slots=True)
class Readout:
    """Reads the two outputs of n faces. Stateless; safe from any thread.

    Attributes:
        order: where each of ``EXPRESSIONS`` stands among the network's labels.
        halved: whether the second output s in 0..1 means ``(s - 0.5) * 2``.
        recalibration: what a setting makes of the answers; None: nothing.
    """

    order: NDArray[np.intp]
    halved: bool
    recalibration: Recalibration | None

    @classmethod
    def of(cls, manifest: Manifest, priors: Mapping[str, float] | None = None) -> "Readout":
        """Return how an expression network with ``manifest`` is read.

        ``priors`` says how often expressions are shown: shares by name, in all less than 1 where
        not all are named; the others share the rest equally. They need a recalibration, which
        takes all for as common: only then is known what they replace.

        Raises:
            ModelError: an output is missing, or there are priors but no recalibration.
        """
        manifest.require_outputs(ROLES)
        setting = manifest.recalibration
        if priors:
            if setting is None:
                raise ModelError(
                    f"model {manifest.name}: has no recalibration, so that nobody knows what its"
                    " answers take for likely; expected no expression.priors"
                )
            setting = _under(priors, setting)
        return cls(
            np.array([manifest.labels.index(name) for name in EXPRESSIONS]),
            manifest.outputs["affect"].encoding == "(s-0.5)*2",
            setting,
        )

    def read(self, shares: Floats, affect: Floats) -> tuple[Floats, Floats]:
        """Return probabilities (n, 8) in the order of ``EXPRESSIONS``, and (n, 2) in -1..1.

        Args:
            shares: (n, labels) as the network gives them, 0 or more.
            affect: (n, 2), valence and arousal as the network encodes them.

        Rows of ``shares`` that are nothing but zeros stay so.
        """
        kept = np.clip(shares[:, self.order], 0, 1)
        total = kept.sum(axis=1, keepdims=True)
        probabilities: Floats = kept / np.maximum(total, SHARE_MIN)
        values = (affect - np.float32(0.5)) * np.float32(2) if self.halved else affect
        setting = self.recalibration
        if setting is not None:
            probabilities, unmixed = recalibrated(probabilities, setting)
            if setting.points is not None:
                values = unmixed @ np.array(setting.points, np.float32)
        return probabilities, np.clip(values, -1, 1)


def recalibrated(probabilities: Floats, recalibration: Recalibration) -> tuple[Floats, Floats]:
    """Return what a setting makes of probabilities (n, 8), with and without its mixing.

    softmax(log(p) / temperature + offsets + mixing z) and the same without mixing, where z is
    log(p) less its mean over the expressions.

    Temperature and mixing (matrix scaling, less what the temperature gives): C. Guo, G. Pleiss,
    Y. Sun, K. Weinberger, On Calibration of Modern Neural Networks, ICML 2017. Offsets: the
    logarithm of how much more often each expression is shown in the setting than among the
    pictures trained on: M. Saerens, P. Latinne, C. Decaestecker, Adjusting the Outputs of a
    Classifier to New a Priori Probabilities, Neural Computation 2002.
    """
    logs: Floats = np.log(np.maximum(probabilities, SHARE_MIN))
    logits = logs / np.float32(recalibration.temperature)
    logits = logits + np.array(recalibration.offsets, np.float32)
    unmixed = _softmax(logits)
    if recalibration.mixing is None:
        return unmixed, unmixed
    centred = logs - logs.mean(axis=1, keepdims=True)
    mixed: Floats = centred @ np.array(recalibration.mixing, np.float32).T
    return _softmax(logits + mixed), unmixed


def _under(priors: Mapping[str, float], setting: Recalibration) -> Recalibration:
    """Return ``setting``, which took all expressions for as common, under ``priors``.

    A probability times its prior is the prior's logarithm more in its logit: Bayes' rule, as in
    Saerens et al. 2002 (see ``recalibrated``), equation 2.4.
    """
    others = len(EXPRESSIONS) - len(priors)
    rest = (1 - sum(priors.values())) / others if others else 0.0
    offsets = [
        offset + math.log(priors.get(name, rest))
        for name, offset in zip(EXPRESSIONS, setting.offsets, strict=True)
    ]
    return setting.model_copy(update={"offsets": tuple(offsets)})


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Floats = powers / powers.sum(axis=1, keepdims=True)
    return result
