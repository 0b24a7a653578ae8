"""Schema of a head of an expression network that was fitted to annotated pictures."""

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from edge.vision.inference.part import Coordinate, Part, Positive, Text
from edge.vocabulary import EXPRESSIONS

HeadInput = Literal["logits", "features", "coefficients"]
"""What a fitted head reads. ``logits``: the logarithms of the network's probabilities minus their
mean, in the order of ``EXPRESSIONS``. ``features``: the network's output of that role.
``coefficients``: the logarithms of the face mesh's coefficients plus 0.01, in the order of
``edge.vision.mesh.names.COEFFICIENTS``."""

_INPUTS: Final = (
    ("logits", "features"),
    ("logits", "features", "coefficients"),
    ("logits", "coefficients"),
)

_WEIGHT_MAX: Final = 1000.0

_PerExpression = Annotated[
    tuple[Coordinate, ...], Field(min_length=len(EXPRESSIONS), max_length=len(EXPRESSIONS))
]


class FittedHead(Part):
    """A linear classifier of the expressions, fitted to annotated pictures of the domain of use.

    The softmax of ``bias + weights @ inputs`` are the probabilities for a uniform class prior.
    Applied by ``edge.vision.expression.readout``.

    Attributes:
        kind: ``multinomial``, the only kind.
        inputs: what it reads, in this order.
        fitted_on: description of the pictures.
        samples: number of the pictures.
        people: number of people on them.
        penalty: C of the fit, the inverse strength of its L2 penalty.
        recalibrated: share of the recalibrated network in the logits, 0..1; the rest was fitted.
        weights: a row of text per expression, in the order of ``EXPRESSIONS``: its bias, then the
            weight of each input, separated by blanks.
        valence: of each expression; the mean under the head's probabilities is a face's valence.
            None: valence stays that of the recalibration.
        arousal: the same for arousal.
    """

    kind: Literal["multinomial"]
    inputs: tuple[HeadInput, ...]
    fitted_on: Text
    samples: int = Field(ge=1)
    people: int = Field(ge=1)
    penalty: Positive
    recalibrated: float = Field(ge=0, le=1)
    weights: tuple[Text, ...] = Field(min_length=len(EXPRESSIONS), max_length=len(EXPRESSIONS))
    valence: _PerExpression | None = None
    arousal: _PerExpression | None = None

    @property
    def rows(self) -> list[list[float]]:
        """The numbers of ``weights``: for each expression its bias, then its weights."""
        return [[float(word) for word in row.split()] for row in self.weights]

    @property
    def takes_coefficients(self) -> bool:
        """Whether it reads the face mesh's coefficients."""
        return "coefficients" in self.inputs

    @model_validator(mode="after")
    def _rows_of_numbers(self) -> "FittedHead":
        if self.inputs not in _INPUTS:
            expected = " or ".join(" ".join(each) for each in _INPUTS)
            raise ValueError(f"inputs: {' '.join(self.inputs)}; expected {expected}")
        try:
            rows = self.rows
        except ValueError as error:
            raise ValueError(f"weights: {error}; expected numbers separated by blanks") from error
        if len({len(row) for row in rows}) != 1:
            raise ValueError("weights: expected rows of one length")
        if not all(abs(value) <= _WEIGHT_MAX for row in rows for value in row):
            raise ValueError(f"weights: expected numbers of -{_WEIGHT_MAX:g} to {_WEIGHT_MAX:g}")
        return self
