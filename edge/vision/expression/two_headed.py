"""Decoder of networks with two heads: eight expressions, and valence with arousal.

The heads and their encoding follow Kalabis, *Facial expression analysis from NIR image* (CTU
Prague, 2024): a classifier, and a regressor whose outputs s in 0..1 mean ``(s - 0.5) * 2``.
"""

from collections.abc import Mapping
from copy import copy

from edge.clock import Stopwatch
from edge.errors import InferenceError, ModelError
from edge.vision.expression.crop import face_picture
from edge.vision.expression.readout import Readout
from edge.vision.inference import Network
from edge.vision.translate import Translator
from edge.vision.values import Affect, Box, Frame, Prediction
from edge.vocabulary import EXPRESSIONS


class TwoHeadedNetwork:
    """A two-headed expression network. Owned by one thread; stateless between faces.

    ``info`` and ``golden``: see ``edge.vision.expression.ExpressionNetwork``.
    """

    def __init__(self, network: Network, priors: Mapping[str, float] | None = None) -> None:
        """Wrap ``network`` and run it once, to check that its outputs fit this decoder.

        ``priors``: how often expressions are shown, by name (see ``Readout.of``).

        Raises:
            ModelError: a label or an output is missing, an output has another shape, there are
                priors but no recalibration, or the network fails on a black picture.
        """
        self._network = network
        manifest = network.manifest
        missing = [name for name in EXPRESSIONS if name not in manifest.labels]
        if missing or manifest.input.crop is None:
            raise ModelError(
                f"model {manifest.name}: expected input.crop and the labels"
                f" {', '.join(EXPRESSIONS)}; missing: {', '.join(missing) or 'input.crop'}"
            )
        self._margin = manifest.input.crop.margin
        self._size = (network.info.width, network.info.height)
        self._readout = Readout.of(manifest, priors)
        self.info = network.info
        self.golden = manifest.golden
        network.warm_up({"expression": [(1, len(manifest.labels))], "affect": [(1, 2)]})

    @property
    def without_priors(self) -> "TwoHeadedNetwork":
        """The same network without priors."""
        other = copy(self)
        other._readout = Readout.of(self._network.manifest)
        return other

    def predict(
        self, frame: Frame, box: Box, stopwatch: Stopwatch, translator: Translator | None = None
    ) -> Prediction:
        """Return the prediction for the face in ``box``; see ``ExpressionNetwork.predict``."""
        face = face_picture(
            frame.luma,
            box,
            self._size,
            self._margin,
            stopwatch=stopwatch,
            translator=translator,
        )
        heads = self._network.run(face[None])
        if not (heads["expression"][0, self._readout.order] > 0).any():
            raise InferenceError(f"{self.info.name}: no expression has any probability")
        probabilities, affect = self._readout.decode(heads["expression"], heads["affect"])
        valence, arousal = affect[0].tolist()
        stopwatch.lap("classify")
        return Prediction(probabilities[0], Affect(valence, arousal))
