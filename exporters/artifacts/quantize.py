"""Quantises float artifacts to static int8, with ranges measured on calibration tensors.

Weights are quantised per channel: one scale for all channels cost CenterFace 0.04 of overlap.
"""

import contextlib
import io
import logging
import re
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnx
from onnx import version_converter

from edge.errors import ModelError
from edge.vision.inference.ort import errors, quantization
from edge.vision.values import Floats
from exporters.artifacts import graph
from exporters.artifacts.tflite import SETUP, with_output_names

Board = Literal["x86", "arm"]

_OPSET: Final = 17  # per-channel DequantizeLinear needs 13; DepthToSpace in column order, 11
_LITE_OPERATORS: Final[Mapping[str, tuple[str, ...]]] = {
    "Conv": ("CONV_2D", "DEPTHWISE_CONV_2D"),
    "ConvTranspose": ("CONV_2D_TRANSPOSE",),
    "Gemm": ("FULLY_CONNECTED",),
    "MatMul": ("FULLY_CONNECTED",),
    "Add": ("ADD",),
    "Mul": ("MUL",),
}
"""ONNX operator -> its operators in TensorFlow Lite, for those that can be named for int8."""


def quantize_onnx(
    model: bytes,
    calibration: Sequence[Floats],
    *,
    float_nodes: Collection[str] = (),
    operators: Sequence[str] | None = None,
    board: Board = "x86",
) -> bytes:
    """Return the int8 ONNX model of a float one; inputs and outputs stay float.

    Transposed convolutions whose kernel size equals their stride become convolutions, for which
    int8 kernels exist (see ``graph.transposed_to_depth_to_space``).

    Args:
        model: a float graph of fixed shape, from ``graph.finish``.
        calibration: input tensors of the input's shape; at least one.
        float_nodes: names of nodes that stay float.
        operators: kinds of nodes to quantise; None: all that can be.
        board: ``x86`` quantises activations unsigned, as its int8 instructions need; ``arm``
            signed, as its kernels need.

    Raises:
        ModelError: the graph cannot be quantised, or a node in ``float_nodes`` is not in it.
    """
    ort = quantization()
    loaded = upgrade_opset(onnx.load_model_from_string(model))
    if graph.transposed_to_depth_to_space(loaded):
        loaded = onnx.load_model_from_string(graph.finish(loaded))
    known = {node.name for node in loaded.graph.node}
    if absent := set(float_nodes) - known:
        raise ModelError(f"int8: no nodes {sorted(absent)} in the graph; expected their names")
    signed = ort.QuantType.QInt8
    with tempfile.TemporaryDirectory(prefix="affect-edge-") as folder:
        made = Path(folder) / "int8.onnx"
        try:
            with _quiet():
                ort.quantize_static(
                    loaded,
                    made,
                    _Reader(loaded.graph.input[0].name, calibration),
                    quant_format=ort.QuantFormat.QDQ,
                    op_types_to_quantize=list(operators) if operators is not None else None,
                    per_channel=True,
                    activation_type=ort.QuantType.QUInt8 if board == "x86" else signed,
                    weight_type=signed,
                    nodes_to_exclude=sorted(float_nodes),
                    calibrate_method=ort.CalibrationMethod.MinMax,
                )
        except (
            ValueError, RuntimeError, KeyError, OSError, onnx.checker.ValidationError,
            errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.NotImplemented,
        ) as error:  # fmt: skip
            text = " ".join(str(error).split())[:200]
            raise ModelError(f"int8: onnxruntime cannot quantise this graph: {text}") from error
        return graph.finish(onnx.load_model(made))


