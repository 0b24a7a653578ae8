"""Exports an expression network to a model folder.

Takes our own checkpoints, those of the thesis (Kalabis, *Facial expression analysis from NIR
image*, CTU Prague, 2024) as Keras 2 wrote them, any ONNX graph with one picture as input and a
classifier, with or without a regressor, as output, and state dicts of timm's EfficientNet and of
DDAMFN. The manifest records how pictures were normalised in training. The exporter does not guess
preprocessing or order of classes: if neither the file, the names in it nor the table of known
networks state them, the user must.
"""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.evaluation.expression_agreement import expression_agreement
from benchmarks.evaluation.pictures import split_pictures
from edge.errors import ModelError
from edge.validation import prefixed
from edge.vision.expression.readout import FEATURES
from edge.vision.inference import Network
from edge.vision.inference.manifest import (
    Anchors,
    Crop,
    Input,
    Manifest,
    NoNormalisation,
    Output,
    Parity,
    PerSampleNormalisation,
    Source,
)
from edge.vision.values import Luma
from edge.vocabulary import EXPRESSIONS
from exporters.artifacts import driver, graph
from exporters.artifacts.input_folding import fold_input, take_nchw
from exporters.artifacts.parity import LIMITS, check_against_limits, measure, sample_pictures
from exporters.artifacts.quantize import upgrade_opset
from exporters.artifacts.tflite import convert_float
from exporters.expression.card import write_card
from exporters.expression.face_check import check_channels, face_check
from exporters.expression.golden import expression_golden
from exporters.expression.heads import expose, expose_features, keep_outputs, rename
from exporters.expression.int8 import calibration_faces, choose_float_nodes
from exporters.expression.known import ANCHORS_ORIGIN, KNOWN
from exporters.expression.original import (
    ANCHOR_POINTS,
    EPSILON,
    NO_OVERRIDES,
    ExpressionOptions,
    Original,
    check_labels,
)
from exporters.expression.pytorch import is_pytorch, read_pytorch
from exporters.expression.source import ExpressionSource, read_source

_FLOAT_LIMITS: Final = {"expression": 1e-4, "affect": 1e-4}
"""Largest errors of a float artifact: of probabilities, and of the regressor's values."""

_SLICE_OPSET: Final = 10


def export_expression(
    weights: Path,
    out: Path,
    *,
    architecture: Path | None = None,
    size: tuple[int, int] | None = None,
    mono: bool = False,
    overrides: ExpressionOptions = NO_OVERRIDES,
    options: driver.ExportOptions = driver.DEFAULT_OPTIONS,
) -> Manifest:
    """Write the model folder ``out`` from an expression checkpoint; return its manifest.

    See ``driver.export`` for when nothing is written.

    Args:
        weights: ONNX, a file of Keras 2 or, for any network, a state dict of PyTorch.
        out: folder to write; its name becomes the model's.
        architecture: JSON file of a Keras 2 model whose weights are in a separate file.
        size: width and height, for networks of free size.
        mono: one grey input channel instead of three.
        overrides: facts about the network that the file states wrongly or not at all.
        options: which artifacts to make, and how.

    Raises:
        ModelError: an option or the file is wrong, or one of the errors of ``driver.export``.
    """
    options.check()
    if overrides.labels:
        check_labels(overrides.labels, some=overrides.any_network)
    if overrides.mean is not None:
        check_channels(overrides.mean, overrides.channels)
    if overrides.any_network and architecture is None and is_pytorch(weights):
        source = read_pytorch(weights, overrides.network, size)
    else:
        source = read_source(weights, architecture=architecture, size=size)
    original = Original(source, _with_order(overrides, source, weights), weights)
    checkpoint = _ExpressionCheckpoint(original, weights, mono, options)
    manifest = driver.export(out, checkpoint, options)
    is_written = options.allow_parity_loss or all(
        parity.passed for parity in manifest.parity.values()
    )
    if overrides.any_network and is_written:
        write_card(out, manifest)
    return manifest


def _with_order(
    overrides: ExpressionOptions, source: ExpressionSource, weights: Path
) -> ExpressionOptions:
    """Return the options with the order of classes: of the table, the user or the file.

    Raises:
        ModelError: it is stated nowhere, or twice.
    """
    network = overrides.network
    if network is None and source.options.get("network") == "ddamfn":
        network = "ddamfn"
    if network is not None:
        known = KNOWN[network]
        for option, value in (
            ("--labels", overrides.labels if known.orders else ()),
            ("--normalisation", overrides.normalisation),
            ("--value-range", overrides.value_range),
            ("--mean", overrides.mean),
            ("--std", overrides.std),
        ):
            if value:
                raise ModelError(f"{option}: --network {network} states it; leave it out")
        overrides = replace(overrides, network=network)
        if known.orders:
            return overrides
    if not overrides.labels:
        if not source.labels:
            raise ModelError(
                f"--weights {weights}: neither the file nor its names state the order of its"
                f" classes; give --network {'|'.join(KNOWN)} or --labels"
            )
        check_labels(source.labels, some=overrides.any_network)
        overrides = replace(overrides, labels=source.labels)
    return overrides


