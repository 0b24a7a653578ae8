"""Decoder of expression networks: a classifier, and a regressor of valence and arousal if any.

With two heads (``mobilenet-fer``) the encoding follows Kalabis, *Facial expression analysis from
NIR image* (CTU Prague, 2024): a classifier, and a regressor whose outputs s in 0..1 mean
``(s - 0.5) * 2``. A ``classifier`` has the first head only; its manifest's anchors give the rest.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import replace

import numpy as np

from edge.clock import Stopwatch
from edge.errors import InferenceError, ModelError
from edge.vision.expression.crop import face_picture
from edge.vision.expression.readout import FEATURES, ROLES, Readout
from edge.vision.inference import Network
from edge.vision.translate import Translator
from edge.vision.values import Affect, Box, Floats, Frame, Prediction


class ExpressionHeads:
    """An expression network with one head or two. Owned by one thread; stateless between faces.

    ``info`` and ``golden``: see ``edge.vision.expression.ExpressionNetwork``.
    """

    def __init__(self, network: Network, priors: Mapping[str, float] | None = None) -> None:
        """Wrap ``network`` and run it once, to check that its outputs fit this decoder.

        ``priors``: how often expressions are shown, by name (see ``Readout.of``).

        Raises:
            ModelError: an output is missing or has another shape, priors or anchors do not fit
                (see ``Readout.of``), or the network fails on a black picture.
        """
        self._network = network
        manifest = network.manifest
        if manifest.input.crop is None:
            raise ModelError(f"model {manifest.name}: expected input.crop")
        self._margin = manifest.input.crop.margin
        self._size = (network.info.width, network.info.height)
        self._readout = Readout.of(manifest, priors)
        self._unknown, self._affect_source = self._readout.unknown, self._readout.affect_source
        self.info = network.info
        self.golden = manifest.golden
        self._known = self._readout.order[self._readout.order >= 0]
        shapes = {"expression": [(1, len(manifest.labels))], "affect": [(1, 2)]}
        outputs = network.warm_up({role: shapes[role] for role in ROLES[manifest.decoder]})
        features = outputs.get(FEATURES)
        self._readout.check_inputs(manifest.name, 0 if features is None else features.shape[1])

    @property
    def without_priors(self) -> "ExpressionHeads":
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
        if not (heads["expression"][0, self._known] > 0).any():
            raise InferenceError(f"{self.info.name}: no expression has any probability")
        readout = self._readout
        inputs = readout.inputs(heads["expression"], heads.get(FEATURES))
        probabilities, affect = readout.decode(heads["expression"], heads.get("affect"), inputs)
        stopwatch.lap("classify")
        return Prediction(
            probabilities[0],
            _point(affect),
            self._unknown,
            self._affect_source,
            readout.head,
            inputs if readout.takes_coefficients else None,
        )

    @property
    def takes_coefficients(self) -> bool:
        """Whether ``with_mesh`` changes anything."""
        return self._readout.takes_coefficients

    def with_mesh(self, prediction: Prediction, coefficients: Floats) -> Prediction:
        """Return the prediction with coefficients; see ``ExpressionNetwork.with_mesh``."""
        if prediction.inputs is None:
            return prediction
        affect = prediction.affect
        probabilities, values = self._readout.decode_with_mesh(
            prediction.inputs,
            coefficients[None],
            np.array([[affect.valence, affect.arousal]], np.float32),
        )
        return replace(
            prediction, probabilities=probabilities[0], affect=_point(values), head="mesh"
        )


def _point(affect: Floats) -> Affect:
    valence, arousal = affect[0].tolist()
    return Affect(valence, arousal)
