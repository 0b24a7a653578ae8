"""Schema of a manifest's ``golden``: expected answers for ``edge.vision.golden``."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge.vision.inference.part import Part, Positive, Sha256
from edge.vocabulary import EXPRESSIONS


class DetectionTolerance(Part):
    """Tolerances of a detector on the golden face.

    Minimum intersection over union, maximum landmark distance relative to the box's height, maximum
    difference of the score.
    """

    iou_min: float = Field(gt=0, le=1)
    landmark_max: Positive
    score_max: Positive


class DetectionGolden(DetectionTolerance):
    """Expected answer of a detector: one box, its landmarks (None: it gives none), its score.

    ``int8``: wider tolerances for integer artifacts, which deviate by quantisation.
    """

    kind: Literal["detection"]
    picture_sha256: Sha256
    box: tuple[float, float, float, float]
    landmarks: tuple[tuple[float, float], ...] | None = Field(None, min_length=5, max_length=5)
    score: float = Field(ge=0, le=1)
    int8: DetectionTolerance | None = None

    def tolerance(self, precision: str) -> DetectionTolerance:
        """Return the tolerances of artifacts of ``precision``."""
        return self.int8 if precision == "int8" and self.int8 else self


class GoldenPrediction(Part):
    """Expected prediction for one ``box`` of the golden picture.

    Expressions that the network does not know have no probability.
    """

    box: tuple[float, float, float, float]
    probabilities: dict[str, Annotated[float, Field(ge=0, le=1)]]
    valence: float = Field(ge=-1, le=1)
    arousal: float = Field(ge=-1, le=1)

    @model_validator(mode="after")
    def _complete(self) -> "GoldenPrediction":
        if not self.probabilities or not set(self.probabilities) <= set(EXPRESSIONS):
            raise ValueError(f"golden probabilities: expected some of {', '.join(EXPRESSIONS)}")
        return self


class ExpressionTolerance(Part):
    """Tolerances of an expression network on the golden face.

    Maximum difference of a probability, of its natural logarithm (it shows swapped labels that are
    all unlikely), and of valence and arousal.
    """

    probability_max: Positive
    log_probability_max: Positive
    affect_max: Positive


class ExpressionGolden(ExpressionTolerance):
    """Expected predictions of an expression network for parts of the golden picture.

    ``readings``: the predictions; together they should separate all labels, so that two swapped
    labels are found.
    ``int8``: wider tolerances for integer artifacts, which deviate by quantisation.
    """

    kind: Literal["expression"]
    picture_sha256: Sha256
    readings: tuple[GoldenPrediction, ...] = Field(min_length=1)
    int8: ExpressionTolerance | None = None

    def tolerance(self, precision: str) -> ExpressionTolerance:
        """Return the tolerances of artifacts of ``precision``."""
        return self.int8 if precision == "int8" and self.int8 else self


class TranslationGolden(Part):
    """Expected output of a translator for one ``box`` of the golden picture.

    ``levels`` are the mean grey levels, 0..255, of the luma in the cells of a grid, row by row.
    ``level_max`` is the tolerance of the mean difference, ``int8_level_max`` that of integer
    artifacts, which deviate by quantisation. A flipped picture, another value range or swapped
    colour channels exceed it.
    """

    kind: Literal["translation"]
    picture_sha256: Sha256
    box: tuple[float, float, float, float]
    levels: tuple[tuple[Annotated[float, Field(ge=0, le=255)], ...], ...] = Field(min_length=1)
    level_max: Positive
    int8_level_max: Positive | None = None

    def tolerance(self, precision: str) -> float:
        """Return the bound of the mean difference for artifacts of ``precision``."""
        return self.int8_level_max or self.level_max if precision == "int8" else self.level_max

    @model_validator(mode="after")
    def _rectangular(self) -> "TranslationGolden":
        if not self.levels[0] or len({len(row) for row in self.levels}) != 1:
            raise ValueError("golden levels: expected rows of one length")
        return self


class MeshGolden(Part):
    """Expected answer of a face mesh for one face of the golden picture.

    ``box`` and the five ``landmarks`` are those of the face. ``points``: x and y of some of the
    mesh's points by index, pixels of the picture. ``coefficients``: by name. The tolerances are the
    maximum distance of a point relative to the box's longer side, and the maximum difference of a
    coefficient.
    """

    kind: Literal["mesh"]
    picture_sha256: Sha256
    box: tuple[float, float, float, float]
    landmarks: tuple[tuple[float, float], ...] = Field(min_length=5, max_length=5)
    points: dict[int, tuple[float, float]] = Field(min_length=1)
    coefficients: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(min_length=1)
    point_max: Positive
    coefficient_max: Positive


Golden = Annotated[
    DetectionGolden | ExpressionGolden | TranslationGolden | MeshGolden,
    Field(discriminator="kind"),
]
