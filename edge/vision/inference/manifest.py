"""Schema of a model folder's manifest: everything that is needed to run its network.

``models/NAME/manifest.json`` lists the artifacts with their hashes, describes the input, the
outputs and the origin of the weights, and records each artifact's agreement with the original
network and the expected answer to the golden face. Unknown fields are refused. Which output roles a
network must have is decided by its decoder (``Manifest.require_outputs``), not here.
"""

from collections.abc import Iterable
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from edge.errors import ModelError
from edge.vision.inference.fitted_head import FittedHead
from edge.vision.inference.golden_schema import ExpressionGolden, Golden
from edge.vision.inference.part import Coordinate, Part, Positive, Sha256, Text
from edge.vocabulary import EXPRESSIONS, ExpressionName

Task = Literal["face-detection", "spectrum-translation", "facial-expression", "face-mesh"]
Runtime = Literal["onnxruntime", "litert", "opencv"]
Precision = Literal["fp32", "fp16", "int8"]
Layout = Literal["nchw", "nhwc"]
Dtype = Literal["float32", "uint8", "int8"]
Size = Annotated[int, Field(ge=1, le=16384)]


class Artifact(Part):
    """One file that a runtime can load. ``file`` is a bare name inside the model's folder.

    ``layout`` and ``dtype`` are those of this file's tensors, if they differ from ``input``:
    in TensorFlow Lite files all four-dimensional tensors, outputs too, are NHWC.
    """

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)
    runtime: Runtime
    precision: Precision
    sha256: Sha256
    bytes: int = Field(ge=1, le=1 << 30)
    layout: Layout | None = None
    dtype: Dtype | None = None


class NoNormalisation(Part):
    """No normalisation."""

    kind: Literal["none"]


class FixedNormalisation(Part):
    """``(x - mean) / std`` with the mean and standard deviation of the training set."""

    kind: Literal["fixed"]
    mean: float
    std: Positive


class PerSampleNormalisation(Part):
    """``(x - mean) / (std + epsilon)`` over the sample's pixels; ``divide`` off: ``x - mean``."""

    kind: Literal["per-sample"]
    divide: bool
    epsilon: float = Field(0.0, ge=0)


class Crop(Part):
    """Crop around a face box: a square with the box's longer side times ``1 + margin``."""

    shape: Literal["square"]
    margin: float = Field(ge=0, le=1)


class Input(Part):
    """Conversion of a mono picture, uint8 (height, width), to the one input tensor.

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
    """One output tensor: its name, the activation to apply to it, and its encoding."""

    tensor: Text
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    encoding: Literal["none", "(s-0.5)*2"] = "none"


class Stage(Part):
    """A further network of a cascade: its decoder runs it on parts of the picture, in float."""

    artifact: Artifact
    input: Input
    outputs: dict[str, Output]


class Source(Part):
    """Where the weights come from."""

    file: Text
    sha256: Sha256
    licence: Text
    citation: Text


class Exporter(Part):
    """Version and options of the exporter that made the artifacts."""

    version: Text
    options: dict[str, str | int | float | bool]


class Calibration(Part):
    """The pictures from which the ranges for integer quantisation were measured."""

    count: int = Field(ge=1)
    sha256: Sha256


Offset = Annotated[float, Field(ge=-20, le=20)]
MixingWeight = Annotated[float, Field(ge=-5, le=5)]
"""Weight of one expression's log-probability in the logit of another."""


class Recalibration(Part):
    """Adapts an expression network's outputs to the domain where it is used.

    Applied by ``edge.vision.expression.readout``. Expressions are more or less frequent in use than
    in training, so probabilities p become ``p ** (1 / temperature) * exp(offsets)``. With
    ``points``, valence and arousal are the mean of the expressions' points under those
    probabilities, instead of the network's second output. With ``mixing``, the other expressions'
    log-probabilities are added to each logit: row i holds their weights for expression i. All are
    in the order of ``EXPRESSIONS``.
    """

    fitted_on: Text
    samples: int = Field(ge=1)
    temperature: Positive
    offsets: tuple[Offset, ...] = Field(min_length=len(EXPRESSIONS), max_length=len(EXPRESSIONS))
    points: tuple[tuple[Coordinate, Coordinate], ...] | None = None
    mixing: tuple[tuple[MixingWeight, ...], ...] | None = None

    @model_validator(mode="after")
    def _one_for_each_expression(self) -> "Recalibration":
        count = len(EXPRESSIONS)
        if self.points is not None and len(self.points) != count:
            raise ValueError(f"points: expected {count}, received {len(self.points)}")
        if self.mixing is not None:
            widths = [len(row) for row in self.mixing]
            if widths != [count] * count:
                raise ValueError(f"mixing: expected {count} rows of {count}, received {widths}")
        return self


class Anchors(Part):
    """Valence and arousal of each expression, for a network that has no output for them.

    ``points`` are in the order of ``EXPRESSIONS``; ``origin`` says where they come from.
    """

    origin: Text
    points: tuple[tuple[Coordinate, Coordinate], ...] = Field(
        min_length=len(EXPRESSIONS), max_length=len(EXPRESSIONS)
    )


class Limit(Part):
    """The bound of a metric."""

    at_most: float | None = None
    at_least: float | None = None

    @model_validator(mode="after")
    def _bounded(self) -> "Limit":
        if self.at_most is None and self.at_least is None:
            raise ValueError("a limit needs at_most or at_least")
        return self

    def allows(self, value: float) -> bool:
        """Return whether ``value`` is within the bound."""
        return (self.at_most is None or value <= self.at_most) and (
            self.at_least is None or value >= self.at_least
        )