class _ExpressionCheckpoint:
    """An expression network, converted (see ``driver.Checkpoint``)."""

    to_lite = staticmethod(convert_float)

    def __init__(
        self, original: Original, weights: Path, mono: bool, options: driver.ExportOptions
    ) -> None:
        self._original, self._options = original, options
        source, overrides = original.source, original.preparation.options
        verified = "not checked"
        if overrides.verify:
            verified = face_check(original, where=f"--weights {weights}")
        self._split = split_pictures(options.calibration) if options.calibration else None
        self._to_evaluate: list[Luma] = []
        self._limits = {
            role: limit
            for role, limit in _FLOAT_LIMITS.items()
            if role != "affect" or original.affect is not None
        }
        converted = _converted(original, weights, mono=mono)
        unknown = tuple(name for name in EXPRESSIONS if name not in overrides.labels)
        self.content = converted.content
        self.draft = driver.Draft(
            stem="expression",
            float_limits=self._limits,
            task="facial-expression",
            decoder="mobilenet-fer" if original.affect is not None else "classifier",
            input=converted.input,
            outputs=converted.outputs,
            labels=overrides.labels,
            unknown_expressions=unknown or None,
            anchors=None
            if original.affect is not None
            else Anchors(origin=ANCHORS_ORIGIN, points=ANCHOR_POINTS),
            source=Source(
                file=weights.name,
                sha256=source.sha256,
                licence=overrides.licence or source.licence or driver.UNKNOWN,
                citation=overrides.citation or source.citation or driver.UNKNOWN,
            ),
            options=converted.options
            | ({"network": overrides.network} if overrides.network else {})
            | (
                {"golden_face": verified, "channels": overrides.channels}
                if overrides.any_network
                else {}
            ),
            recalibration=overrides.recalibration,
            golden=expression_golden(
                original.predict,
                overrides.recalibration,
                int8=options.int8,
                labels=overrides.labels,
                mistakes=[original.predict_reversed] if original.has_ordered_channels else [],
            ),
        )

    def quantisation(self, reference: Network) -> driver.Quantisation:
        options, split = self._options, self._split
        if split is None:
            return driver.Quantisation()
        options.progress("faces in the calibration pictures")
        # also without int8: the figures of float artifacts are comparable then
        to_calibrate, self._to_evaluate = calibration_faces(split, self._original)
        if not options.int8:
            return driver.Quantisation()
        options.progress("which layers stay float")
        tensors = [reference.tensor(crop) for crop in to_calibrate]
        kept = choose_float_nodes(
            self.content,
            lambda made: driver.run_graph(made, self.draft, reference.info.name, "int8"),
            reference,
            tensors=tensors,
            crops=self._to_evaluate,
            board=options.board,
        )
        return driver.Quantisation(
            calibration=tensors,
            record=split.record,
            float_nodes=kept,
            lite_float_nodes=[*kept, *(each.tensor for each in self.draft.outputs.values())],
            options={"float_nodes": " ".join(kept)},
        )

    def parity(self, network: Network, reference: Network) -> Parity:
        """Compare float artifacts by their largest error, int8 artifacts by their predictions."""
        crops = self._to_evaluate
        agreement = expression_agreement(reference, network, crops) if crops else {}
        if network.info.precision == "int8":
            return check_against_limits(agreement, LIMITS["facial-expression"], len(crops))
        original = self._original
        pictures = sample_pictures(network.info.width, network.info.height)
        parity = measure(
            ((original.heads(picture), network.run(picture[None])) for picture in pictures),
            self._limits,
        )
        metrics = {**agreement, **parity.metrics}
        return check_against_limits(metrics, parity.limits, parity.samples + len(crops))


@dataclass(frozen=True, slots=True)
class _Converted:
    """The float graph of the artifacts, and its entries in the manifest."""

    content: bytes
    input: Input
    outputs: dict[str, Output]
    options: dict[str, str | int | float | bool]


def _converted(original: Original, weights: Path, *, mono: bool) -> _Converted:
    source, preparation = original.source, original.preparation
    model = copy.deepcopy(source.model)
    if not (
        original.expression.whole
        or max(each.version for each in model.opset_import) >= _SLICE_OPSET
    ):
        model = upgrade_opset(model)
    activation = original.expression.activation
    is_softmax = activation == "softmax" or original.expression.in_graph
    expression = expose(model, original.expression, "logits" if is_softmax else "probabilities")
    affect = None if original.affect is None else expose(model, original.affect, "affect")
    heads = [expression] if affect is None else [expression, affect]
    features = expose_features(model)
    keep_outputs(model, [*(head.tensor for head in heads), *filter(None, [features])])
    rename(model, source.input, "input")
    if source.layout == "nhwc":
        take_nchw(model, "input")
    folded = fold_input(model, "input", preparation.affine, mono=mono)
    graph.fold_batch_norms(model)
    for node in model.graph.node:
        node.name = ""  # names of other tools hold characters that onnx2tf changes
    graph.name_nodes(model)
    with prefixed(f"--weights {weights}"):
        content = graph.finish(model)
    channels = 1 if mono else source.channels
    width, height = source.size
    outputs = {"expression": Output(tensor=expression.tensor, activation=expression.activation)}
    if affect is not None:
        outputs["affect"] = Output(
            tensor=affect.tensor,
            activation=affect.activation,
            encoding="none" if affect.signed else "(s-0.5)*2",
        )
    if features:
        outputs[FEATURES] = Output(tensor=features)
    per_sample = preparation.normalisation in ("thesis", "standardised")
    divide = preparation.normalisation == "standardised"
    return _Converted(
        content=content,
        input=Input(
            name="input",
            shape=(1, channels, height, width),
            layout="nchw",
            dtype="float32",
            colour="mono" if channels == 1 else "rgb",
            value_range=preparation.value_range,
            normalisation=PerSampleNormalisation(
                kind="per-sample", divide=divide, epsilon=EPSILON if divide else 0.0
            )
            if per_sample
            else NoNormalisation(kind="none"),
            crop=Crop(shape="square", margin=preparation.margin),
        ),
        outputs=outputs,
        options={
            **source.options,
            "normalisation": preparation.normalisation,
            "margin": preparation.margin,
            "mono": channels == 1,
            "input_affine": folded,
        },
    )
