"""Rewrites ONNX graphs without changing what they compute."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import helper, numpy_helper

from edge.errors import ModelError
from edge.validation import file_errors, mistaken_content, prefixed
from edge.vision.inference.onnx_wire import has_external_data
from exporters.artifacts.float32 import as_float32


def load_graph(path: Path, option: str = "--weights") -> tuple[Any, str]:
    """Return the ONNX model in ``path`` and the sha256 of the file.

    Floats of another size, such as float16, become float32 (``exporters.artifacts.float32``).

    Args:
        path: the file.
        option: the option that named it, for messages.

    Raises:
        ModelError: it is missing, not an ONNX file, or keeps weights in another file.
    """
    with file_errors(option, path, expected="an ONNX file"):
        content = path.read_bytes()
    try:
        if not content:
            raise ValueError("no content")
        external = has_external_data(content)
        model = onnx.load_model_from_string(content)
    except (ValueError, DecodeError) as error:
        kind = mistaken_content(content)
        reason = kind or f"not an ONNX file: {' '.join(str(error).split())}"
        raise ModelError(f"{option} {path}: {reason}") from error
    if external:
        raise ModelError(f"{option} {path}: keeps weights in another file; expected one file")
    with prefixed(f"{option} {path}"):
        as_float32(model)
    return model, hashlib.sha256(content).hexdigest()


def fix_shapes(model: Any, shapes: dict[str, tuple[int, ...]]) -> None:
    """Set the shapes of inputs and outputs by name; drop the shapes of inner tensors."""
    for value in (*model.graph.input, *model.graph.output):
        if value.name in shapes:
            tensor = helper.make_tensor_value_info(
                value.name, value.type.tensor_type.elem_type, shapes[value.name]
            )
            value.CopyFrom(tensor)
    del model.graph.value_info[:]


def drop_overridable_weights(model: Any) -> None:
    """Remove the weights from the graph's inputs, so that a runtime may fold and pack them."""
    weights = {weight.name for weight in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(kept)


def fold_batch_norms(model: Any) -> int:
    """Fold batch norms into the (transposed) convolutions before them; return the number folded.

    ``gamma (Wx - mean) / sqrt(variance + epsilon) + beta`` is again a convolution.
    """
    graph = model.graph
    made_by = {output: node for node in graph.node for output in node.output}
    folded = 0
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        before = made_by.get(norm.input[0])
        users = sum(norm.input[0] in node.input for node in graph.node)
        if before is None or before.op_type not in ("Conv", "ConvTranspose") or users != 1:
            continue
        attributes = {each.name: helper.get_attribute_value(each) for each in norm.attribute}
        gamma, beta, mean, variance = (_weight(model, name) for name in norm.input[1:5])
        factor = gamma / np.sqrt(variance + attributes.get("epsilon", 1e-5))
        weight = _weight(model, before.input[1])
        groups = {each.name: helper.get_attribute_value(each) for each in before.attribute}
        if before.op_type == "ConvTranspose":
            if groups.get("group", 1) != 1:
                continue
            weight = weight * factor[None, :, None, None]
        else:
            weight = weight * factor[:, None, None, None]
        bias = _weight(model, before.input[2]) if len(before.input) > 2 else np.zeros_like(mean)
        names = [*before.input[1:3], f"{before.output[0]}.bias"][:2]
        if any(_uses(model, name) > 1 for name in names):  # another layer has the same weights
            names = [f"{before.output[0]}.folded.{part}" for part in ("weight", "bias")]
        _set_weight(model, names[0], weight)
        _set_weight(model, names[1], (bias - mean) * factor + beta)
        del before.input[1:]
        before.input.extend(names)
        before.output[0] = norm.output[0]
        graph.node.remove(norm)
        folded += 1
    return folded


def name_nodes(model: Any) -> None:
    """Name each unnamed node by operator and position, such as ``Conv_12``.

    Nodes that stay float are chosen by name, and onnx2tf names tensors after nodes.
    """
    for place, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{place}"


def transposed_to_depth_to_space(model: Any) -> int:
    """Rewrite transposed convolutions whose kernel size equals the stride; return the number.

    There each input pixel gives an output block of its own. So a 1x1 convolution to ``channels *
    kernel height * kernel width`` channels and a DepthToSpace in column order compute the same
    function, with operators that run in int8. Needs operator set 11.
    """
    rewritten = 0
    for node in [each for each in model.graph.node if each.op_type == "ConvTranspose"]:
        settings = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        weight = _weight(model, node.input[1])
        high, wide = weight.shape[2:]
        if (
            high != wide
            or list(settings.get("strides", (1, 1))) != [high, wide]
            or settings.get("group", 1) != 1
            or any(settings.get("pads", ()))
            or any(settings.get("output_padding", ()))
            or list(settings.get("dilations", (1, 1))) != [1, 1]
        ):
            continue
        inner, outer = weight.shape[:2]
        flat = weight.transpose(1, 2, 3, 0).reshape(outer * high * wide, inner, 1, 1)
        _set_weight(model, f"{node.name}.flat", flat)
        inputs = [node.input[0], f"{node.name}.flat"]
        if len(node.input) > 2:
            bias = np.repeat(_weight(model, node.input[2]), high * wide)
            _set_weight(model, f"{node.name}.flat.bias", bias)
            inputs.append(f"{node.name}.flat.bias")
        deep = f"{node.output[0]}.deep"
        place = list(model.graph.node).index(node)
        pair = [
            helper.make_node("Conv", inputs, [deep], node.name, kernel_shape=[1, 1]),
            helper.make_node(
                "DepthToSpace",
                [deep],
                list(node.output),
                f"{node.name}_space",
                blocksize=high,
                mode="CRD",
            ),
        ]
        model.graph.node.remove(node)
        for each in reversed(pair):
            model.graph.node.insert(place, each)
        rewritten += 1
    return rewritten


def store_constants(model: Any) -> None:
    """Make a stored weight of each Constant node."""
    graph = model.graph
    for node in [each for each in graph.node if each.op_type == "Constant"]:
        values = [each.t for each in node.attribute if each.name == "value"]
        if values:
            values[0].name = node.output[0]
            graph.initializer.append(values[0])
            graph.node.remove(node)


def input_channels(model: Any, name: str) -> int:
    """Return the number of input channels of the convolution that reads the tensor ``name``.

    Raises:
        ModelError: not exactly one node reads the tensor, or it is not a convolution.
    """
    return int(_weight(model, _first_convolution(model, name).input[1]).shape[1])


def fold_to_mono(model: Any, name: str) -> None:
    """Reduce the input ``name`` to one channel: exact for pictures with three equal channels.

    Raises:
        ModelError: not exactly one node reads the input, or it is not a convolution of three
            channels.
    """
    name = _first_convolution(model, name, "; it cannot become mono").input[1]
    weight = _weight(model, name)
    if weight.shape[1] != 3:
        raise ModelError(f"first convolution takes {weight.shape[1]} channels, expected 3")
    _set_weight(model, name, weight.sum(axis=1, keepdims=True))


def _first_convolution(model: Any, name: str, consequence: str = "") -> Any:
    users = [node for node in model.graph.node if name in node.input]
    if len(users) != 1 or users[0].op_type != "Conv":
        operators = ", ".join(sorted({node.op_type for node in users})) or "nothing"
        raise ModelError(
            f"{name} goes into {operators}; expected one convolution, with nothing before it but"
            f" casts, a transposition and scaling of each channel{consequence}"
        )
    return users[0]


def finish(model: Any) -> bytes:
    """Return the model as deterministic bytes, checked, without unused weights and notes.

    Raises:
        ModelError: the graph is not valid.
    """
    graph = model.graph
    used = {name for node in graph.node for name in node.input}
    kept = [weight for weight in graph.initializer if weight.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del model.metadata_props[:]
    for noted in (model, graph, *graph.node):
        noted.doc_string = ""  # other exporters leave paths of their machine here
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the graph is not valid: {' '.join(str(error).split())[:200]}") from error
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _uses(model: Any, name: str) -> int:
    return sum(each == name for node in model.graph.node for each in node.input)


def _weight(model: Any, name: str) -> Any:
    for weight in model.graph.initializer:
        if weight.name == name:
            try:
                return numpy_helper.to_array(weight).astype(np.float64)
            except (ValueError, TypeError) as error:
                raise ModelError(f"weight {name} is not what its shape says: {error}") from error
    raise ModelError(f"weight {name} is not stored in the graph; expected constants")


def _set_weight(model: Any, name: str, values: Any) -> None:
    tensor = numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name)
    for weight in model.graph.initializer:
        if weight.name == name:
            weight.CopyFrom(tensor)
            return
    model.graph.initializer.append(tensor)
