"""What the outputs of an expression network mean: probabilities and a point of the circumplex.

The one place that turns a manifest's labels, encoding and recalibration into readings: the daemon,
the exporters' parity and the benchmarks all read through it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.models.manifest import Manifest, Recalibration
from edge.values import EXPRESSIONS, Floats

_SHARE_MIN: Final = np.float32(1e-12)
"""A probability that a float rounded to nothing still has a logarithm."""


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
    def of(cls, manifest: Manifest) -> "Readout":
        """Return how an expression network with ``manifest`` is read."""
        return cls(
            np.array([manifest.labels.index(name) for name in EXPRESSIONS]),
            manifest.outputs["affect"].encoding == "(s-0.5)*2",
            manifest.recalibration,
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
        probabilities: Floats = kept / np.maximum(total, _SHARE_MIN)
        values = (affect - np.float32(0.5)) * np.float32(2) if self.halved else affect
        if self.recalibration is not None:
            probabilities = recalibrated(probabilities, self.recalibration)
            if self.recalibration.points is not None:
                values = probabilities @ np.array(self.recalibration.points, np.float32)
        return probabilities, np.clip(values, -1, 1)


def recalibrated(probabilities: Floats, recalibration: Recalibration) -> Floats:
    """Return ``p ** (1 / temperature) * exp(offsets)``, each row summing to 1.

    Temperature: C. Guo, G. Pleiss, Y. Sun, K. Weinberger, On Calibration of Modern Neural
    Networks, ICML 2017. Offsets: the logarithm of how much more often each expression is shown in
    the setting than among the pictures trained on: M. Saerens, P. Latinne, C. Decaestecker,
    Adjusting the Outputs of a Classifier to New a Priori Probabilities, Neural Computation 2002.
    """
    temperature = np.float32(recalibration.temperature)
    logs = np.log(np.maximum(probabilities, _SHARE_MIN)) / temperature
    logs = logs + np.array(recalibration.offsets, np.float32)
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    result: Floats = powers / powers.sum(axis=1, keepdims=True)
    return result
