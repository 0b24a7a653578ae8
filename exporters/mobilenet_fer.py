"""The two-headed expression checkpoint -> a model folder for the daemon.

Takes the mono ONNX graph: one 96x96 picture in, ``logits`` of eight expressions in AffectNet
order and ``affect`` out, neither softmax nor sigmoid applied.
"""

import copy
from pathlib import Path
from typing import Any, Final

import numpy as np

import edge
from edge.errors import ModelError
from edge.expression.crop import square_crop
from edge.expression.mobilenet_fer import MobileNetFer
from edge.golden import expression_findings, golden_picture
from edge.models.manifest import (
    Crop,
    Exporter,
    ExpressionGolden,
    GoldenReading,
    Input,
    Manifest,
    Output,
    PerSampleNormalisation,
    Source,
)
from edge.values import EXPRESSIONS, Box, Floats, Luma
from exporters import graph
from exporters.artifact import compare_and_write, describe, unmeasured
from exporters.parity import Reference

_EPSILON: Final = 0.05
_MARGIN: Final = 0.05
"""Within the 0 to 15 % it was trained with; 103 NIR photographs could not tell 0 to 20 % apart."""

_LIMITS: Final = {"expression": 1e-4, "affect": 1e-4}
"""Largest errors allowed: of a probability, and of the regressor's 0..1."""

_BOXES: Final = ((155.4, 38.9, 86.4, 151.0), (168.6, 94.4, 180.0, 180.0))
"""Parts of the golden picture, x, y, width, height: the face, which is plainly happy; and a region
that reaches over the lower border, where the eight answers differ by a factor of 6 or more."""

_LICENCE: Final = "research use (weights trained on FER2013 pictures; FER+ labels: MIT)"
_CITATION: Final = (
    "E. Barsoum, C. Zhang, C. Canton Ferrer, Z. Zhang: Training deep networks for facial expression"
    " recognition with crowd-sourced label distribution, ICMI 2016; I. Goodfellow et al.:"
    " Challenges in representation learning, ICONIP 2013"
)


def export_mobilenet_fer(weights: Path, out: Path) -> Manifest:
    """Write the model folder ``out`` from the mono ONNX checkpoint; return its manifest.

    Raises:
        ModelError: the file does not fit, or the result does not read the golden face.
    """
    original, digest = graph.load_graph(weights)
    size = _check_original(original, weights)
    reference = Reference(original)
    model = copy.deepcopy(original)
    graph.drop_overridable_weights(model)
    content = graph.finish(model)
    artifact = describe("mobilenet_fer.onnx", content, runtime="onnxruntime", precision="fp32")
    draft = Manifest(
        name=out.name,
        task="facial-expression",
        decoder="mobilenet-fer",
        artifacts=(artifact,),
        input=Input(
            name="input",
            shape=(1, 1, size, size),
            layout="nchw",
            dtype="float32",
            colour="mono",
            value_range=(0.0, 1.0),
            normalisation=PerSampleNormalisation(kind="per-sample", divide=True, epsilon=_EPSILON),
            crop=Crop(shape="square", margin=_MARGIN),
        ),
        outputs={
            "expression": Output(tensor="logits", activation="softmax"),
            "affect": Output(tensor="affect", activation="sigmoid", encoding="(s-0.5)*2"),
        },
        labels=EXPRESSIONS,
        source=Source(file=weights.name, sha256=digest, licence=_LICENCE, citation=_CITATION),
        exporter=Exporter(version=edge.__version__, options={"margin": _MARGIN}),
        parity={artifact.file: unmeasured(_LIMITS)},
        golden=_golden(reference, size),
    )
    return compare_and_write(
        out,
        draft,
        content,
        original=lambda picture: _reference_heads(reference, picture),
        limits=_LIMITS,
        findings=lambda network: expression_findings(MobileNetFer(network)),
    )


def _check_original(model: Any, weights: Path) -> int:
    """Return the side of the square input."""
    stored = {weight.name for weight in model.graph.initializer}
    inputs = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in model.graph.input
        if value.name not in stored
    }
    outputs = {value.name for value in model.graph.output}
    shape = inputs.get("input", [])
    square = len(shape) == 4 and shape[:2] == [1, 1] and shape[2] == shape[3] > 0
    if len(inputs) != 1 or not square or not outputs >= {"logits", "affect"}:
        raise ModelError(
            f"--weights {weights}: expected one input 'input' of 1x1xNxN and the outputs logits and"
            f" affect; this one takes {inputs} and gives {', '.join(sorted(outputs))}"
        )
    return int(shape[2])


def _reference_heads(reference: Reference, picture: Luma) -> dict[str, Floats]:
    """Return softmax and sigmoid of the original network's heads, as it was trained."""
    pixels = picture.astype(np.float64) / 255
    tensor = ((pixels - pixels.mean()) / (pixels.std() + _EPSILON)).astype(np.float32)
    heads = reference.run(tensor[None, None], ["logits", "affect"])
    powers = np.exp(heads["logits"] - heads["logits"].max())
    return {"expression": powers / powers.sum(), "affect": 1 / (1 + np.exp(-heads["affect"]))}


def _golden(reference: Reference, size: int) -> ExpressionGolden:
    """Return what the original network, not the artifact, reads from the golden picture."""
    picture, digest = golden_picture()
    readings = []
    for box in _BOXES:
        crop = square_crop(picture, Box(*box), (size, size), _MARGIN)
        heads = _reference_heads(reference, crop)
        valence, arousal = (float(2 * share - 1) for share in heads["affect"][0])
        readings.append(
            GoldenReading(
                box=box,
                probabilities={
                    label: float(f"{value:.4g}")
                    for label, value in zip(
                        EXPRESSIONS, heads["expression"][0].tolist(), strict=True
                    )
                },
                valence=round(valence, 4),
                arousal=round(arousal, 4),
            )
        )
    return ExpressionGolden(
        kind="expression",
        picture_sha256=digest,
        readings=tuple(readings),
        # twice what one grey level of noise on every pixel does; x instead of x / 255 before the
        # normalisation, which shows through epsilon alone, falls outside
        probability_max=0.025,
        log_probability_max=0.15,
        affect_max=0.025,
    )
