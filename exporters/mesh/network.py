"""Builds one ONNX graph of the two networks of ``face_landmarker.task``.

The first network gives 478 points from a picture, the second 52 coefficients from 146 of them. The
graph takes one grey channel with levels 0..255: three equal channels and the division by 255 are
folded into the first convolution, which is exact.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from edge.errors import ModelError
from edge.vision.inference.runtimes import LiteRtSession
from edge.vision.mesh.names import COEFFICIENT_POINTS, COEFFICIENTS, POINTS, SIDE_PX
from edge.vision.values import Floats, Luma
from exporters.artifacts import graph
from exporters.artifacts.input_folding import Affine, fold_input
from exporters.artifacts.layers import Layers
from exporters.mesh.task_file import LiteNetwork, Operator, TaskFile

INPUT: Final = "picture"
_SAME, _NO_ACTIVATION, _RELU = 0, 0, 1  # as TensorFlow Lite numbers them
_POINTS_SHAPE: Final = (1, POINTS, 3)


def build_mesh(task: TaskFile) -> Any:
    """Return the ONNX model: ``picture`` to ``points``, ``presence`` and ``coefficients``.

    ``points``: (1, 478, 3), x and y in pixels of the picture, z in the same unit, smaller is
    nearer. ``presence``: (1, 1), a logit. ``coefficients``: (1, 52), 0..1, in the order of
    ``COEFFICIENTS``.

    Raises:
        ModelError: a network has an operation that is not known here.
    """
    layers = Layers({}, "the face mesh")
    landmarks = LiteNetwork(task.landmarks)
    points, presence, _ = landmarks.outputs  # the third says whether the tongue is out
    names = {landmarks.inputs[0]: INPUT}
    for each in landmarks.needed_for((points, presence)):
        names[each.output] = _spatial(layers, landmarks, each, names)
    shape = layers.constant("points_shape", np.array(_POINTS_SHAPE, np.int64))
    layers.node("Reshape", [names[points], shape], "points")
    shape = layers.constant("presence_shape", np.array((1, 1), np.int64))
    layers.node("Reshape", [names[presence], shape], "presence")
    chosen = layers.constant("chosen", np.array(COEFFICIENT_POINTS, np.int64))
    layers.node("Gather", ["points", chosen], "chosen_points", axis=1)
    coefficients = LiteNetwork(task.coefficients)
    bounds = [
        layers.constant(f"plane_{name}", np.array([value], np.int64))
        for name, value in (("begin", 0), ("end", 2), ("axis", 2))
    ]
    flat = layers.node("Slice", ["chosen_points", *bounds], "flat_points")
    names = {coefficients.inputs[0]: flat}
    for each in coefficients.operators:
        names[each.output] = _general(layers, coefficients, each, names)
    shape = layers.constant("coefficients_shape", np.array((1, len(COEFFICIENTS)), np.int64))
    layers.node("Reshape", [names[coefficients.outputs[0]], shape], "coefficients")
    model = layers.model(
        {INPUT: (1, 3, SIDE_PX, SIDE_PX)},
        {"points": _POINTS_SHAPE, "presence": (1, 1), "coefficients": (1, len(COEFFICIENTS))},
    )
    fold_input(model, INPUT, Affine(np.full(3, 1 / 255), np.zeros(3)), mono=True)
    graph.name_nodes(model)
    return model


def originals(task: TaskFile) -> Callable[[Luma], dict[str, Floats]]:
    """Return a function that runs the two networks unchanged, by LiteRT, on a grey picture.

    It takes uint8 (256, 256) and returns what the graph of ``build_mesh`` gives.
    """
    first, second = LiteRtSession(task.landmarks, 1), LiteRtSession(task.coefficients, 1)
    chosen = list(COEFFICIENT_POINTS)

    def run(picture: Luma) -> dict[str, Floats]:
        levels = picture.astype(np.float32) / np.float32(255)
        found = first.run(np.repeat(levels[None, :, :, None], 3, axis=3))
        points = found["Identity"].reshape(_POINTS_SHAPE)
        (coefficients,) = second.run(np.ascontiguousarray(points[:, chosen, :2])).values()
        presence = found["Identity_1"].reshape(1, 1)
        # as the manifest's activation gives it
        presence = np.float32(0.5) + np.float32(0.5) * np.tanh(presence * np.float32(0.5))
        return {"points": points, "presence": presence, "coefficients": coefficients[None]}

    return run


def _spatial(layers: Layers, network: LiteNetwork, each: Operator, names: dict[int, str]) -> str:
    """Add an operation on NHWC pictures, as one on NCHW pictures; return its output."""
    output = f"landmarks_{each.output}"
    value, options = names[each.inputs[0]], each.options
    match each.kind:
        case "CONV_2D" | "DEPTHWISE_CONV_2D":
            kernel = network.constant(each.inputs[1])
            is_depthwise = each.kind == "DEPTHWISE_CONV_2D"
            kernel = kernel.transpose(3, 0, 1, 2) if is_depthwise else kernel.transpose(0, 3, 1, 2)
            sides = kernel.shape[2:]
            group = kernel.shape[0] if is_depthwise else 1
            strides = [options["strideH"], options["strideW"]]
            _check_activation(each)
            return layers.node(
                "Conv",
                [
                    value,
                    layers.constant(f"{output}_kernel", kernel),
                    layers.constant(f"{output}_bias", network.constant(each.inputs[2])),
                ],
                output,
                kernel_shape=list(sides),
                strides=strides,
                group=group,
                pads=_pads(network.shapes[each.inputs[0]][1:3], sides, strides, options),
            )
        case "PRELU":
            slope = network.constant(each.inputs[1]).reshape(-1, 1, 1)
            return layers.node("PRelu", [value, layers.constant(f"{output}_slope", slope)], output)
        case "ADD":
            _check_activation(each)
            return layers.node("Add", [value, names[each.inputs[1]]], output)
        case "MAX_POOL_2D":
            return layers.node(
                "MaxPool", [value], output,
                kernel_shape=[options["filterHeight"], options["filterWidth"]],
                strides=[options["strideH"], options["strideW"]],
            )  # fmt: skip
        case "PAD":
            pads = network.constants[each.inputs[1]][[0, 3, 1, 2]].T.reshape(-1).astype(np.int64)
            return layers.node("Pad", [value, layers.constant(f"{output}_pads", pads)], output)
    raise _unknown(each)


def _general(layers: Layers, network: LiteNetwork, each: Operator, names: dict[int, str]) -> str:
    """Add an operation whose axes stay as they are; return its output."""
    output = f"coefficients_{each.output}"

    def tensor(place: int) -> str:
        if place not in names:
            name = f"coefficients_constant_{place}"
            names[place] = layers.constant(name, network.constant(place))
        return names[place]

    first = tensor(each.inputs[0])
    if each.kind == "STRIDED_SLICE":
        return _sliced(layers, network, each, first, output)
    if each.kind == "CONV_2D":
        return _pointwise(layers, network, each, first, output)
    rank = len(network.shapes[each.inputs[0]])
    inputs: list[str] = [first]
    attributes: dict[str, Any] = {}
    kind = _KINDS.get(each.kind, "")
    match each.kind:
        case "ADD" | "SUB" | "MUL" | "DIV":
            _check_activation(each)
            inputs.append(tensor(each.inputs[1]))
        case "NEG" | "SQRT" | "LOGISTIC":
            pass
        case "RSQRT":
            inputs = [layers.node("Sqrt", [first], f"{output}_root")]
        case "SQUARED_DIFFERENCE":
            gap = layers.node("Sub", [first, tensor(each.inputs[1])], f"{output}_gap")
            inputs = [gap, gap]
        case "MEAN":
            axes = np.atleast_1d(network.constants[each.inputs[1]]) % rank
            attributes = {"axes": axes.tolist(), "keepdims": 1}
        case "SUM":
            axes = np.atleast_1d(network.constants[each.inputs[1]]).astype(np.int64) % rank
            inputs.append(layers.constant(f"{output}_axes", axes))
            attributes = {"keepdims": 1}
        case "TRANSPOSE":
            attributes = {"perm": network.constants[each.inputs[1]].tolist()}
        case "RESHAPE":
            shape = np.array(network.shapes[each.output], np.int64)
            inputs.append(layers.constant(f"{output}_shape", shape))
        case "CONCATENATION":
            _check_activation(each)
            inputs = [tensor(place) for place in each.inputs]
            attributes = {"axis": each.options["axis"] % rank}
        case _:
            raise _unknown(each)
    return layers.node(kind, inputs, output, **attributes)


_KINDS: Final = {
    "ADD": "Add", "SUB": "Sub", "MUL": "Mul", "DIV": "Div", "NEG": "Neg", "SQRT": "Sqrt",
    "LOGISTIC": "Sigmoid", "RSQRT": "Reciprocal", "SQUARED_DIFFERENCE": "Mul",
    "MEAN": "ReduceMean", "SUM": "ReduceSum", "TRANSPOSE": "Transpose", "RESHAPE": "Reshape",
    "CONCATENATION": "Concat",
}  # fmt: skip
"""Operations of TensorFlow Lite whose axes stay as they are -> the last node that they become."""


def _sliced(layers: Layers, network: LiteNetwork, each: Operator, value: str, output: str) -> str:
    """Add a slice with the shape that the file states; every slice there begins at 0."""
    begin, _, strides = (network.constants[place] for place in each.inputs[1:])
    if begin.any() or (strides != 1).any():
        raise _unknown(each)
    kept = network.shapes[each.output]
    if each.options["shrinkAxisMask"]:
        shape = layers.constant(f"{output}_shape", np.array(kept, np.int64))
        return layers.node("Reshape", [value, shape], output)
    bounds = [
        layers.constant(f"{output}_{name}", np.array(values, np.int64))
        for name, values in (("begin", [0] * len(kept)), ("end", kept))
    ]
    return layers.node("Slice", [value, *bounds], output)


def _pointwise(
    layers: Layers, network: LiteNetwork, each: Operator, value: str, output: str
) -> str:
    """Add a 1x1 convolution over the last axis: a product of matrices."""
    kernel = network.constant(each.inputs[1])
    if kernel.shape[1:3] != (1, 1):
        raise _unknown(each)
    matrix = layers.constant(f"{output}_matrix", kernel[:, 0, 0].T)
    product = layers.node("MatMul", [value, matrix], f"{output}_product")
    bias = layers.constant(f"{output}_bias", network.constant(each.inputs[2]))
    activation = each.options["fusedActivationFunction"]
    if activation == _NO_ACTIVATION:
        return layers.node("Add", [product, bias], output)
    if activation != _RELU:
        raise _unknown(each)
    return layers.node("Relu", [layers.node("Add", [product, bias], f"{output}_sum")], output)


def _pads(
    size: tuple[int, ...], kernel: tuple[int, ...], strides: list[int], options: Any
) -> list[int]:
    """Return the padding before and after each axis; TensorFlow pads more after than before."""
    if options["padding"] != _SAME:
        return [0, 0, 0, 0]
    before, after = [], []
    for length, side, stride in zip(size, kernel, strides, strict=True):
        total = max(0, (-(-length // stride) - 1) * stride + side - length)
        before.append(total // 2)
        after.append(total - total // 2)
    return [*before, *after]


def _check_activation(each: Operator) -> None:
    if each.options["fusedActivationFunction"] != _NO_ACTIVATION:
        raise _unknown(each)


def _unknown(each: Operator) -> ModelError:
    return ModelError(f"face mesh: operation {each.kind} is not known in this form")
