"""The manifest of a model folder: all that the daemon must know to run a network it never saw.

``models/NAME/manifest.json`` names the artifacts with their hashes, says how a picture becomes
the input, what each output means, where the weights come from, how far each artifact agrees with
the original, and what the network must answer to the golden face. Unknown fields are refused.
"""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge.values import EXPRESSIONS

Task = Literal["face-detection", "spectrum-translation", "facial-expression"]
Runtime = Literal["onnxruntime", "litert"]
Precision = Literal["fp32", "fp16", "int8"]
Layout = Literal["nchw", "nhwc"]
Dtype = Literal["float32", "uint8", "int8"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1)]
Size = Annotated[int, Field(ge=1, le=16384)]
Positive = Annotated[float, Field(gt=0)]

ROLES: Final[dict[str, frozenset[str]]] = {
    "face-detection": frozenset({"heatmap", "scale", "offset", "landmarks"}),
    "spectrum-translation": frozenset({"picture"}),
    "facial-expression": frozenset({"expression", "affect"}),
}
"""The outputs a network of each task must have."""


class Part(BaseModel):
    """A part of a manifest: strict types, finite numbers, unknown fields refused, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Artifact(Part):
    """One file that a runtime can load. ``file`` is a bare name inside the model's folder.

    ``layout`` and ``dtype`` are what this file's tensors have where it differs from ``input``:
    TensorFlow Lite files have their four-dimensional tensors, outputs too, in NHWC.
    """

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)
    runtime: Runtime
    precision: Precision
    sha256: Sha256
    bytes: int = Field(ge=1, le=1 << 30)
    layout: Layout | None = None
    dtype: Dtype | None = None


class NoNormalisation(Part):
    """The network takes the value range as it is."""

    kind: Literal["none"]


class FixedNormalisation(Part):
    """``(x - mean) / std`` with figures of the training set."""

    kind: Literal["fixed"]
    mean: float
    std: Positive


class PerSampleNormalisation(Part):
    """``(x - mean) / (std + epsilon)`` of the sample's own pixels; ``divide`` off: ``x - mean``."""

    kind: Literal["per-sample"]
    divide: bool
    epsilon: float = Field(0.0, ge=0)


class Crop(Part):
    """How a face box becomes the input: a square of the longer side times ``1 + margin``."""

    shape: Literal["square"]
    margin: float = Field(ge=0, le=1)


class Input(Part):
    """How a mono picture, uint8 (height, width), becomes the one input tensor.

    Pixels are scaled from 0..255 to ``value_range`` and then normalised. ``rgb`` networks get the
    mono picture in all three channels. ``dtype`` is what the file's tensor holds; integer tensors
    of LiteRT artifacts carry their own quantisation, which the daemon reads from the file.
    """

    name: Text
    shape: tuple[Size, Size, Size, Size]
    layout: Layout
    dtype: Dtype
    colour: Literal["mono", "rgb"]
    value_range: tuple[float, float]
    normalisation: Annotated[
        NoNormalisation | FixedNormalisation | PerSampleNormalisation, Field(discriminator="kind")
    ]
    crop: Crop | None = None

    @property
    def channels(self) -> int:
        """Channels of the tensor."""
        return 1 if self.colour == "mono" else 3

    def in_layout(self, layout: str | None) -> tuple[int, int, int, int]:
        """Return the tensor's shape in ``layout``; None: in its own."""
        sizes = (1, self.channels, self.height, self.width)
        nchw = (layout or self.layout) == "nchw"
        return sizes if nchw else (sizes[0], sizes[2], sizes[3], sizes[1])

    @property
    def height(self) -> int:
        """Height of the picture the network takes, pixels."""
        return self.shape[2] if self.layout == "nchw" else self.shape[1]

    @property
    def width(self) -> int:
        """Width of the picture the network takes, pixels."""
        return self.shape[3] if self.layout == "nchw" else self.shape[2]

    @model_validator(mode="after")
    def _consistent(self) -> "Input":
        channels = self.shape[1] if self.layout == "nchw" else self.shape[3]
        if self.shape[0] != 1 or channels != self.channels:
            raise ValueError(
                f"shape {list(self.shape)} is not one {self.colour} picture in {self.layout}"
            )
        if self.value_range[0] >= self.value_range[1]:
            raise ValueError(f"value_range {list(self.value_range)}: expected low before high")
        return self