def upgrade_opset(model: Any) -> Any:
    """Return ``model`` in an operator set that int8 needs.

    Raises:
        ModelError: an operator cannot be converted.
    """
    version = max(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    names = [node.name for node in model.graph.node]
    if version < _OPSET:
        try:
            model = version_converter.convert_version(model, _OPSET)
        except (RuntimeError, version_converter.ConvertError) as error:
            raise ModelError(
                f"the graph's operator set {version} cannot become {_OPSET}:"
                f" {' '.join(str(error).split())[:200]}"
            ) from error
        if len(model.graph.node) == len(names):
            for node, name in zip(model.graph.node, names, strict=True):
                node.name = name
    model.ir_version = max(model.ir_version, 8)
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the tools' warnings, progress bars and statistics: users cannot act on them."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class _Reader:
    """Calibration tensors as onnxruntime's ``CalibrationDataReader``."""

    def __init__(self, name: str, tensors: Sequence[Floats]) -> None:
        self._name = name
        self._tensors: Iterator[Floats] = iter(tensors)

    def get_next(self) -> dict[str, Floats] | None:
        tensor = next(self._tensors, None)
        return None if tensor is None else {self._name: tensor}


def check_quantizer() -> None:
    """Check that TensorFlow Lite models can be quantised here.

    Raises:
        ModelError: the quantiser is not installed.
    """
    try:
        import ai_edge_quantizer  # noqa: F401, PLC0415
    except ImportError as error:
        raise ModelError(f"int8 TensorFlow Lite: no ai-edge-quantizer here; {SETUP}") from error


def quantize_tflite(
    model: bytes,
    calibration: Sequence[Floats],
    *,
    name: str,
    float_tensors: Collection[str] = (),
    operators: Sequence[str] | None = None,
) -> bytes:
    """Return the int8 TensorFlow Lite model of a float one.

    Inputs and outputs are int8, too, unless ``float_tensors`` keeps them float.

    Args:
        model: a float model of one input.
        calibration: input tensors in the model's own layout; at least one.
        name: of the input tensor.
        float_tensors: names of tensors whose operators stay float.
        operators: ONNX kinds of nodes to quantise; None: all that can be.

    Raises:
        ModelError: the quantiser is missing, or refuses the model.
    """
    check_quantizer()
    from ai_edge_quantizer import quantizer, recipe  # noqa: PLC0415

    (static,) = recipe.static_wi8_ai8()
    wanted = ["*"] if operators is None else _lite_operators(operators)
    rules = [{**static, "operation": each} for each in wanted]
    # a rule is looked up by the names of an operator's outputs, each closed by a semicolon
    rules += [
        {"regex": f"(^|;){re.escape(name)};", "operation": "*", "algorithm_key": "no_quantize"}
        for name in sorted(float_tensors)
    ]
    made = quantizer.Quantizer(bytearray(model))
    made.load_quantization_recipe(rules)
    try:
        with _quiet():
            ranges: dict[str, Any] = {}
            for tensor in calibration:
                # one at a time: over several, the tool averages ranges and cuts off rare values
                sample = {"serving_default": [{name: tensor}]}
                _widen(ranges, made.calibrate(sample, num_threads=1))
            content = bytes(made.quantize(ranges).quantized_model or b"")
    except (ValueError, RuntimeError, KeyError) as error:
        text = " ".join(str(error).split())[:200]
        raise ModelError(f"int8: ai-edge-quantizer cannot quantise this model: {text}") from error
    if not content:
        raise ModelError("int8: ai-edge-quantizer gave no model")
    return with_output_names(content, model)


def _widen(ranges: dict[str, Any], observed: Mapping[str, Any]) -> None:
    """Extend ``ranges`` (tensor -> its ``min`` and ``max``) to include the observed ones."""
    for tensor, bounds in observed.items():
        known = ranges.setdefault(tensor, bounds)
        if known and bounds:
            ranges[tensor] = {
                "min": np.minimum(known["min"], bounds["min"]),
                "max": np.maximum(known["max"], bounds["max"]),
            }


def _lite_operators(operators: Sequence[str]) -> list[str]:
    if unknown := [each for each in operators if each not in _LITE_OPERATORS]:
        raise ModelError(
            f"int8: no rule for {', '.join(unknown)}; expected some of {', '.join(_LITE_OPERATORS)}"
        )
    return sorted({name for each in operators for name in _LITE_OPERATORS[each]})
