"""Reads a generator in ONNX: checks it, fixes its size and folds constants."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edge.errors import ModelError
from edge.validation import prefixed
from edge.vision.inference.ort import onnxruntime
from edge.vision.inference.runtimes import OnnxSession
from edge.vision.values import Floats
from exporters.artifacts import graph
from exporters.artifacts.quantize import upgrade_opset

_RANGE_TOLERANCE = 1e-3  # values may exceed -1..1 by this


@dataclass(frozen=True, slots=True)
class OnnxGenerator:
    """A generator of one input and one output.

    Attributes:
        model: the ONNX model, of fixed shapes, NCHW.
        input: name of the input tensor.
        output: name of the output tensor.
        channels: of the input, 1 or 3.
        sha256: of the file.
    """

    model: Any
    input: str
    output: str
    channels: int
    sha256: str


def read_generator(weights: Path, size: tuple[int, int]) -> OnnxGenerator:
    """Return the generator in an ONNX file, for pictures of ``size``.

    Args:
        weights: float32 NCHW, -1..1, 1 or 3 channels in and out; any names; sizes fixed or free.
        size: width and height, pixels.

    Raises:
        ModelError: the file holds another network, or does not run at this size.
    """
    width, height = size
    model, digest = graph.load_graph(weights)
    graph.drop_overridable_weights(model)
    if len(model.graph.input) != 1 or len(model.graph.output) != 1:
        raise ModelError(
            f"--weights {weights}: takes {_names(model.graph.input)} and gives"
            f" {_names(model.graph.output)}; expected a generator of one input and one output"
        )
    (given,), (made,) = model.graph.input, model.graph.output
    shape = _shape(given)
    if len(shape) != 4 or shape[1] not in (1, 3) or given.type.tensor_type.elem_type != 1:
        raise ModelError(
            f"--weights {weights}: takes {given.name} of shape {shape}; expected float32 pictures,"
            " batch x 1 or 3 channels x height x width"
        )
    graph.fix_shapes(model, {given.name: (1, shape[1], height, width)})
    made.type.tensor_type.shape.Clear()
    made.type.tensor_type.shape.dim.extend(
        onnx.TensorShapeProto.Dimension(dim_param=name) for name in "nchw"
    )
    picture = np.linspace(-1, 1, shape[1] * height * width, dtype=np.float32)
    fixed = f", as it was exported for {shape[3]}x{shape[2]}" if shape[3] and shape[2] else ""
    with prefixed(f"--weights {weights}: does not run at {width}x{height}{fixed}"):
        session = OnnxSession(model.SerializeToString(), 1)
        answer = session.run(picture.reshape(1, shape[1], height, width))[made.name]
    _check_picture(answer, weights, size)
    graph.fix_shapes(model, {made.name: answer.shape})
    folded = _fold_constants(model)
    _drop_unused_pad_values(folded)
    folded = upgrade_opset(folded)
    return OnnxGenerator(folded, given.name, made.name, shape[1], digest)


def _check_picture(answer: Floats, weights: Path, size: tuple[int, int]) -> None:
    if answer.shape not in [(1, channels, *size[::-1]) for channels in (1, 3)]:
        raise ModelError(
            f"--weights {weights}: gives the shape {list(answer.shape)} for {size[0]}x{size[1]};"
            " expected a picture of that size with 1 or 3 channels"
        )
    low, high = float(answer.min()), float(answer.max())
    if not (
        low >= -1 - _RANGE_TOLERANCE and high <= 1 + _RANGE_TOLERANCE
    ):  # not finite fails as well
        raise ModelError(
            f"--weights {weights}: gives values from {low:.3g} to {high:.3g}; expected a generator"
            " that ends in tanh, -1 to 1"
        )


def _fold_constants(model: Any) -> Any:
    """Return ``model`` with constant expressions evaluated, such as the sizes of paddings."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory(prefix="affect-edge-") as folder:
        made = Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(made)
        onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return onnx.load_model_from_string(made.read_bytes())


def _drop_unused_pad_values(model: Any) -> None:
    """Remove the constant of reflecting paddings: operator sets after 9 do not allow it.

    The converter to newer sets keeps it.
    """
    for node in model.graph.node:
        named = {each.name: each for each in node.attribute}
        mode = named["mode"].s if "mode" in named else b"constant"
        if node.op_type == "Pad" and mode != b"constant" and "value" in named:
            node.attribute.remove(named["value"])


def _shape(value: Any) -> list[int]:
    """Return the sizes of a tensor; 0 stands for a free size."""
    return [int(each.dim_value) for each in value.type.tensor_type.shape.dim]


def _names(values: Any) -> str:
    return ", ".join(value.name for value in values) or "nothing"
