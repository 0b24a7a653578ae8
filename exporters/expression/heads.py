"""Finds the two heads of an expression network by name or shape, and the activations in them.

The artifact gives what comes before the last softmax and sigmoid, and its manifest says which to
apply: integers then keep their resolution for the figures that matter, not for saturated ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edge.errors import ModelError
from edge.vision.values import Floats
from exporters.expression.input_folding import unused_name

Affect = Literal["auto", "logits", "unit", "signed"]
"""How a regressor gives valence and arousal: before a sigmoid, as its 0..1, or as -1..1."""

_EXPRESSION: Final = ("logits", "classifier", "expression", "probabilities")
_AFFECT: Final = ("affect", "regressor", "valence_arousal")


@dataclass(frozen=True, slots=True)
class Head:
    """Where a head's values are, and what is still to be applied to them.

    Attributes:
        tensor: output of the graph.
        columns: which of its values, in their order.
        activation: still to be applied: softmax, sigmoid or none.
        inside: activation that the graph ends with here, in ONNX's terms; "" for none.
        signed: the values are -1..1 as they are, not 0..1.
        row: the tensor is (1, n).
        whole: the tensor holds nothing else.
    """

    tensor: str
    columns: tuple[int, int]
    activation: Literal["none", "softmax", "sigmoid"]
    inside: str
    signed: bool = False
    row: bool = True
    whole: bool = True

    def values(self, outputs: Mapping[str, Floats]) -> Floats:
        """Return the head's values, (1, n), its activation applied, from the graph's outputs."""
        first, last = self.columns
        raw = outputs[self.tensor].reshape(1, -1)[:, first:last].astype(np.float64)
        if self.activation == "softmax":
            powers = np.exp(raw - raw.max())
            raw = powers / powers.sum()
        elif self.activation == "sigmoid":
            raw = 1 / (1 + np.exp(-raw))
        return raw.astype(np.float32)


def find_heads(
    model: Any, answers: Sequence[Mapping[str, Floats]], labels: Sequence[str], affect: Affect
) -> tuple[Head, Head]:
    """Return the classifier and the regressor of ``model``.

    Args:
        model: ONNX model.
        answers: its outputs for several inputs; they show shapes, and whether values are
            probabilities or logits.
        labels: what the classifier's values stand for.
        affect: how the regressor gives its values; ``auto`` goes by the graph's last node.

    Raises:
        ModelError: there is no such head, or several; one line that lists the outputs.
    """
    sizes = {name: int(values.size) for name, values in answers[0].items()}
    sizes_text = ", ".join(f"{name} of {size} values" for name, size in sizes.items())
    count = len(labels)
    if list(sizes.values()) == [count + 2]:
        # one row of everything, as multi-task networks give it: expressions first
        (expression,) = (valence,) = sizes
        places = ((0, count), (count, count + 2))
    else:
        places = ((0, count), (0, 2))
        what = f"a classifier of {count} values"
        expression = _named(sizes, _EXPRESSION, count, what, sizes_text)
        others = {name: size for name, size in sizes.items() if name != expression}
        what = "a regressor of 2 values (valence, arousal)"
        valence = _named(others, _AFFECT, 2, what, sizes_text)
    heads = (
        _classifier(model, answers, expression, places[0]),
        _regressor(model, valence, places[1], affect),
    )
    whole = expression != valence
    one, other = (
        replace(
            head,
            row=answers[0][head.tensor].ndim == 2,
            whole=whole,
            inside=head.inside if whole else "",
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
    model: Any, answers: Sequence[Mapping[str, Floats]], name: str, columns: tuple[int, int]
) -> Head:
    rows = [answer[name].reshape(-1)[slice(*columns)].astype(np.float64) for answer in answers]
    shares = all((row >= 0).all() and abs(row.sum() - 1) < 1e-3 for row in rows)
    ends = _last(model, name)
    inside = ends if ends == "Softmax" and shares else ""
    return Head(name, columns, "none" if shares else "softmax", inside)


def _regressor(model: Any, name: str, columns: tuple[int, int], affect: Affect) -> Head:
    ends = _last(model, name)
    if affect == "signed" or (affect == "auto" and ends == "Tanh"):
        return Head(name, columns, "none", "", signed=True)
    if affect == "unit" or (affect == "auto" and ends == "Sigmoid"):
        return Head(name, columns, "none", ends if ends == "Sigmoid" else "")
    return Head(name, columns, "sigmoid", "")


def expose(model: Any, head: Head, name: str) -> Head:
    """Make ``head`` an output of its own called ``name``, (1, n), its last activation taken off.

    Args:
        model: ONNX model, changed in place: the output is added to those it has.
        head: one that ``find_heads`` found in it.
        name: what to call the output.

    Returns:
        The head as the graph now gives it, with the activation that is still to be applied.
    """
    graph = model.graph
    tensor, activation = head.tensor, head.activation
    if head.inside:
        tensor = _maker(model, tensor).input[0]
        activation = "softmax" if head.inside == "Softmax" else "sigmoid"
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
        head, tensor=name, columns=(0, last - first), activation=activation, inside="",
        row=True, whole=True,
    )  # fmt: skip


def keep_outputs(model: Any, names: Sequence[str]) -> None:
    """Take every other output off the graph, and the nodes that only they needed."""
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
    """Call the tensor ``old`` ``new``; another of that name gets one of its own."""
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


def _last(model: Any, name: str) -> str:
    node = _maker(model, name)
    return str(node.op_type) if node is not None else ""


def _maker(model: Any, name: str) -> Any:
    """Return the node that makes ``name``, nodes that change nothing left out."""
    for node in model.graph.node:
        if name in node.output:
            return _maker(model, node.input[0]) if node.op_type == "Identity" else node
    return None
