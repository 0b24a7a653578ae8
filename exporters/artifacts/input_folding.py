"""Folds the input normalisation into the first convolution of a graph.

Networks trained elsewhere begin with fixed operations: a transposition from NHWC, a batch norm, a
fixed mean and standard deviation, three channels that are equal for a mono camera. Each is an
affine function ``a * x + b`` per channel, and a convolution of it is again a convolution, unless it
pads with zeros: at the border the padding is 0, not ``b``. In that case the affine function stays a
separate 1x1 convolution in front, which is exact, too.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Doubles = NDArray[np.float64]
Place = Literal["nothing to fold", "in the first convolution", "in front of the first convolution"]


@dataclass(frozen=True, slots=True)
class Affine:
    """``scale * x + shift`` of each channel, (channels,) each."""

    scale: Doubles
    shift: Doubles

    def then(self, scale: Doubles, shift: Doubles) -> "Affine":
        """Return this function followed by another."""
        return Affine(self.scale * scale, self.shift * scale + shift)


def normalise_by(channels: int, mean: Doubles, std: Doubles) -> Affine:
    """Return ``(x - mean) / std``; one number serves all ``channels`` channels."""
    ones = np.ones(channels)
    return Affine(ones / std, ones * -mean / std)


def take_nchw(model: Any, name: str) -> None:
    """Change the NHWC input ``name`` to NCHW.

    Transpositions at the start of the graph are removed, also one behind scaling of each channel;
    other uses of the input get a new one.
    """
    _transpose_first(model, name)
    graph = model.graph
    (value,) = (each for each in graph.input if each.name == name)
    batch, height, width, channels = (each.dim_value for each in value.type.tensor_type.shape.dim)
    value.CopyFrom(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (batch, channels, height, width))
    )
    users = [node for node in graph.node if name in node.input]
    first = [node for node in users if node.op_type == "Transpose" and _perm(node) == [0, 3, 1, 2]]
    if len(first) < len(users):
        rows = unused_name(model, f"{name}_nhwc")
        _replace(model, name, rows)
        graph.node.insert(0, helper.make_node("Transpose", [name], [rows], perm=[0, 2, 3, 1]))
    for node in first:
        graph.node.remove(node)
        _replace(model, node.output[0], name)


def _transpose_first(model: Any, name: str) -> None:
    """Move a transposition to NCHW before the arithmetic that the graph begins with."""
    graph = model.graph
    kept = {value.name for value in graph.output}
    arithmetic: list[Any] = []
    reached = name
    while True:
        users = [node for node in graph.node if reached in node.input]
        if len(users) != 1 or reached in kept:
            return
        (node,) = users
        if node.op_type == "Transpose" and _perm(node) == [0, 3, 1, 2]:
            break
        if node.op_type not in ("Add", "Sub", "Mul", "Div", "Identity"):
            return
        constants = [_array(model, each) for each in node.input if each != reached]
        if any(each is None or each.shape[:-1] != (1,) * (each.ndim - 1) for each in constants):
            return
        arithmetic.append(node)
        reached = node.output[0]
    if not arithmetic or node.output[0] in kept:
        return
    planes = unused_name(model, f"{name}_planes")
    source = name
    for each in arithmetic:
        for place, operand in enumerate(each.input):
            if operand == source:
                continue
            values = np.asarray(_array(model, operand), np.float64).reshape(-1, 1, 1)
            each.input[place] = _constant(model, unused_name(model, f"{operand}_planes"), values)
        source = each.output[0]
    graph.node.remove(node)
    _replace(model, node.output[0], reached)
    _replace(model, name, planes)
    node.input[0], node.output[0] = name, planes
    graph.node.insert(0, node)


def after_affine(model: Any, name: str, channels: int) -> str:
    """Return the tensor that the affine functions behind the NCHW input ``name`` lead to."""
    return _leading_affine(model, name, normalise_by(channels, np.zeros(1), np.ones(1)))[1]


def fold_input(model: Any, name: str, before: Affine, *, mono: bool) -> Place:
    """Apply ``before`` to the NCHW input ``name``, folded into the first convolution if exact.

    The graph's own affine operations at the start are folded, too. Exact means: the same function
    except for rounding; with ``mono``, for pictures whose channels are equal.

    Args:
        model: an ONNX model, changed in place.
        name: its input, float (1, channels, height, width).
        before: function to apply to each channel first.
        mono: reduce the input to one channel.

    Returns:
        Where the function is applied; in front means by a 1x1 convolution.
    """
    channels = len(before.scale)
    affine, reached, affine_nodes = _leading_affine(model, name, before)
    plain = bool((affine.scale == 1).all() and (affine.shift == 0).all())
    if plain and not affine_nodes and (not mono or channels == 1):
        return "nothing to fold"
    (value,) = (each for each in model.graph.input if each.name == name)
    if mono:
        value.type.tensor_type.shape.dim[1].dim_value = 1
    users = [node for node in model.graph.node if reached in node.input]
    for node in affine_nodes:
        model.graph.node.remove(node)
    if len(users) == 1 and _fold_into(model, users[0], reached, affine, mono=mono):
        users[0].input[0] = name
        return "in the first convolution"
    if plain and not mono:
        _replace(model, reached, name)
        return "nothing to fold"
    front = unused_name(model, f"{name}_affine")
    weight = affine.scale.reshape(channels, 1, 1, 1)
    constants = [
        _constant(model, f"{front}_kernel", weight), _constant(model, f"{front}_bias", affine.shift)
    ]  # fmt: skip
    _replace(model, reached, front)
    node = helper.make_node(
        "Conv", [name, *constants], [front], name=front, kernel_shape=[1, 1],
        group=1 if mono else channels,
    )  # fmt: skip
    model.graph.node.insert(0, node)
    return "in front of the first convolution"


def _leading_affine(model: Any, name: str, before: Affine) -> tuple[Affine, str, list[Any]]:
    """Return the composed function, the tensor after it, and the nodes that compute it."""
    affine, reached, affine_nodes = before, name, []
    kept = {value.name for value in model.graph.output}
    while reached not in kept:
        users = [node for node in model.graph.node if reached in node.input]
        if len(users) != 1:
            break
        step = _affine_of_node(model, users[0], reached, len(affine.scale))
        if step is None:
            break
        affine, reached = affine.then(*step), users[0].output[0]
        affine_nodes.append(users[0])
    return affine, reached, affine_nodes


def _affine_of_node(
    model: Any, node: Any, name: str, channels: int
) -> tuple[Doubles, Doubles] | None:
    """Return scale and shift of a node that is affine per channel; else None."""
    ones, zeros = np.ones(channels), np.zeros(channels)
    if node.op_type == "Identity":
        return ones, zeros
    if node.op_type == "BatchNormalization" and node.input[0] == name:
        constants = [_array(model, each) for each in node.input[1:5]]
        settings = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        if any(each is None for each in constants) or settings.get("training_mode", 0):
            return None
        gamma, beta, mean, variance = (np.asarray(each, np.float64) for each in constants)
        scale = gamma / np.sqrt(variance + settings.get("epsilon", 1e-5))
        return scale, beta - mean * scale
    if node.op_type not in ("Add", "Sub", "Mul", "Div") or len(node.input) != 2:
        return None
    first = node.input[0] == name
    value = _per_channel(model, node.input[1] if first else node.input[0], channels)
    if value is None or (node.op_type == "Div" and (not first or (value == 0).any())):
        return None
    return {
        "Add": (ones, value),
        "Sub": (ones, -value) if first else (-ones, value),
        "Mul": (value, zeros),
        "Div": (1 / np.where(value == 0, 1, value), zeros),
    }[node.op_type]


def _per_channel(model: Any, name: str, channels: int) -> Doubles | None:
    """Return a constant as one number per channel of NCHW maps; None if it is not constant."""
    array = _array(model, name)
    if array is None or array.ndim > 4:
        return None
    shape = (1,) * (4 - array.ndim) + array.shape
    if shape[0] != 1 or shape[2:] != (1, 1) or shape[1] not in (1, channels):
        return None
    return np.broadcast_to(array.reshape(-1), channels).astype(np.float64)


def _fold_into(model: Any, node: Any, name: str, affine: Affine, *, mono: bool) -> bool:
    """Fold ``affine`` into the convolution ``node`` if that is exact; return whether it was."""
    if node.op_type != "Conv" or node.input[0] != name:
        return False
    settings = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    weight = _array(model, node.input[1])
    bias = _array(model, node.input[2]) if len(node.input) > 2 else None
    if weight is None or settings.get("group", 1) != 1 or (len(node.input) > 2 and bias is None):
        return False
    padded = any(settings.get("pads", ())) or settings.get("auto_pad", b"NOTSET") not in (
        b"NOTSET", b"VALID",
    )  # fmt: skip
    if padded and affine.shift.any():
        return False
    kernel = weight.astype(np.float64)
    shift = np.einsum("ocij,c->o", kernel, affine.shift)
    kernel = kernel * affine.scale[None, :, None, None]
    if mono:
        kernel = kernel.sum(axis=1, keepdims=True)
    # new names: another node may share the weights
    stem = unused_name(model, f"{name}_folded")
    inputs = [node.input[0], _constant(model, f"{stem}_kernel", kernel)]
    if bias is not None or shift.any():
        total = shift + (0 if bias is None else bias.astype(np.float64))
        inputs.append(_constant(model, f"{stem}_bias", total))
    del node.input[:]
    node.input.extend(inputs)
    return True


def unused_name(model: Any, name: str) -> str:
    """Return ``name``, with underscores appended until no tensor of the graph has it."""
    graph = model.graph
    taken = {each.name for each in (*graph.input, *graph.output, *graph.initializer)}
    taken |= {each for node in graph.node for each in (*node.input, *node.output)}
    while any(each == name or each.startswith(f"{name}_") for each in taken):
        name += "_"
    return name


def _perm(node: Any) -> list[int]:
    return [number for each in node.attribute if each.name == "perm" for number in each.ints]


def _replace(model: Any, old: str, new: str) -> None:
    for node in model.graph.node:
        for place, each in enumerate(node.input):
            if each == old:
                node.input[place] = new


def _constant(model: Any, name: str, values: Doubles) -> str:
    array = np.ascontiguousarray(values, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(array, name))
    return name


def _array(model: Any, name: str) -> NDArray[Any] | None:
    """Return the constant ``name``; None if it is not a constant."""
    for each in model.graph.initializer:
        if each.name == name:
            return np.asarray(numpy_helper.to_array(each))
    for node in model.graph.node:
        if node.op_type == "Constant" and node.output[0] == name:
            for attribute in node.attribute:
                if attribute.name == "value":
                    return np.asarray(numpy_helper.to_array(attribute.t))
    return None
