"""Converts the architecture of a Keras 2 model to an ONNX graph.

Before 2.2.3, Keras wrote the configuration of a Sequential as the bare list of its layers, without
a name. A nameless model inside a Sequential is called as its group in the file of weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from onnx import TensorProto, helper

from edge.errors import ModelError
from exporters.expression.keras2_layers import KINDS
from exporters.expression.keras2_parts import (
    Graph,
    Layer,
    Tensor,
    Weights,
    channels_first,
    checked_shape,
    printable,
)

_OPSET: Final = 17
_MODELS: Final = frozenset({"Functional", "Model", "Sequential"})
_DEPTH_MAX: Final = 8
_LAYERS_MAX: Final = 2000


def emit(architecture: Mapping[str, Any], weights: Weights, size: tuple[int, int] | None) -> Any:
    """Return the ONNX model of ``architecture`` (``model.to_json()``, parsed) with ``weights``.

    The input is ``input``, float32 (1, channels, height, width); outputs have the names of their
    layers.

    Args:
        architecture: ``class_name`` and ``config`` of a Functional, Model or Sequential.
        weights: its arrays.
        size: width and height, if the architecture leaves them free.

    Raises:
        ModelError: a layer is not supported, does not match its input or lacks weights; one line
            that names it.
    """
    root = _layer(architecture, prefix="", group="")
    first = _first_shape(root)
    if len(first) != 3 or first[2] not in (1, 3):
        raise root.refuse(f"input is {list(first)}, expected height, width and 1 or 3 channels")
    height, width, channels = first
    if size is not None:
        if (height or size[1], width or size[0]) != (size[1], size[0]):
            raise ModelError(
                f"--size {size[0]}x{size[1]}: the model takes {width}x{height}; leave --size out"
            )
        width, height = size
    if not height or not width:
        raise ModelError("the model leaves its input size open; give --size WIDTHxHEIGHT")
    shape = checked_shape(root, (height, width, channels))
    graph = Graph(weights)
    outputs = _convert_model(graph, root, [Tensor("input", shape)], depth=0)
    names = _output_names(graph, outputs)
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            printable(root.name),
            [_value("input", (channels, height, width))],
            [
                _value(name, channels_first(tensor.shape))
                for name, tensor in zip(names, outputs, strict=True)
            ],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=8,
        producer_name="affect-edge",
    )


def _value(name: str, shape: tuple[int, ...]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, *shape))


def _output_names(graph: Graph, outputs: Sequence[Tensor]) -> list[str]:
    """Return the names of the outputs; a tensor that is given twice gets a second name."""
    names: list[str] = []
    for tensor in outputs:
        name = graph.padded(tensor).name
        if name in names or name == "input":
            graph.node("Identity", [name], f"{name}/{len(names)}")
            name = f"{name}/{len(names)}"
        names.append(name)
    return names


def _layer(entry: Any, prefix: str, group: str) -> Layer:
    """Return the layer that one entry of the architecture describes."""
    config = entry.get("config") if isinstance(entry, dict) else None
    if isinstance(config, list) and entry.get("class_name") == "Sequential":
        config = {"layers": config}
    if not isinstance(config, dict) or not isinstance(entry.get("class_name"), str):
        raise ModelError(f"{printable(entry)} is no layer; expected class_name and config")
    name = entry.get("name", config.get("name", entry["class_name"]))
    if not isinstance(name, str) or not name:
        raise ModelError(
            f"a {printable(entry['class_name'])} is called {printable(name)}, not by a text"
        )
    return Layer(entry["class_name"], name, config, prefix, group or name)


def _entries(model: Layer, groups: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the layers of ``model``; nameless ones get the names in ``groups`` that are free."""
    entries = model.config.get("layers")
    if not isinstance(entries, list) or not entries:
        raise model.refuse("has no layers")
    nameless = [isinstance(each, dict) and isinstance(each.get("config"), list) for each in entries]
    if model.kind != "Sequential" or not any(nameless):
        return entries
    taken = {
        _layer(each, "", "").name for each, bare in zip(entries, nameless, strict=True) if not bare
    }
    free = iter([name for name in groups if name not in taken])
    return [
        {"name": next(free, f"sequential {place}"), **each} if bare else each
        for place, (each, bare) in enumerate(zip(entries, nameless, strict=True))
    ]