class Parity(Part):
    """Agreement of an artifact with the original network, measured at export."""

    metrics: dict[str, float] = Field(min_length=1)
    limits: dict[str, Limit] = Field(min_length=1)
    samples: int = Field(ge=1)
    passed: bool

    @model_validator(mode="after")
    def _passed_only_within_limits(self) -> "Parity":
        for name, limit in self.limits.items():
            if name not in self.metrics:
                raise ValueError(f"parity has a limit for {name}, but no such metric")
            if self.passed and not limit.allows(self.metrics[name]):
                raise ValueError(
                    f"parity says passed, but {name} {self.metrics[name]} is beyond its limit"
                )
        return self


_GOLDEN_KINDS: Final[dict[str, tuple[str | None, ...]]] = {
    "face-detection": ("detection",),
    "facial-expression": ("expression",),
    "spectrum-translation": ("translation", None),
    "face-mesh": ("mesh",),
}
"""The kinds of golden answer that each task allows; None: no golden answer."""


_KNOWN_MIN: Final = 2
"""Expressions that a network must know: with one, its probability would always be 1."""


class Manifest(Part):
    """One model folder: its artifacts, input, outputs, origin, parity and golden answer.

    ``unknown_expressions`` are those for which an expression network has no label: stated, so that
    a misspelt label is not taken for one. ``anchors`` give valence and arousal where it has no
    output for them.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)
    task: Task
    decoder: Text
    artifacts: tuple[Artifact, ...] = Field(min_length=1)
    input: Input
    outputs: dict[str, Output]
    stages: dict[str, Stage] | None = None
    labels: tuple[Text, ...] = ()
    unknown_expressions: tuple[ExpressionName, ...] | None = None
    anchors: Anchors | None = None
    source: Source
    exporter: Exporter
    calibration: Calibration | None = None
    recalibration: Recalibration | None = None
    heads: tuple[FittedHead, ...] | None = None
    parity: dict[str, Parity]
    golden: Golden | None = None

    @model_validator(mode="after")
    def _fits_its_task(self) -> "Manifest":
        files = [artifact.file for artifact in self.artifacts]
        further = [stage.artifact.file for stage in (self.stages or {}).values()]
        if len({*files, *further}) != len(files) + len(further):
            raise ValueError("artifacts: the same file is listed twice")
        if set(self.parity) != set(files):
            raise ValueError("parity: expected one entry for each artifact file, and no other")
        kinds = _GOLDEN_KINDS[self.task]
        if (self.golden.kind if self.golden else None) not in kinds:
            raise ValueError(f"golden: {self.task} needs a golden of kind {kinds[0]}")
        if self.task != "facial-expression":
            for name, fitted in (("recalibration", self.recalibration), ("heads", self.heads)):
                if fitted:
                    raise ValueError(f"{name}: {self.task} has no expressions")
        if self.task == "facial-expression":
            if self.input.crop is None:
                raise ValueError("input.crop: a facial-expression network needs one")
            named = (*self.labels, *(self.unknown_expressions or ()))
            if len(set(named)) != len(named) or not set(EXPRESSIONS) <= set(named):
                raise ValueError(
                    f"labels: expected each of {', '.join(EXPRESSIONS)}, once, there or in"
                    " unknown_expressions"
                )
            self._check_heads()
            if isinstance(self.golden, ExpressionGolden):
                known = [name for name in EXPRESSIONS if name in self.labels]
                if any(set(each.probabilities) != set(known) for each in self.golden.readings):
                    raise ValueError(f"golden probabilities: expected exactly {', '.join(known)}")
            if sum(label in EXPRESSIONS for label in self.labels) < _KNOWN_MIN:
                raise ValueError(f"labels: expected {_KNOWN_MIN} expressions or more")
        return self

    def _check_heads(self) -> None:
        """Check that fitted heads have what they complete.

        Raises:
            ValueError: they have not.
        """
        heads = self.heads or ()
        if len({head.takes_coefficients for head in heads}) != len(heads):
            raise ValueError("heads: expected one with coefficients, one without, or both")
        if heads:
            if self.recalibration is None or self.recalibration.points is None:
                raise ValueError("heads: they need a recalibration with points")
            if not set(EXPRESSIONS) <= set(self.labels):
                raise ValueError("heads: they need a label for every expression")

    def require_outputs(self, roles: Iterable[str]) -> None:
        """Check that there is an output for each of ``roles``.

        Decoders call this with the roles that they need. Validation does not, so that a manifest
        whose decoder is unknown here can still be listed.

        Raises:
            ModelError: an output is missing; one line that names the decoder.
        """
        missing = sorted(set(roles) - set(self.outputs))
        if missing:
            raise ModelError(
                f"model {self.name}: outputs: decoder {self.decoder!r} also needs"
                f" {', '.join(missing)}; export the model again"
            )

    def unknown_decoder(self, *known: str) -> ModelError:
        """Return the error to raise if this program has no decoder of that name.

        Args:
            known: the decoders that it has for this task.
        """
        return ModelError(
            f"model {self.name}: decoder {self.decoder!r} is unknown; expected {' or '.join(known)}"
        )

    def of_stage(self, name: str) -> "Manifest":
        """Return the manifest as the further network ``name`` sees it: its input and outputs."""
        stage = (self.stages or {})[name]
        return self.model_copy(
            update={"input": stage.input, "outputs": stage.outputs, "stages": None}
        )

    def artifact(self, file: str) -> Artifact | None:
        """Return the artifact with this file name; None if there is none."""
        return next((each for each in self.artifacts if each.file == file), None)