class Output(Part):
    """One output tensor: which, what is still to be applied to it, and how it encodes a value."""

    tensor: Text
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    encoding: Literal["none", "(s-0.5)*2"] = "none"


class Source(Part):
    """Where the weights come from."""

    file: Text
    sha256: Sha256
    licence: Text
    citation: Text


class Exporter(Part):
    """What made the artifacts."""

    version: Text
    options: dict[str, str | int | float | bool]


class Calibration(Part):
    """The pictures that integer ranges were measured on."""

    count: int = Field(ge=1)
    sha256: Sha256


class Limit(Part):
    """The bound a metric must keep."""

    at_most: float | None = None
    at_least: float | None = None

    @model_validator(mode="after")
    def _bounded(self) -> "Limit":
        if self.at_most is None and self.at_least is None:
            raise ValueError("a limit needs at_most or at_least")
        return self

    def kept_by(self, value: float) -> bool:
        """Tell whether ``value`` is within the bound."""
        return (self.at_most is None or value <= self.at_most) and (
            self.at_least is None or value >= self.at_least
        )


class Parity(Part):
    """How far an artifact agrees with the original network, measured at export."""

    metrics: dict[str, float] = Field(min_length=1)
    limits: dict[str, Limit] = Field(min_length=1)
    samples: int = Field(ge=1)
    passed: bool

    @model_validator(mode="after")
    def _honest(self) -> "Parity":
        for name, limit in self.limits.items():
            if name not in self.metrics:
                raise ValueError(f"parity has a limit for {name} but no such metric")
            if self.passed and not limit.kept_by(self.metrics[name]):
                raise ValueError(
                    f"parity says passed, but {name} {self.metrics[name]} is beyond it"
                )
        return self


class DetectionTolerance(Part):
    """How far off a detector may be on the golden face.

    Least intersection over union, landmark distance in shares of the box's height, difference of
    the score.
    """

    iou_min: float = Field(gt=0, le=1)
    landmark_max: Positive
    score_max: Positive


class DetectionGolden(DetectionTolerance):
    """What a detector must find in the golden face: the one box, its landmarks, its score.

    ``int8``: tolerances of its own for integer artifacts, which are a little off by nature.
    """

    kind: Literal["detection"]
    picture_sha256: Sha256
    box: tuple[float, float, float, float]
    landmarks: tuple[tuple[float, float], ...] = Field(min_length=5, max_length=5)
    score: float = Field(ge=0, le=1)
    int8: DetectionTolerance | None = None

    def tolerance(self, precision: str) -> DetectionTolerance:
        """Return the tolerances of artifacts of ``precision``."""
        return self.int8 if precision == "int8" and self.int8 else self


class GoldenReading(Part):
    """What an expression network reads from one ``box`` of the golden picture."""

    box: tuple[float, float, float, float]
    probabilities: dict[str, Annotated[float, Field(ge=0, le=1)]]
    valence: float = Field(ge=-1, le=1)
    arousal: float = Field(ge=-1, le=1)

    @model_validator(mode="after")
    def _complete(self) -> "GoldenReading":
        if set(self.probabilities) != set(EXPRESSIONS):
            raise ValueError(f"golden probabilities: expected exactly {', '.join(EXPRESSIONS)}")
        return self


class ExpressionTolerance(Part):
    """How far off an expression network may be on the golden face.

    Difference of a probability, of its natural logarithm (which tells apart labels that are all
    unlikely), and of valence and arousal.
    """

    probability_max: Positive
    log_probability_max: Positive
    affect_max: Positive