def _first_shape(root: Layer) -> tuple[Any, ...]:
    """Return (height, width, channels) of the first declared input; None for a free size."""
    if root.kind not in _MODELS:
        raise root.refuse(f"expected one of {', '.join(sorted(_MODELS))}")
    model = root
    for _ in range(_DEPTH_MAX):
        first = _layer(_entries(model)[0], "", "")
        # a Sequential without an input layer may say what it was built for instead
        built = model.config.get("build_input_shape")
        declared = first.config.get("batch_input_shape", built)
        if declared is not None or first.kind not in _MODELS:
            break
        model = first
    if not isinstance(declared, list) or not all(
        each is None or (type(each) is int and each > 0) for each in declared[1:]
    ):
        raise first.refuse(f"batch_input_shape is {printable(declared)}, expected sizes")
    return tuple(declared[1:])


def _convert_model(
    graph: Graph, model: Layer, inputs: Sequence[Tensor], depth: int
) -> list[Tensor]:
    """Convert the layers of a model; return its outputs."""
    if depth > _DEPTH_MAX:
        raise model.refuse(f"models nested deeper than {_DEPTH_MAX}")
    if len(inputs) != 1:
        raise model.refuse(f"takes {len(inputs)} inputs, expected 1")
    prefix = f"{model.tensor}/" if depth else ""
    converted: dict[str, list[Tensor]] = {}
    latest: list[Tensor] = list(inputs)
    for entry in _entries(model, () if depth else graph.weights.groups):
        layer = _layer(entry, prefix, model.group if depth else "")
        graph.layers += 1
        if graph.layers > _LAYERS_MAX:
            raise model.refuse(f"more than {_LAYERS_MAX} layers")
        if layer.name in converted:
            raise layer.refuse("two layers of this name")
        if layer.kind == "InputLayer":
            if converted:
                raise layer.refuse("is a second input, expected one input of pictures")
            sources = list(inputs)
        elif model.kind == "Sequential":
            sources = latest
        else:
            sources = [
                _referenced_tensor(layer, converted, reference)
                for reference in _input_references(layer, entry)
            ]
        latest = _convert_layer(graph, layer, sources, depth)
        converted[layer.name] = latest
    if model.kind == "Sequential":
        return latest
    references = model.config.get("output_layers")
    if isinstance(references, list) and references and isinstance(references[0], str):
        references = [references]  # a single output may lack the outer list
    if not isinstance(references, list) or not references:
        raise model.refuse("has no output_layers")
    return [_referenced_tensor(model, converted, reference) for reference in references]


def _convert_layer(graph: Graph, layer: Layer, inputs: list[Tensor], depth: int) -> list[Tensor]:
    if layer.kind in _MODELS:
        return _convert_model(graph, layer, inputs, depth + 1)
    if layer.kind not in KINDS:
        raise layer.refuse(f"this kind is not supported; supported: {', '.join(sorted(KINDS))}")
    if layer.kind != "Add" and len(inputs) != 1:
        raise layer.refuse(f"takes {len(inputs)} inputs, expected 1")
    result = KINDS[layer.kind](graph, layer, inputs)
    return [replace(result, shape=checked_shape(layer, result.shape))]


def _input_references(layer: Layer, entry: Mapping[str, Any]) -> list[Any]:
    """Return the references to the inputs of ``layer``, which is called once."""
    nodes = entry.get("inbound_nodes")
    if not isinstance(nodes, list) or not all(isinstance(node, list) for node in nodes):
        raise layer.refuse("inbound_nodes are not as Keras 2 writes them")
    if len(nodes) != 1:
        raise layer.refuse(f"is used {len(nodes)} times, expected once")
    node = nodes[0]
    return [node] if node and isinstance(node[0], str) else node


def _referenced_tensor(
    layer: Layer, converted: Mapping[str, list[Tensor]], reference: Any
) -> Tensor:
    """Return the tensor that ``[layer, node, tensor, arguments]`` refers to."""
    if not isinstance(reference, list) or not 3 <= len(reference) <= 4:
        raise layer.refuse(f"refers to {printable(reference)}, expected [layer, node, tensor]")
    name, index = reference[0], reference[2]
    arguments = reference[3] if len(reference) == 4 else {}
    # a frozen backbone is called with training=False; other arguments change the result
    if not isinstance(arguments, dict) or any(arguments.values()):
        raise layer.refuse(f"is called with {printable(arguments)}, which is not supported")
    tensors = converted.get(name, []) if isinstance(name, str) else []
    if type(index) is not int or not 0 <= index < len(tensors):
        raise layer.refuse(f"takes {printable(reference[:3])}, which no layer before it gives")
    return tensors[index]
