"""Exports a checkpoint of any kind to a model folder.

Each kind converts its checkpoint to a float graph (``Checkpoint``). The rest is the same for all:
build the artifacts, compare each with the original, write the folder.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

import edge
from edge.errors import ModelError
from edge.vision.golden import network_findings
from edge.vision.inference import Network
from edge.vision.inference.golden_schema import Golden
from edge.vision.inference.manifest import (
    Anchors,
    Artifact,
    Calibration,
    Exporter,
    Input,
    Manifest,
    NoNormalisation,
    Output,
    Parity,
    Precision,
    Recalibration,
    Source,
    Stage,
    Task,
)
from edge.vision.values import Floats
from edge.vocabulary import ExpressionName
from exporters.artifacts.build import Progress, build_artifacts, check_tools
from exporters.artifacts.quantize import Board
from exporters.artifacts.write import compare_and_write, describe, open_built, unmeasured

UNKNOWN: Final = "unknown: stated by nobody"
"""Licence or citation that no file states."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Options of an export that every kind of checkpoint has.

    Attributes:
        formats: some of ``exporters.artifacts.build.FORMATS``.
        precisions: some of ``exporters.artifacts.build.PRECISIONS``.
        calibration: folder of pictures with faces; needed for int8.
        board: whose int8 kernels to quantise the ONNX artifact for.
        leave_out: files of the artifacts that are not written.
        allow_parity_loss: also write artifacts that miss their limit.
        progress: called with a line before each long step.
    """

    formats: Sequence[str] = ("onnx",)
    precisions: Sequence[str] = ("fp32",)
    calibration: Path | None = None
    board: Board = "x86"
    leave_out: Sequence[str] = ()
    allow_parity_loss: bool = False
    progress: Progress = lambda text: None

    @property
    def int8(self) -> bool:
        """Whether to make int8 artifacts."""
        return "int8" in self.precisions

    @property
    def int8_pictures(self) -> Path | None:
        """The folder of calibration pictures; None without int8 artifacts."""
        return self.calibration if self.int8 else None

    def check(self, *, converter: bool = True) -> None:
        """Check that the artifacts can be built here.

        Args:
            converter: whether TensorFlow Lite needs onnx2tf.

        Raises:
            ModelError: a format or precision is unknown or given twice, a tool is missing, or int8
                has no pictures; one line.
        """
        check_tools(
            self.formats,
            self.precisions,
            calibrated=self.calibration is not None,
            converter=converter,
        )


DEFAULT_OPTIONS: Final = ExportOptions()


@dataclass(frozen=True, slots=True)
class Draft:
    """A manifest without its artifacts.

    Attributes:
        stem: start of the artifacts' file names.
        float_limits: role -> largest error of a float artifact (see ``parity.measure``).
        options: the options of the export, as the manifest records them.
        stage_contents: file name -> bytes, of the networks in ``stages``.

    The others are fields of the manifest.
    """

    stem: str
    float_limits: Mapping[str, float]
    task: Task
    decoder: str
    input: Input
    outputs: dict[str, Output]
    source: Source
    options: dict[str, str | int | float | bool]
    golden: Golden
    labels: tuple[str, ...] = ()
    unknown_expressions: tuple[ExpressionName, ...] | None = None
    anchors: Anchors | None = None
    recalibration: Recalibration | None = None
    stages: dict[str, Stage] | None = None
    stage_contents: Mapping[str, bytes] = field(default_factory=dict)

    def manifest(
        self, name: str, artifacts: Sequence[Artifact], calibration: Calibration | None = None
    ) -> Manifest:
        """Return the manifest of ``artifacts`` before their parity is measured."""
        return Manifest(
            name=name,
            task=self.task,
            decoder=self.decoder,
            artifacts=tuple(artifacts),
            input=self.input,
            outputs=self.outputs,
            stages=self.stages,
            labels=self.labels,
            unknown_expressions=self.unknown_expressions,
            anchors=self.anchors,
            source=self.source,
            exporter=Exporter(version=edge.__version__, options=self.options),
            calibration=calibration,
            recalibration=self.recalibration,
            parity={artifact.file: unmeasured(self.float_limits) for artifact in artifacts},
            golden=self.golden,
        )


def picture_input(
    name: str, size: tuple[int, int], *, mono: bool, value_range: tuple[float, float]
) -> Input:
    """Return the manifest's input entry for pictures without normalisation: NCHW, float32.

    Args:
        name: of the tensor.
        size: width and height, pixels.
        mono: one grey channel instead of three.
        value_range: values of black and white.
    """
    width, height = size
    return Input(
        name=name,
        shape=(1, 1 if mono else 3, height, width),
        layout="nchw",
        dtype="float32",
        colour="mono" if mono else "rgb",
        value_range=value_range,
        normalisation=NoNormalisation(kind="none"),
    )


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How to make int8 artifacts; the defaults serve exports without int8.

    Attributes:
        record: the manifest's entry for the calibration pictures.
        options: further options of the export, for the manifest.

    The others are arguments of ``build_artifacts``.
    """

    calibration: Sequence[Floats] = ()
    record: Calibration | None = None
    float_nodes: Collection[str] = ()
    lite_float_nodes: Collection[str] | None = None
    int8_operators: Sequence[str] | None = None
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)


