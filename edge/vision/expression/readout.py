"""Converts the outputs of an expression network to probabilities, valence and arousal.

A network without a second output gets valence and arousal from its manifest's anchors. Expressions
that it does not know have the probability 0 here, and ``unknown`` names them. A manifest with
fitted heads gives the probabilities, and valence or arousal where a head has points for them, from
the network's features, and from the face mesh's coefficients where they are known.

Only this module applies a manifest's labels, encoding, recalibration and heads: the daemon, the
exporters' parity figures and the benchmarks all use it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelError
from edge.vision.inference.fitted_head import FittedHead
from edge.vision.inference.manifest import Manifest, Recalibration
from edge.vision.mesh.names import COEFFICIENTS
from edge.vision.values import Floats
from edge.vocabulary import EXPRESSIONS, AffectSource, HeadName

ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "mobilenet-fer": ("expression", "affect"),
    "classifier": ("expression",),
}
"""Decoder -> the output roles that it needs."""

FEATURES: Final = "features"
"""The output role of the numbers from which a network's heads are computed; not every network has
it."""

COEFFICIENT_OFFSET: Final = np.float32(0.01)
"""Added to coefficients before the logarithm: most are close to 0, and their steps there matter."""

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


class _Head(NamedTuple):
    """A fitted head as arrays.

    Attributes:
        bias: (8,).
        weights: (inputs, 8).
        points: axis (0 valence, 1 arousal) -> (8,), its value of each expression.
    """

    bias: Floats
    weights: Floats
    points: Mapping[int, Floats]

    @classmethod
    def of(cls, head: FittedHead) -> Self:
        """Return the arrays of ``head``."""
        rows = np.array(head.rows, np.float32)
        axes = ((0, head.valence), (1, head.arousal))
        points = {axis: np.array(each, np.float32) for axis, each in axes if each is not None}
        return cls(rows[:, 0], np.ascontiguousarray(rows[:, 1:].T), points)

    def check(self, name: str, inputs: int) -> None:
        """Check that it reads so many inputs; ``name`` is that of the model.

        Raises:
            ModelError: it has another number of weights.
        """
        if len(self.weights) != inputs:
            raise ModelError(
                f"model {name}: a fitted head has {len(self.weights)} weights for each expression,"
                f" expected {inputs}; fit it again"
            )

    def decode(
        self, inputs: Floats, affect: Floats, log_priors: Floats | None
    ) -> tuple[Floats, Floats]:
        """Return probabilities (n, 8) and affect (n, 2): ``affect`` where it has no points."""
        logits = inputs @ self.weights + self.bias
        probabilities = uniform = _softmax(logits, None)
        if log_priors is not None:
            probabilities = _softmax(logits + log_priors, None)
        affect = affect.copy()
        for axis, points in self.points.items():
            affect[:, axis] = np.minimum(np.maximum(uniform @ points, -1), 1)
        return probabilities, affect


@dataclass(frozen=True, slots=True)
class Readout:
    """Converts the outputs for n faces. Stateless; safe from any thread.

    Attributes:
        order: position of each of ``EXPRESSIONS`` among the network's labels; -1: unknown to it.
        affect_in_0_1: whether the affect output s is in 0..1 and means ``(s - 0.5) * 2``.
        recalibration: adapts the outputs to a domain; None: they stay unchanged.
        log_priors: (8,), logarithms of class priors; None: a uniform class prior. They weigh the
            probabilities only: valence and arousal stay the same.
        anchors: (8, 2), valence and arousal of the expressions, for a network without an affect
            output; None: it has one.
        heads: fitted heads: none, one without coefficients, one with them, or both.
    """

    order: NDArray[np.intp]
    affect_in_0_1: bool
    recalibration: Recalibration | None
    log_priors: Floats | None = None
    anchors: Floats | None = None
    heads: tuple[FittedHead, ...] = ()
    _plain: _Head | None = field(init=False, repr=False, compare=False)
    _with_mesh: _Head | None = field(init=False, repr=False, compare=False)
    _arrays: _Arrays | None = field(init=False, repr=False, compare=False)
    _known: NDArray[np.bool_] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        arrays = None if self.recalibration is None else _Arrays.of(self.recalibration)
        found = {head.takes_coefficients: _Head.of(head) for head in self.heads}
        if arrays is not None and False in found:
            # valence and arousal do without mixing, and the head gives the probabilities
            arrays = arrays._replace(mixing=None)
        object.__setattr__(self, "_arrays", arrays)
        object.__setattr__(self, "_plain", found.get(False))
        object.__setattr__(self, "_with_mesh", found.get(True))
        known = self.order >= 0
        object.__setattr__(self, "_known", None if known.all() else known)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The expressions that the network does not know."""
        return tuple(name for name, place in zip(EXPRESSIONS, self.order, strict=True) if place < 0)

    @property
    def takes_features(self) -> bool:
        """Whether ``inputs`` needs the network's features."""
        return any("features" in head.inputs for head in self.heads)

    @property
    def takes_coefficients(self) -> bool:
        """Whether there is a head that reads the face mesh's coefficients."""
        return self._with_mesh is not None

    @property
    def head(self) -> HeadName:
        """What gives the probabilities without coefficients."""
        return "network" if self._plain is None else "features"

    @property
    def affect_source(self) -> AffectSource:
        """Where valence and arousal come from."""
        if self.recalibration is not None and self.recalibration.points is not None:
            return "recalibration"
        return "network" if self.anchors is None else "anchors"

    @classmethod
    def of(cls, manifest: Manifest, priors: Mapping[str, float] | None = None) -> "Readout":
        """Return the conversion for a network with ``manifest``.

        ``priors`` are class priors by expression name. If not all are named, their sum is less
        than 1, and the others share the remainder equally. Priors need a recalibration, because
        it assumes a uniform class prior: without one, the prior to replace is unknown. Priors
        change the probabilities only.

        Raises:
            ModelError: an output or the anchors are missing, there are priors but no recalibration,
                or a prior is of an expression that the network does not know.
        """
        roles = ROLES.get(manifest.decoder, ROLES["mobilenet-fer"])
        heads = manifest.heads or ()
        reads_features = any(FEATURES in head.inputs for head in heads)
        manifest.require_outputs([*roles, FEATURES] if reads_features else roles)
        anchors = None
        if "affect" not in roles:
            if manifest.anchors is None:
                raise ModelError(
                    f"model {manifest.name}: decoder {manifest.decoder!r} also needs anchors, for"
                    " valence and arousal; export the model again"
                )
            anchors = np.array(manifest.anchors.points, np.float32)
        if priors and manifest.recalibration is None:
            raise ModelError(
                f"model {manifest.name}: has no recalibration, so the prior that its"
                " probabilities assume is unknown; expected no expression.priors"
            )
        order = order_of(manifest.labels)
        known = [name for name, place in zip(EXPRESSIONS, order, strict=True) if place >= 0]
        if unknown := sorted(set(priors or ()) - set(known)):
            raise ModelError(
                f"model {manifest.name}: does not know {', '.join(unknown)}; expected"
                f" expression.priors of {', '.join(known)}"
            )
        return cls(
            order,
            anchors is None and manifest.outputs["affect"].encoding == "(s-0.5)*2",
            manifest.recalibration,
            _log_priors(priors, known) if priors else None,
            anchors,
            heads,
        )

    def check_inputs(self, name: str, features: int) -> None:
        """Check that the heads read as many inputs as there are.

        Args:
            name: of the model.
            features: number of the network's features; 0 if it gives none.

        Raises:
            ModelError: a head reads another number.
        """
        count = len(EXPRESSIONS) + (features if self.takes_features else 0)
        if self._plain is not None:
            self._plain.check(name, count)
        if self._with_mesh is not None:
            self._with_mesh.check(name, count + len(COEFFICIENTS))

    def decode(
        self, scores: Floats, affect: Floats | None = None, inputs: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """Return probabilities and affect, without coefficients.

        Args:
            scores: (n, labels), the network's first output, 0 or more; rows need not sum to 1.
            affect: (n, 2), valence and arousal as the network encodes them; not needed with
                anchors.
            inputs: from ``inputs``, needed with heads.

        Returns:
            Probabilities (n, 8) in the order of ``EXPRESSIONS``; zeros if all scores of a row are
            0. Valence and arousal (n, 2), -1..1.
        """
        known = self._known
        probabilities: Floats = scores[:, self.order]  # a copy
        if known is not None:
            probabilities[:, ~known] = 0
        np.minimum(np.maximum(probabilities, 0, out=probabilities), 1, out=probabilities)
        total: Floats = np.add.reduce(probabilities, axis=1, keepdims=True)
        probabilities /= np.maximum(total, SHARE_MIN, out=total)
        points, unmixed = self.anchors, probabilities
        if self._arrays is not None:
            log_priors = self.log_priors if self._plain is None else None
            probabilities, unmixed = _recalibrated(probabilities, self._arrays, log_priors, known)
            points = points if self._arrays.points is None else self._arrays.points
        if points is not None:
            values: Floats = unmixed @ points
        elif affect is None:
            raise ValueError("no affect output and no anchors")
        else:
            values = (affect - np.float32(0.5)) * np.float32(2) if self.affect_in_0_1 else affect
        values = np.minimum(np.maximum(values, -1), 1)
        if self._plain is None:
            return probabilities, values
        if inputs is None:
            raise ValueError("a fitted head, but no inputs")
        return self._plain.decode(inputs, values, self.log_priors)

    def inputs(self, scores: Floats, features: Floats | None = None) -> Floats | None:
        """Return what fitted heads read besides coefficients, (n, 8 + m); None without heads.

        Args:
            scores: as for ``decode``.
            features: (n, m), the network's features, needed if ``takes_features``.
        """
        if not self.heads:
            return None
        shares = np.maximum(scores[:, self.order], SHARE_MIN)
        logs: Floats = np.log(shares)
        logs -= np.add.reduce(logs, axis=1, keepdims=True) / np.float32(logs.shape[1])
        if not self.takes_features:
            return logs
        if features is None:
            raise ValueError("a head for features, but none given")
        return np.concatenate([logs, features], axis=1)

    def decode_with_mesh(
        self, inputs: Floats, coefficients: Floats, affect: Floats
    ) -> tuple[Floats, Floats]:
        """Return probabilities (n, 8) and affect (n, 2), as ``decode``, with coefficients.

        Args:
            inputs: from ``inputs``.
            coefficients: (n, 52), of the face mesh.
            affect: (n, 2), from ``decode``.
        """
        if self._with_mesh is None:
            raise ValueError("no head for coefficients")
        logs = np.log(np.maximum(coefficients, 0) + COEFFICIENT_OFFSET)
        both = np.concatenate([inputs, logs], axis=1)
        return self._with_mesh.decode(both, affect, self.log_priors)


def order_of(labels: Sequence[str]) -> NDArray[np.intp]:
    """Return the position of each of ``EXPRESSIONS`` in ``labels``; -1 if it is not there."""
    return np.array([labels.index(name) if name in labels else -1 for name in EXPRESSIONS])


def _recalibrated(
    probabilities: Floats,
    arrays: _Arrays,
    log_priors: Floats | None,
    known: NDArray[np.bool_] | None,
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
    if known is not None:  # an unknown expression has no part in the mean, nor in any other logit
        middle = logs[:, known].mean(axis=1, keepdims=True)
        logs[:, ~known] = middle
    logits = logs / arrays.temperature + arrays.offsets
    unmixed = _softmax(logits, known)
    if arrays.mixing is None and log_priors is None:
        return unmixed, unmixed
    if arrays.mixing is not None:
        centred = logs - np.add.reduce(logs, axis=1, keepdims=True) / np.float32(logs.shape[1])
        logits = logits + centred @ arrays.mixing
    if log_priors is not None:
        logits = logits + log_priors
    return _softmax(logits, known), unmixed


def _log_priors(priors: Mapping[str, float], known: Sequence[str]) -> Floats:
    """Return the logarithm of the prior of each expression; the unnamed share the remainder."""
    others = len(known) - len(priors)
    remainder = (1 - sum(priors.values())) / others if others else 0.0
    return np.array(
        # what is unknown gets no probability at all, whatever its prior
        [math.log(priors.get(name, remainder)) if name in known else 0.0 for name in EXPRESSIONS],
        np.float32,
    )


def _softmax(logits: Floats, known: NDArray[np.bool_] | None) -> Floats:
    if known is not None:
        logits = np.where(known, logits, np.float32(-np.inf))
    exponentials: Floats = np.exp(logits - np.maximum.reduce(logits, axis=1, keepdims=True))
    total: Floats = np.add.reduce(exponentials, axis=1, keepdims=True)
    result: Floats = exponentials / total
    return result
