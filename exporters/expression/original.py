"""Runs the original expression network, the reference for its artifacts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from edge.errors import ModelError
from edge.validation import file_errors, first_error, prefixed
from edge.vision.expression.crop import square_crop
from edge.vision.expression.readout import Readout, order_of
from edge.vision.inference.manifest import Recalibration
from edge.vision.inference.runtimes import OnnxSession
from edge.vision.values import Box, Floats, Luma
from edge.vocabulary import EXPRESSIONS
from exporters.artifacts.input_folding import Affine, normalise_by
from exporters.artifacts.parity import sample_pictures
from exporters.expression.heads import Affect, find_heads
from exporters.expression.known import ANCHORS, IMAGENET, KNOWN, order_for
from exporters.expression.source import NORMALISATIONS, ExpressionSource, Normalisation

EPSILON: Final = 0.05
"""Added to the standard deviation by ``standardised``."""


@dataclass(frozen=True, slots=True)
class ExpressionOptions:
    """Facts about a network that the user states; None: as the file states.

    Attributes:
        normalisation: of pictures x: ``thesis``: 0..2, ``x - mean(x)``; ``standardised``: 0..1,
            ``(x - mean(x)) / (std(x) + 0.05)``; ``fixed``: ``value_range``, ``(x - mean) / std``;
            ``none``: ``value_range``.
        value_range: values of black and white, for ``fixed`` and ``none``.
        mean: for ``fixed``: one number, or one per channel.
        std: for ``fixed``: one number, or one per channel.
        margin: share of the longer side of a face's box that is added to give the square crop.
        labels: the classifier's labels, in the order of its values.
        affect: values of the regressor.
        any_network: also one without a regressor, and one that lacks some expressions.
        network: a key of ``known.KNOWN``, which states labels and preprocessing.
        channels: order of the input's three channels, ``rgb`` or ``bgr``.
        verify: refuse a network that does not see the smile of the golden face.
        recalibration: for the domain of use.
        licence: of the weights.
        citation: what to cite.
    """

    normalisation: Normalisation | None = None
    value_range: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    margin: float | None = None
    labels: tuple[str, ...] = EXPRESSIONS
    affect: Affect = "auto"
    any_network: bool = False
    network: str | None = None
    channels: str = "rgb"
    verify: bool = False
    recalibration: Recalibration | None = None
    licence: str | None = None
    citation: str | None = None


NO_OVERRIDES: Final = ExpressionOptions()

ANCHOR_POINTS: Final = tuple(ANCHORS[name] for name in EXPRESSIONS)
"""Valence and arousal of the expressions, in the order of ``EXPRESSIONS``."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """Preprocessing of pictures: the options, completed from the file.

    Attributes:
        normalisation: see ``ExpressionOptions``.
        value_range: values of black and white.
        affine: fixed function of each channel after that.
        margin: of the crop.
        options: the user's options.
    """

    normalisation: Normalisation
    value_range: tuple[float, float]
    affine: Affine
    margin: float
    options: ExpressionOptions


def resolve(options: ExpressionOptions, source: ExpressionSource, weights: Path) -> Preparation:
    """Return the preprocessing from the options and the file.

    Raises:
        ModelError: neither states how pictures are normalised, or an option is wrong; one line.
    """
    kind = options.normalisation or source.normalisation
    if kind is None:
        raise ModelError(
            f"--weights {weights}: neither the file nor its names say how pictures are normalised;"
            f" give --normalisation {'|'.join(NORMALISATIONS)}"
        )
    if options.verify and source.normalisation not in (None, kind):
        raise ModelError(
            f"--normalisation {kind}: the file or the names in it state {source.normalisation};"
            " leave it out, or give --unverified"
        )
    low, high = options.value_range or (0.0, 1.0)
    if options.value_range is not None and kind not in ("fixed", "none"):
        raise ModelError(f"--value-range {low:g} {high:g}: {kind} has its own; leave it out")
    if not (np.isfinite([low, high]).all() and low < high):
        raise ModelError(f"--value-range {low:g} {high:g}: expected low before high")
    arrays = []
    for option, given in (("--mean", options.mean), ("--std", options.std)):
        text = " ".join(f"{each:g}" for each in given or ())
        if (given is not None) is not (kind == "fixed"):
            raise ModelError(
                f"{option} {text or '(none)'}: goes with --normalisation fixed, and fixed with it"
            )
        values = np.array(given if given is not None else (1.0,), np.float64)
        if len(values) not in (1, source.channels) or not np.isfinite(values).all():
            raise ModelError(f"{option} {text}: expected 1 or {source.channels} numbers")
        if option == "--std" and (values <= 0).any():
            raise ModelError(f"--std {text}: expected more than 0")
        arrays.append(values)
    affine = normalise_by(source.channels, np.zeros(1), np.ones(1))
    if kind == "fixed":
        affine = normalise_by(source.channels, *arrays)
    margin = options.margin if options.margin is not None else source.margin or 0.0
    if not 0 <= margin <= 1:
        raise ModelError(f"--margin {margin:g}: expected a share of the face's box, 0 to 1")
    value_range = {"thesis": (0.0, 2.0), "standardised": (0.0, 1.0)}.get(kind, (low, high))
    return Preparation(kind, value_range, affine, margin, options)


def _with_known(options: ExpressionOptions, sizes: Mapping[str, int]) -> ExpressionOptions:
    """Return the options, completed from the table of known networks.

    Args:
        options: the user's; those that the table states are not among them.
        sizes: number of values of each output of the network.

    Raises:
        ModelError: the network has another number of classes.
    """
    if options.network is None:
        return options
    known = KNOWN[options.network]
    mean, std = IMAGENET
    return replace(
        options,
        labels=order_for(options.network, sizes) if known.orders else options.labels,
        normalisation="fixed",
        mean=mean,
        std=std,
        affect=known.affect if options.affect == "auto" else options.affect,
        citation=options.citation or known.citation or None,
    )


def read_recalibration(path: Path | None) -> Recalibration | None:
    """Return the recalibration in the JSON file ``path``; None without a path.

    Raises:
        ModelError: it cannot be read or is not valid; one line.
    """
    if path is None:
        return None
    with file_errors("--recalibration", path):
        content = path.read_bytes()
    try:
        return Recalibration.model_validate_json(content)
    except ValidationError as error:
        raise ModelError(f"--recalibration {path}: {first_error(error)}") from error


def check_labels(labels: Sequence[str], *, some: bool = False) -> None:
    """Check that ``labels`` names every expression once; with ``some``: two or more of them.

    Raises:
        ModelError: they do not; one line.
    """
    if some:
        wrong = [label for label in labels if label not in EXPRESSIONS]
        if wrong or len(set(labels)) != len(labels) or len(labels) < _LABELS_MIN:
            reason = f"unknown: {', '.join(wrong)}" if wrong else "one is there twice, or too few"
            raise ModelError(
                f"--labels {','.join(labels)}: expected some of {', '.join(EXPRESSIONS)}, once, in"
                f" the order of the network's values; {reason}"
            )
        return
    missing = [name for name in EXPRESSIONS if name not in labels]
    if missing or len(set(labels)) != len(labels):
        raise ModelError(
            f"--labels {','.join(labels)}: expected each of {', '.join(EXPRESSIONS)}, once, in the"
            f" order of the network's values; {'missing: ' if missing else 'one is there twice'}"
            f"{', '.join(missing)}"
        )


_LABELS_MIN: Final = 2


class Original:
    """The original network, the reference for its artifacts.

    Attributes:
        source: the checkpoint.
        preparation: preprocessing of its pictures.
        expression: its classifier.
        affect: its regressor; None if it has none.
    """

    def __init__(self, source: ExpressionSource, options: ExpressionOptions, weights: Path) -> None:
        """Load the network and find its heads.

        Raises:
            ModelError: it does not run, has other heads, or an option is wrong; one line.
        """
        self.source = source
        self._weights = weights
        with prefixed(f"--weights {weights}"):
            self._session = OnnxSession(source.model.SerializeToString(), 1)
            # any pictures will do: they show shapes, and whether values are probabilities
            outputs = [
                self._session.run(self._to_layout(picture.astype(np.float64) / 255))
                for picture in sample_pictures(*source.size)
            ]
            options = _with_known(options, {name: each.size for name, each in outputs[0].items()})
            self.expression, self.affect = find_heads(
                source.model,
                outputs,
                options.labels,
                options.affect,
                needs_affect=not options.any_network,
            )
        self.preparation = resolve(options, source, weights)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classifier's labels, in the order of its values."""
        return self.preparation.options.labels

    def tensor(self, picture: Luma, preparation: Preparation | None = None) -> Floats:
        """Return the network's input tensor for a mono picture, preprocessed as in training.

        Args:
            picture: uint8 (height, width), of the input's size.
            preparation: other preprocessing; None: the network's.
        """
        preparation = preparation or self.preparation
        low, high = preparation.value_range
        pixels = picture.astype(np.float64) / 255 * (high - low) + low
        if preparation.normalisation in ("thesis", "standardised"):
            pixels = pixels - pixels.mean()
        if preparation.normalisation == "standardised":
            pixels = pixels / (pixels.std() + EPSILON)
        return self._to_layout(pixels, preparation.affine)

    def classes(self, picture: Luma, preparation: Preparation | None = None) -> Floats:
        """Return the probabilities (labels,) for a picture, in the network's order."""
        outputs = self._session.run(self.tensor(picture, preparation))
        shares: Floats = self.expression.values(outputs)[0]
        return shares

    def _to_layout(self, pixels: NDArray[np.float64], affine: Affine | None = None) -> Floats:
        planes = np.repeat(pixels[None], self.source.channels, axis=0)
        if affine is not None:
            planes = planes * affine.scale[:, None, None] + affine.shift[:, None, None]
        if self.source.layout == "nhwc":
            planes = planes.transpose(1, 2, 0)
        return np.ascontiguousarray(planes[None], np.float32)

    def heads(self, picture: Luma, preparation: Preparation | None = None) -> dict[str, Floats]:
        """Return probabilities and the regressor's values, if any, for a picture of its size.

        With another ``preparation``: as ``tensor``.

        Raises:
            ModelError: they are not finite.
            InferenceError: the runtime failed.
        """
        outputs = self._session.run(self.tensor(picture, preparation))
        heads = {"expression": self.expression.values(outputs)}
        if self.affect is not None:
            heads["affect"] = self.affect.values(outputs)
        for role, values in heads.items():
            if not np.isfinite(values).all():
                raise ModelError(
                    f"--weights {self._weights}: its {role} is not finite for a plain picture;"
                    " train or export it again"
                )
        return heads

    def predict_reversed(self, picture: Luma, box: Box) -> tuple[list[float], tuple[float, float]]:
        """Return what ``predict`` would with the normalisation of the channels in reverse order."""
        affine = self.preparation.affine
        wrong = Affine(affine.scale[::-1], affine.shift[::-1])
        return self.predict(picture, box, replace(self.preparation, affine=wrong))

    @property
    def has_ordered_channels(self) -> bool:
        """Whether the normalisation of its channels depends on their order."""
        affine = self.preparation.affine
        return not all((each == each[::-1]).all() for each in (affine.scale, affine.shift))

    def predict(
        self, picture: Luma, box: Box, preparation: Preparation | None = None
    ) -> tuple[list[float], tuple[float, float]]:
        """Return probabilities in the order of ``EXPRESSIONS``, and (valence, arousal)."""
        crop = square_crop(picture, box, self.source.size, self.preparation.margin)
        heads = self.heads(crop, preparation)
        readout = Readout(
            order_of(self.labels),
            self.affect is not None and not self.affect.signed,
            self.preparation.options.recalibration,
            anchors=None if self.affect is not None else np.array(ANCHOR_POINTS, np.float32),
        )
        shares, point = readout.decode(heads["expression"], heads.get("affect"))
        valence, arousal = point[0].tolist()
        return shares[0].tolist(), (valence, arousal)