class Checkpoint(Protocol):
    """A checkpoint of one kind, read and converted to one float graph.

    Attributes:
        content: the float graph, from ``graph.finish``.
        draft: the manifest without artifacts.
        to_lite: makes the float TensorFlow Lite model of the graph.
    """

    @property
    def content(self) -> bytes: ...

    @property
    def draft(self) -> Draft: ...

    @property
    def to_lite(self) -> Callable[[bytes], bytes]: ...

    def quantisation(self, reference: Network) -> Quantisation:
        """Return how to quantise; called once, before ``parity``.

        Args:
            reference: the float graph, run as the daemon runs it.
        """

    def parity(self, network: Network, reference: Network) -> Parity:
        """Return the parity of the artifact ``network`` with the original."""


def export(out: Path, checkpoint: Checkpoint, options: ExportOptions) -> Manifest:
    """Write the model folder ``out`` from a checkpoint; return its manifest.

    Returns:
        The manifest; nothing was written if an artifact missed its limit and that is not allowed.

    Raises:
        ModelError: a tool is missing or cannot convert the graph, or an artifact does not give the
            golden answers; one line.
    """
    draft = checkpoint.draft
    reference = run_graph(checkpoint.content, draft, out.name)
    int8 = checkpoint.quantisation(reference)
    draft = replace(draft, options={**draft.options, **int8.options})
    contents = build_artifacts(
        checkpoint.content,
        stem=draft.stem,
        formats=options.formats,
        precisions=options.precisions,
        calibration=int8.calibration,
        float_nodes=int8.float_nodes,
        lite_float_nodes=int8.lite_float_nodes,
        int8_operators=int8.int8_operators,
        board=options.board,
        to_lite=checkpoint.to_lite,
        progress=options.progress,
    )

    files = {artifact.file for artifact in contents}
    if set(options.leave_out) - files or files <= set(options.leave_out):
        raise ModelError(
            f"--leave-out {','.join(options.leave_out)}: expected some, but not all, of"
            f" {', '.join(sorted(files))}"
        )
    contents = {
        artifact: content
        for artifact, content in contents.items()
        if artifact.file not in options.leave_out
    }

    def parity(network: Network) -> Parity:
        options.progress(f"parity of {network.info.artifact}")
        return checkpoint.parity(network, reference)

    return compare_and_write(
        out,
        draft.manifest(out.name, tuple(contents), int8.record),
        {
            **{artifact.file: content for artifact, content in contents.items()},
            **draft.stage_contents,
        },
        parity=parity,
        findings=network_findings,
        allow_parity_loss=options.allow_parity_loss,
    )


def run_graph(content: bytes, draft: Draft, name: str, precision: Precision = "fp32") -> Network:
    """Return a network that runs an ONNX artifact as the daemon does.

    Raises:
        ModelError: the runtime does not load it.
    """
    file = f"{draft.stem}.onnx"
    artifact = describe(file, content, runtime="onnxruntime", precision=precision)
    manifest = draft.manifest(name, [artifact])
    return open_built(manifest, artifact, {file: content, **draft.stage_contents})
