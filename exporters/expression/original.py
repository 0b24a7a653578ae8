"""Runs the original expression network, the reference for its artifacts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from edge.errors import ModelError
from edge.validation import file_errors, first_error, prefixed
from edge.vision.expression.crop import square_crop
from edge.vision.expression.readout import Readout
from edge.vision.inference.manifest import Recalibration
from edge.vision.inference.runtimes import OnnxSession
from edge.vision.values import Box, Floats, Luma
from edge.vocabulary import EXPRESSIONS
from exporters.artifacts.input_folding import Affine, normalise_by
from exporters.artifacts.parity import sample_pictures
from exporters.expression.heads import Affect, find_heads
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
    recalibration: Recalibration | None = None
    licence: str | None = None
    citation: str | None = None


NO_OVERRIDES: Final = ExpressionOptions()


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


def check_labels(labels: Sequence[str]) -> None:
    """Check that ``labels`` names every expression once.

    Raises:
        ModelError: they do not; one line.
    """
    missing = [name for name in EXPRESSIONS if name not in labels]
    if missing or len(set(labels)) != len(labels):
        raise ModelError(
            f"--labels {','.join(labels)}: expected each of {', '.join(EXPRESSIONS)}, once, in the"
            f" order of the network's values; {'missing: ' if missing else 'one is there twice'}"
            f"{', '.join(missing)}"
        )


class Original:
    """The original network, the reference for its artifacts.

    Attributes:
        source: the checkpoint.
        preparation: preprocessing of its pictures.
        expression: its classifier.
        affect: its regressor.
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
            self.expression, self.affect = find_heads(
                source.model, outputs, options.labels, options.affect
            )
        self.preparation = resolve(options, source, weights)

    def tensor(self, picture: Luma) -> Floats:
        """Return the network's input tensor for a mono picture, preprocessed as in training."""
        low, high = self.preparation.value_range
        pixels = picture.astype(np.float64) / 255 * (high - low) + low
        if self.preparation.normalisation in ("thesis", "standardised"):
            pixels = pixels - pixels.mean()
        if self.preparation.normalisation == "standardised":
            pixels = pixels / (pixels.std() + EPSILON)
        return self._to_layout(pixels, self.preparation.affine)

    def _to_layout(self, pixels: NDArray[np.float64], affine: Affine | None = None) -> Floats:
        planes = np.repeat(pixels[None], self.source.channels, axis=0)
        if affine is not None:
            planes = planes * affine.scale[:, None, None] + affine.shift[:, None, None]
        if self.source.layout == "nhwc":
            planes = planes.transpose(1, 2, 0)
        return np.ascontiguousarray(planes[None], np.float32)

    def heads(self, picture: Luma) -> dict[str, Floats]:
        """Return probabilities and the regressor's values for a picture of its size.

        Raises:
            ModelError: they are not finite.
            InferenceError: the runtime failed.
        """
        outputs = self._session.run(self.tensor(picture))
        heads = {
            "expression": self.expression.values(outputs),
            "affect": self.affect.values(outputs),
        }
        for role, values in heads.items():
            if not np.isfinite(values).all():
                raise ModelError(
                    f"--weights {self._weights}: its {role} is not finite for a plain picture;"
                    " train or export it again"
                )
        return heads

    def predict(self, picture: Luma, box: Box) -> tuple[list[float], tuple[float, float]]:
        """Return probabilities in the order of ``EXPRESSIONS``, and (valence, arousal)."""
        crop = square_crop(picture, box, self.source.size, self.preparation.margin)
        heads = self.heads(crop)
        options = self.preparation.options
        order = np.array([options.labels.index(name) for name in EXPRESSIONS])
        readout = Readout(order, not self.affect.signed, options.recalibration)
        shares, point = readout.decode(heads["expression"], heads["affect"])
        valence, arousal = point[0].tolist()
        return shares[0].tolist(), (valence, arousal)
