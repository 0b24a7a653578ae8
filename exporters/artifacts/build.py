"""Builds the artifacts of a model folder from one float graph: ONNX, TensorFlow Lite, fp32, int8.

This module checks that an artifact loads, runs, and has the graph's inputs and outputs. ``write``
compares its values with those of the original network.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import numpy as np
import onnx

from edge.errors import InferenceError, ModelError
from edge.vision.inference.manifest import Artifact, Layout, Precision, Runtime
from edge.vision.inference.runtimes import Session, open_session
from edge.vision.values import Floats
from exporters.artifacts.quantize import Board, check_quantizer, quantize_onnx, quantize_tflite
from exporters.artifacts.tflite import convert_float, onnx2tf_path, tensors_made_from
from exporters.artifacts.write import describe

_ORDERS: Final[dict[Layout, tuple[int, ...]]] = {"nchw": (0, 1, 2, 3), "nhwc": (0, 2, 3, 1)}

FORMATS: Final = ("onnx", "tflite")
PRECISIONS: Final = ("fp32", "int8")

Progress = Callable[[str], None]


def check_tools(
    formats: Sequence[str], precisions: Sequence[str], *, calibrated: bool, converter: bool = True
) -> None:
    """Check that the artifacts can be built here, before any work begins.

    Args:
        formats: some of ``FORMATS``.
        precisions: some of ``PRECISIONS``.
        calibrated: whether calibration pictures are given.
        converter: whether TensorFlow Lite needs onnx2tf.

    Raises:
        ModelError: a format or precision is unknown or given twice, a tool is missing, or int8
            has no calibration pictures; one line.
    """
    for option, words, known in (
        ("--formats", formats, FORMATS),
        ("--precisions", precisions, PRECISIONS),
    ):
        text = ",".join(words)
        if "fp16" in words:
            raise ModelError(
                f"{option} {text}: fp16 is not built: no runtime here is faster with it, and"
                " tflite-runtime refuses its files; use fp32 or int8"
            )
        for word in words:
            if word not in known:
                raise ModelError(f"{option} {text}: {word!r} is none of {', '.join(known)}")
        if not words or len(set(words)) != len(words):
            raise ModelError(f"{option} {text}: expected some of {', '.join(known)}, each once")
    if "int8" in precisions and not calibrated:
        raise ModelError(
            "--precisions int8: ranges are measured on pictures; expected --calibration DIR"
        )
    if "tflite" in formats:
        if converter:
            onnx2tf_path()
        if "int8" in precisions:
            check_quantizer()


def build_artifacts(
    model: bytes,
    *,
    stem: str,
    formats: Sequence[str],
    precisions: Sequence[str],
    calibration: Sequence[Floats] = (),
    float_nodes: Collection[str] = (),
    lite_float_nodes: Collection[str] | None = None,
    int8_operators: Sequence[str] | None = None,
    board: Board = "x86",
    to_lite: Callable[[bytes], bytes] = convert_float,
    progress: Progress = lambda text: None,
) -> dict[Artifact, bytes]:
    """Return the artifacts of one float graph: manifest entries and bytes, in the given order.

    The files are ``STEM.onnx``, ``STEM.int8.onnx``, ``STEM.tflite`` and ``STEM.int8.tflite``.
    All have the graph's tensor names. TensorFlow Lite files have their four-dimensional tensors in
    NHWC, and in int8 integer inputs and outputs unless ``float_nodes`` keeps them float.

    Args:
        model: a float graph of fixed shape with one NCHW input, from ``graph.finish``, its nodes
            named (``graph.name_nodes``).
        stem: start of the file names.
        formats: some of ``FORMATS``.
        precisions: some of ``PRECISIONS``.
        calibration: input tensors in the graph's own layout, needed for int8.
        float_nodes: names of nodes that stay float in int8 artifacts; for TensorFlow Lite a
            node without constants is named by the graph output that it gives.
        lite_float_nodes: the same for TensorFlow Lite alone; None: ``float_nodes``.
        int8_operators: ONNX kinds of nodes to quantise, such as ``Conv``; None: all.
        board: whose int8 kernels to quantise the ONNX artifact for.
        to_lite: makes the float TensorFlow Lite model of the graph; onnx2tf by default.
        progress: called with a line before each long step.

    Raises:
        ModelError: a tool is missing or cannot convert the graph, or its result does not load or
            has other tensors.
    """
    check_tools(
        formats, precisions, calibrated=bool(calibration), converter=to_lite is convert_float
    )
    graph = onnx.load_model_from_string(model).graph
    outputs = {value.name for value in graph.output}
    if len(graph.input) != 1:
        raise ModelError(f"the graph takes {len(graph.input)} inputs, expected 1")
    built: dict[Artifact, bytes] = {}
    if "onnx" in formats:
        if "fp32" in precisions:
            built |= _described(f"{stem}.onnx", model, model, "fp32")
        if "int8" in precisions:
            progress(f"int8 ONNX from {len(calibration)} calibration tensors")
            content = quantize_onnx(
                model,
                calibration,
                float_nodes=float_nodes,
                operators=int8_operators,
                board=board,
            )
            built |= _described(f"{stem}.int8.onnx", content, model, "int8")
    if "tflite" in formats:
        progress("TensorFlow Lite")
        lite = to_lite(model)
        # checked even if only int8 is wanted, for a clearer message
        float_artifact = _described(f"{stem}.tflite", lite, model, "fp32")
        if "fp32" in precisions:
            built |= float_artifact
        if "int8" in precisions:
            progress(f"int8 TensorFlow Lite from {len(calibration)} calibration tensors")
            kept = float_nodes if lite_float_nodes is None else lite_float_nodes
            content = quantize_tflite(
                lite,
                [_nhwc(tensor) for tensor in calibration],
                name=graph.input[0].name,
                float_tensors=_float_tensors(lite, kept, outputs),
                operators=int8_operators,
            )
            built |= _described(f"{stem}.int8.tflite", content, model, "int8")
    return built


def _float_tensors(lite: bytes, nodes: Collection[str], outputs: set[str]) -> set[str]:
    """Return the tensors of ``lite`` that stay float so that ``nodes`` stay float.

    Outputs are quantised all together or not at all: if one stays float, all do.
    """
    tensors = tensors_made_from(lite, nodes)
    return tensors | outputs if tensors & outputs else tensors


def _described(
    file: str, content: bytes, model: bytes, precision: Precision
) -> dict[Artifact, bytes]:
    """Return the manifest entry and bytes of an artifact after a check run.

    Raises:
        ModelError: it does not run, or has other tensors than ``model``.
    """
    runtime: Runtime = "litert" if file.endswith(".tflite") else "onnxruntime"
    graph = onnx.load_model_from_string(model).graph
    (given,) = graph.input
    shapes = {value.name: _shape(value) for value in (given, *graph.output)}
    try:
        session = open_session(runtime, content, 1)
        layout = _layout(session, given.name, shapes)
    except (ModelError, InferenceError) as error:
        raise ModelError(f"{file}: {error}") from error
    dtype: Any = session.inputs[given.name][1]  # the manifest refuses what it does not know
    artifact = describe(
        file,
        content,
        runtime=runtime,
        precision=precision,
        layout=layout if layout != "nchw" else None,
        dtype=dtype if dtype != "float32" else None,
    )
    return {artifact: content}


def _layout(session: Session, name: str, shapes: dict[str, tuple[int, ...]]) -> Layout:
    """Return the layout of an artifact's tensors, found by running it once.

    Raises:
        ModelError: its tensors are not the graph's, in either layout.
        InferenceError: it does not run.
    """
    if set(session.inputs) != {name} or session.outputs != set(shapes) - {name}:
        raise ModelError(
            f"takes {sorted(session.inputs)} and gives {sorted(session.outputs)}, the graph"
            f" {[name]} and {sorted(set(shapes) - {name})}"
        )
    shape, _ = session.inputs[name]
    outputs_found = session.run(np.zeros(shape, np.float32))
    found = {name: shape, **{key: value.shape for key, value in outputs_found.items()}}
    for layout, order in _ORDERS.items():
        if all(
            found[key] == (tuple(known[place] for place in order) if len(known) == 4 else known)
            for key, known in shapes.items()
        ):
            return layout
    raise ModelError(f"has tensors of shapes {found}, the graph {shapes}")


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(each.dim_value for each in value.type.tensor_type.shape.dim)


def _nhwc(tensor: Floats) -> Floats:
    return np.ascontiguousarray(tensor.transpose(0, 2, 3, 1))
