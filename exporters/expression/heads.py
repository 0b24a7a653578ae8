"""Finds the two heads of an expression network by name or shape, and their activations.

An artifact gives the inputs of the last softmax and sigmoid, and its manifest names them: int8 then
keeps its resolution for logits instead of saturated probabilities.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edge.errors import ModelError
from edge.vision.expression.readout import FEATURES
from edge.vision.values import Floats
from exporters.artifacts.input_folding import unused_name

Affect = Literal["auto", "logits", "unit", "signed"]
"""Values of a regressor: logits before a sigmoid, 0..1, or -1..1; or by its last operator."""

_EXPRESSION: Final = ("logits", "classifier", "expression", "probabilities")
_AFFECT_VALUES: Final = 2
_AFFECT: Final = ("affect", "regressor", "valence_arousal")


@dataclass(frozen=True, slots=True)
class Head:
    """Where the graph gives a head's values, and which activation is still to be applied.

    Attributes:
        tensor: output of the graph.
        columns: first and end index of the head's values in the tensor.
        activation: still to be applied: softmax, sigmoid or none.
        in_graph: last operator of the graph if it is an activation, such as ``Softmax``; else "".
        signed: the values are -1..1, not 0..1.
        row: the tensor is (1, n).
        whole: the tensor holds no other values.
    """

    tensor: str
    columns: tuple[int, int]
    activation: Literal["none", "softmax", "sigmoid"]
    in_graph: str
    signed: bool = False
    row: bool = True
    whole: bool = True

    def values(self, outputs: Mapping[str, Floats]) -> Floats:
        """Return the head's values after its activation, (1, n), from the graph's outputs."""
        first, last = self.columns
        raw = outputs[self.tensor].reshape(1, -1)[:, first:last].astype(np.float64)
        if self.activation == "softmax":
            powers = np.exp(raw - raw.max())
            raw = powers / powers.sum()
        elif self.activation == "sigmoid":
            raw = 1 / (1 + np.exp(-raw))
        return raw.astype(np.float32)


def find_heads(
    model: Any,
    samples: Sequence[Mapping[str, Floats]],
    labels: Sequence[str],
    affect: Affect,
    *,
    needs_affect: bool = True,
) -> tuple[Head, Head | None]:
    """Return the classifier and the regressor of ``model``; None if it has no regressor.

    Args:
        model: ONNX model.
        samples: its outputs for several inputs; they show shapes, and whether values are
            probabilities or logits.
        labels: the classifier's labels, in the order of its values.
        affect: values of the regressor; ``auto``: by the graph's last operator.
        needs_affect: whether a network without a regressor is refused.

    Raises:
        ModelError: a head is missing or there are several; one line that lists the outputs.
    """
    sizes = {name: int(values.size) for name, values in samples[0].items()}
    sizes_text = ", ".join(f"{name} of {size} values" for name, size in sizes.items())
    count = len(labels)
    if list(sizes.values()) == [count + 2]:
        # multi-task networks give one row with all values, expressions first
        (expression,) = (valence,) = sizes
        places = ((0, count), (count, count + 2))
    else:
        places = ((0, count), (0, 2))
        what = f"a classifier of {count} values"
        expression = _named(sizes, _EXPRESSION, count, what, sizes_text)
        rest_sizes = {name: size for name, size in sizes.items() if name != expression}
        if not needs_affect and _AFFECT_VALUES not in rest_sizes.values():
            head = _classifier(model, samples, expression, places[0])
            return replace(head, row=samples[0][expression].ndim == 2), None
        what = "a regressor of 2 values (valence, arousal)"
        valence = _named(rest_sizes, _AFFECT, 2, what, sizes_text)
    heads = (
        _classifier(model, samples, expression, places[0]),
        _regressor(model, valence, places[1], affect),
    )
    whole = expression != valence
    one, other = (
        replace(
            head,
            row=samples[0][head.tensor].ndim == 2,
            whole=whole,
            in_graph=head.in_graph if whole else "",
        )
        for head in heads
    )
    return one, other


def _named(
    sizes: dict[str, int], names: Sequence[str], count: int, what: str, sizes_text: str
) -> str:
    fitting = [name for name, size in sizes.items() if size == count]
    preferred = [name for name in fitting if name.split(":")[0] in names]
    if len(preferred) == 1:
        return preferred[0]
    if len(fitting) != 1:
        raise ModelError(
            f"expected {'one' if fitting else 'an'} output that is {what};"
            f" this one gives {sizes_text}"
        )
    return fitting[0]


def _classifier(
    model: Any, samples: Sequence[Mapping[str, Floats]], name: str, columns: tuple[int, int]
) -> Head:
    rows = [sample[name].reshape(-1)[slice(*columns)].astype(np.float64) for sample in samples]
    shares = all((row >= 0).all() and abs(row.sum() - 1) < 1e-3 for row in rows)
    ends = _last_operator(model, name)
    in_graph = ends if ends == "Softmax" and shares else ""
    return Head(name, columns, "none" if shares else "softmax", in_graph)


def _regressor(model: Any, name: str, columns: tuple[int, int], affect: Affect) -> Head:
    ends = _last_operator(model, name)
    if affect == "signed" or (affect == "auto" and ends == "Tanh"):
        return Head(name, columns, "none", "", signed=True)
    if affect == "unit" or (affect == "auto" and ends == "Sigmoid"):
        return Head(name, columns, "none", ends if ends == "Sigmoid" else "")
    return Head(name, columns, "sigmoid", "")


def expose(model: Any, head: Head, name: str) -> Head:
    """Add ``head`` to the graph's outputs as ``name``, (1, n), without its last activation.

    Args:
        model: ONNX model, changed in place.
        head: from ``find_heads``.
        name: name of the new output.

    Returns:
        The head at the new output, with the activation that is still to be applied.
    """
    graph = model.graph
    tensor, activation = head.tensor, head.activation
    if head.in_graph:
        tensor = _producer(model, tensor).input[0]
        activation = "softmax" if head.in_graph == "Softmax" else "sigmoid"
    first, last = head.columns
    if not head.row:
        flat = unused_name(model, f"{name}_row")
        graph.node.append(helper.make_node("Flatten", [tensor], [flat], axis=1))
        tensor = flat
    if not head.whole:
        cut = unused_name(model, f"{name}_cut")
        bounds = [
            numpy_helper.from_array(np.array([value], np.int64), f"{cut}_{word}")
            for word, value in (("from", first), ("to", last), ("axis", 1))
        ]
        graph.initializer.extend(bounds)
        names = [each.name for each in bounds]
        graph.node.append(helper.make_node("Slice", [tensor, *names], [cut]))
        tensor = cut
    rename(model, tensor, name)
    graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, last - first)))
    return replace(
        head, tensor=name, columns=(0, last - first), activation=activation, in_graph="",
        row=True, whole=True,
    )  # fmt: skip


def expose_features(model: Any) -> str:
    """Add the features of a network to the graph's outputs; return its name, "" if it has none.

    Features are the row of numbers from which its heads are computed, in a tensor of the name
    ``features``, as checkpoints of this project have it. Further heads may be fitted to them.
    """
    graph = model.graph
    places = {each.name: each.dims for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Gemm" and node.input[0] == FEATURES and node.input[1] in places:
            settings = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            count = places[node.input[1]][1 if settings.get("transB") else 0]
            kept = [each for each in graph.output if each.name != FEATURES]
            del graph.output[:]  # one that is there already may have no shape
            graph.output.extend(kept)
            graph.output.append(
                helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, (1, count))
            )
            return FEATURES
    return ""


def keep_outputs(model: Any, names: Sequence[str]) -> None:
    """Remove all other outputs, and the nodes that only they need."""
    graph = model.graph
    kept = {value.name: value for value in graph.output}
    del graph.output[:]
    graph.output.extend(kept[name] for name in names)
    needed = set(names)
    nodes = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(reversed(nodes))
    del graph.value_info[:]


def rename(model: Any, old: str, new: str) -> None:
    """Rename the tensor ``old`` to ``new``; another tensor of that name is renamed first."""
    if old == new:
        return
    graph = model.graph
    names = {each for node in graph.node for each in (*node.input, *node.output)}
    names |= {each.name for each in (*graph.input, *graph.output, *graph.initializer)}
    if new in names:
        rename(model, new, unused_name(model, new))
    for node in graph.node:
        for places in (node.input, node.output):
            for place, each in enumerate(places):
                if each == old:
                    places[place] = new
    for each in (*graph.input, *graph.output, *graph.initializer):
        if each.name == old:
            each.name = new


def _last_operator(model: Any, name: str) -> str:
    node = _producer(model, name)
    return str(node.op_type) if node is not None else ""


def _producer(model: Any, name: str) -> Any:
    """Return the node that produces ``name``, looking through Identity nodes."""
    for node in model.graph.node:
        if name in node.output:
            return _producer(model, node.input[0]) if node.op_type == "Identity" else node
    return None
