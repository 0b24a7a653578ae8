"""A two-headed expression network -> a model folder for the daemon.

Takes what users bring: our own checkpoints, the thesis's (Kalabis, *Facial expression analysis
from NIR image*, CTU Prague, 2024) as Keras 2 wrote them, and any ONNX graph with one picture in
and two heads out. What the network was trained on is recorded in the manifest, not guessed:
where neither the file nor the names in it say how pictures are normalised, one has to.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import edge
from benchmarks.evaluation.expression_agreement import expression_agreement
from benchmarks.evaluation.pictures import split_pictures
from edge.errors import ModelError
from edge.vision.expression.two_headed import TwoHeadedNetwork
from edge.vision.golden import expression_findings
from edge.vision.inference import Network
from edge.vision.inference.manifest import (
    Artifact,
    Crop,
    Exporter,
    Input,
    Manifest,
    NoNormalisation,
    Output,
    Parity,
    PerSampleNormalisation,
    Precision,
    Source,
)
from edge.vision.inference.runtimes import OnnxSession
from edge.vision.values import Luma
from exporters.artifacts import graph
from exporters.artifacts.build import build_artifacts, check_tools
from exporters.artifacts.parity import LIMITS, judged, measure, sample_pictures
from exporters.artifacts.quantize import Board, upgraded
from exporters.artifacts.write import describe, prove_and_write, unmeasured
from exporters.expression.golden import expression_golden
from exporters.expression.heads import expose, keep_outputs, rename
from exporters.expression.input_folding import fold_input, take_nchw
from exporters.expression.int8 import calibration_faces, kept_float
from exporters.expression.original import (
    AS_THE_FILE_SAYS,
    EPSILON,
    ExpressionOptions,
    Original,
    check_labels,
)
from exporters.expression.source import UNKNOWN, read_source

_LIMITS: Final = {"expression": 1e-4, "affect": 1e-4}
"""Largest errors of a float artifact: of a probability, and of what the regressor gives."""

_SLICE_OPSET: Final = 10

_STEM: Final = "expression"


def export_mobilenet_fer(
    weights: Path,
    out: Path,
    *,
    architecture: Path | None = None,
    size: tuple[int, int] | None = None,
    mono: bool = False,
    options: ExpressionOptions = AS_THE_FILE_SAYS,
    formats: Sequence[str] = ("onnx",),
    precisions: Sequence[str] = ("fp32",),
    calibration: Path | None = None,
    allow_parity_loss: bool = False,
    board: Board = "x86",
    tell: Callable[[str], None] = lambda text: None,
) -> Manifest:
    """Write the model folder ``out`` from an expression checkpoint; return its manifest.

    Args:
        weights: ONNX, or a file of Keras 2.
        out: folder to write; its name becomes the model's.
        architecture: JSON of a Keras 2 model whose weights lie apart.
        size: width and height, for networks that leave them open.
        mono: one grey input channel instead of three.
        options: what only the user knows.
        formats: some of ``exporters.artifacts.build.FORMATS``.
        precisions: some of ``exporters.artifacts.build.PRECISIONS``.
        calibration: folder of pictures with faces; needed for int8.
        allow_parity_loss: write artifacts that miss their limit, too.
        board: whose int8 kernels to quantise the ONNX artifact for.
        tell: called with a line before each step that takes long.

    Raises:
        ModelError: an option or the file does not fit, or the result does not read the golden
            face as the original does; one line.
    """
    check_tools(formats, precisions, calibrated=calibration is not None)
    check_labels(options.labels)
    source = read_source(weights, architecture=architecture, size=size)
    original = Original(source, options, weights)
    split = split_pictures(calibration) if calibration is not None else None
    converted = _converted(original, weights, mono=mono)
    golden = expression_golden(original.read, options.recalibration, int8="int8" in precisions)

    def draft(artifacts: Sequence[Artifact]) -> Manifest:
        return Manifest(
            name=out.name,
            task="facial-expression",
            decoder="mobilenet-fer",
            artifacts=tuple(artifacts),
            input=converted.input,
            outputs=converted.outputs,
            labels=options.labels,
            source=Source(
                file=weights.name,
                sha256=source.sha256,
                licence=options.licence or source.licence or UNKNOWN,
                citation=options.citation or source.citation or UNKNOWN,
            ),
            exporter=Exporter(version=edge.__version__, options=converted.options),
            calibration=split.record if split is not None and "int8" in precisions else None,
            recalibration=options.recalibration,
            parity={artifact.file: unmeasured(_LIMITS) for artifact in artifacts},
            golden=golden,
        )

    exact = _running(draft, converted.content)
    to_calibrate, to_judge = calibration_faces(split, original, tell)
    tensors = [exact.tensor(crop) for crop in to_calibrate]
    kept: list[str] = []
    if "int8" in precisions:
        tell("which layers stay float")
        kept = kept_float(
            converted.content,
            lambda made: _running(draft, made, "int8"),
            exact,
            tensors=tensors,
            crops=to_judge,
            board=board,
        )
        converted.options["float_nodes"] = " ".join(kept)
    contents = build_artifacts(
        converted.content,
        stem=_STEM,
        formats=formats,
        precisions=precisions,
        calibration=tensors,
        float_nodes=kept,
        lite_float_nodes=[*kept, *(each.tensor for each in converted.outputs.values())],
        board=board,
        tell=tell,
    )
    tell("parity")
    return prove_and_write(
        out,
        draft(list(contents)),
        {artifact.file: content for artifact, content in contents.items()},
        parity=lambda network: _parity(network, exact, original, to_judge),
        findings=lambda network: expression_findings(TwoHeadedNetwork(network)),
        allow_parity_loss=allow_parity_loss,
    )


@dataclass(frozen=True, slots=True)
class _Converted:
    """The float graph, and what the manifest says of it."""

    content: bytes
    input: Input
    outputs: dict[str, Output]
    options: dict[str, str | int | float | bool]


def _converted(original: Original, weights: Path, *, mono: bool) -> _Converted:
    source, settled = original.source, original.settled
    model = copy.deepcopy(source.model)
    if not (
        original.expression.whole
        or max(each.version for each in model.opset_import) >= _SLICE_OPSET
    ):
        model = upgraded(model)
    activation = original.expression.activation
    soft = activation == "softmax" or original.expression.inside
    expression = expose(model, original.expression, "logits" if soft else "probabilities")
    affect = expose(model, original.affect, "affect")
    keep_outputs(model, [expression.tensor, affect.tensor])
    rename(model, source.input, "input")
    if source.layout == "nhwc":
        take_nchw(model, "input")
    folded = fold_input(model, "input", settled.affine, mono=mono)
    graph.fold_batch_norms(model)
    for node in model.graph.node:
        node.name = ""  # other tools' names hold what TensorFlow Lite's converter changes
    graph.name_nodes(model)
    try:
        content = graph.finish(model)
    except ModelError as error:
        raise ModelError(f"--weights {weights}: {error}") from error
    channels = 1 if mono else source.channels
    width, height = source.size
    encoding: Literal["none", "(s-0.5)*2"] = "none" if affect.signed else "(s-0.5)*2"
    per_sample = settled.normalisation in ("thesis", "standardised")
    divide = settled.normalisation == "standardised"
    return _Converted(
        content=content,
        input=Input(
            name="input",
            shape=(1, channels, height, width),
            layout="nchw",
            dtype="float32",
            colour="mono" if channels == 1 else "rgb",
            value_range=settled.value_range,
            normalisation=PerSampleNormalisation(
                kind="per-sample", divide=divide, epsilon=EPSILON if divide else 0.0
            )
            if per_sample
            else NoNormalisation(kind="none"),
            crop=Crop(shape="square", margin=settled.margin),
        ),
        outputs={
            "expression": Output(tensor=expression.tensor, activation=expression.activation),
            "affect": Output(tensor=affect.tensor, activation=affect.activation, encoding=encoding),
        },
        options={
            **source.options,
            "normalisation": settled.normalisation,
            "margin": settled.margin,
            "mono": channels == 1,
            "input_affine": folded,
        },
    )


def _running(
    draft: Callable[[Sequence[Artifact]], Manifest], content: bytes, precision: Precision = "fp32"
) -> Network:
    """Return an ONNX artifact as the daemon would run it."""
    artifact = describe(f"{_STEM}.onnx", content, runtime="onnxruntime", precision=precision)
    return Network(draft([artifact]), artifact, OnnxSession(content, 1), 1)


def _parity(network: Network, exact: Network, original: Original, crops: Sequence[Luma]) -> Parity:
    """Return how far an artifact agrees: floats by their largest error, int8 by what it reads."""
    agreement = expression_agreement(exact, network, crops) if crops else {}
    if network.info.precision == "int8":
        return judged(agreement, LIMITS["facial-expression"], len(crops))
    pictures = sample_pictures(network.info.width, network.info.height)
    parity = measure(
        ((original.heads(picture), network.run(picture[None])) for picture in pictures), _LIMITS
    )
    return judged({**agreement, **parity.metrics}, parity.limits, parity.samples + len(crops))