class ExpressionGolden(ExpressionTolerance):
    """What an expression network must read from parts of the golden picture.

    Together the readings should set all labels apart, so that two swapped ones show. ``int8``:
    tolerances of its own for integer artifacts, which are a little off by nature.
    """

    kind: Literal["expression"]
    picture_sha256: Sha256
    readings: tuple[GoldenReading, ...] = Field(min_length=1)
    int8: ExpressionTolerance | None = None

    def tolerance(self, precision: str) -> ExpressionTolerance:
        """Return the tolerances of artifacts of ``precision``."""
        return self.int8 if precision == "int8" and self.int8 else self


class TranslationGolden(Part):
    """What a translator must make of one ``box`` of the golden picture.

    ``levels`` are the mean grey levels, 0..255, of the luma in the cells of a grid, row after
    row; ``level_max`` bounds the mean of their differences, ``int8_level_max`` that of integer
    artifacts, which are a little off by nature. A picture that is turned over, of another range or
    of mixed-up colours falls outside.
    """

    kind: Literal["translation"]
    picture_sha256: Sha256
    box: tuple[float, float, float, float]
    levels: tuple[tuple[Annotated[float, Field(ge=0, le=255)], ...], ...] = Field(min_length=1)
    level_max: Positive
    int8_level_max: Positive | None = None

    def allowed(self, precision: str) -> float:
        """Return the bound of artifacts of ``precision``."""
        return self.int8_level_max or self.level_max if precision == "int8" else self.level_max

    @model_validator(mode="after")
    def _a_grid(self) -> "TranslationGolden":
        if not self.levels[0] or len({len(row) for row in self.levels}) != 1:
            raise ValueError("golden levels: expected rows of one length")
        return self


Golden = Annotated[
    DetectionGolden | ExpressionGolden | TranslationGolden, Field(discriminator="kind")
]
_GOLDEN_OF: Final[dict[str, tuple[str | None, ...]]] = {
    "face-detection": ("detection",),
    "facial-expression": ("expression",),
    "spectrum-translation": ("translation", None),
}
"""The kinds of golden answer that a network of each task may have; None: none."""


class Manifest(Part):
    """Everything about one model folder; see the contract and ``models/README.md``."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)
    task: Task
    decoder: Text
    artifacts: tuple[Artifact, ...] = Field(min_length=1)
    input: Input
    outputs: dict[str, Output]
    labels: tuple[Text, ...] = ()
    source: Source
    exporter: Exporter
    calibration: Calibration | None = None
    parity: dict[str, Parity]
    golden: Golden | None = None

    @model_validator(mode="after")
    def _fits_its_task(self) -> "Manifest":
        files = [artifact.file for artifact in self.artifacts]
        if len(set(files)) != len(files):
            raise ValueError("artifacts: the same file twice")
        if set(self.parity) != set(files):
            raise ValueError("parity: expected one entry for each artifact file, and no other")
        missing = ROLES[self.task] - set(self.outputs)
        if missing:
            raise ValueError(f"outputs: {self.task} also needs {', '.join(sorted(missing))}")
        kinds = _GOLDEN_OF[self.task]
        if (self.golden.kind if self.golden else None) not in kinds:
            raise ValueError(f"golden: {self.task} needs a golden of kind {kinds[0]}")
        if self.task == "facial-expression":
            if self.input.crop is None:
                raise ValueError("input.crop: a facial-expression network needs one")
            if len(set(self.labels)) != len(self.labels) or not set(EXPRESSIONS) <= set(
                self.labels
            ):
                raise ValueError(f"labels: expected each of {', '.join(EXPRESSIONS)}, once")
        return self

    def artifact(self, file: str) -> Artifact | None:
        """Return the artifact called ``file``; None when there is none."""
        return next((each for each in self.artifacts if each.file == file), None)
