"""Tensors, layers, weights and graph of the Keras 2 converter.

Keras keeps maps as (height, width, channels), ONNX as (channels, height, width). Shapes here are
Keras's, without the batch, so that they can be compared with the architecture.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edge.errors import ModelError
from edge.vision.values import Floats

ACTIVATIONS: Final = {
    "linear": "",
    "relu": "Relu",
    "relu6": "Clip",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "tanh": "Tanh",
}
"""Name of an activation in Keras -> in ONNX."""

CHANNELS_MAX: Final = 65_536

_SIDE_MAX: Final = 4096
_VALUES_MAX: Final = 1 << 28
"""Values of one tensor: a gigabyte of floats, a hundred times as much as a MobileNet needs."""


class Weights(Protocol):
    """Source of the layers' arrays."""

    @property
    def groups(self) -> Sequence[str]:
        """Names of the outermost layers, in their order."""

    def take(self, group: str, layer: str, kind: str, shape: tuple[int, ...]) -> Floats:
        """Return the array ``kind`` of ``layer`` in ``group``.

        Raises:
            ModelError: it is missing or is not of ``shape``.
        """


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the graph, possibly with padding that is not yet applied.

    Attributes:
        name: in the ONNX graph.
        shape: (height, width, channels) or (values,), padding included.
        padding: rows and columns of zeros still to be added: top, left, bottom, right. A
            convolution absorbs them; before any other node a Pad node adds them.
    """

    name: str
    shape: tuple[int, ...]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(slots=True)
class Graph:
    """Collects the nodes and arrays of the ONNX graph.

    Attributes:
        weights: source of the layers' arrays.
        nodes: in topological order.
        initializers: the arrays.
        layers: number of layers converted so far.
    """

    weights: Weights
    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)
    layers: int = 0

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        """Add a node with the output ``output``."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add an array, floats as float32; return its name."""
        if values.dtype.kind == "f":
            values = np.ascontiguousarray(values, np.float32)
        self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def padded(self, tensor: Tensor) -> Tensor:
        """Return ``tensor`` with its padding applied."""
        if not any(tensor.padding):
            return tensor
        top, left, bottom, right = tensor.padding
        name = f"{tensor.name}/padded-{top}-{left}-{bottom}-{right}"
        if not any(node.output[0] == name for node in self.nodes):
            pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
            self.node("Pad", [tensor.name, self.constant(f"{name}/pads", pads)], name)
        return Tensor(name, tensor.shape)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the architecture, with checked access to its configuration.

    Attributes:
        kind: its class in Keras.
        name: in Keras.
        config: result of ``get_config()``.
        prefix: of its names in the graph: the nested models that contain it.
        group: group of the file that holds its arrays: the outermost nested model, or itself.
    """

    kind: str
    name: str
    config: Mapping[str, Any]
    prefix: str
    group: str

    @property
    def tensor(self) -> str:
        """Name of its output in the graph."""
        return self.prefix + self.name

    def refuse(self, problem: str) -> ModelError:
        """Return an error that names this layer."""
        return ModelError(f"layer {printable(self.name)} ({printable(self.kind)}): {problem}")

    def numbers(self, key: str, count: int, low: int, high: int) -> tuple[int, ...]:
        """Return ``count`` integers in ``low``..``high``; a single one serves for all.

        Raises:
            ModelError: the configuration has another value.
        """
        value = self.config.get(key)
        values = value if isinstance(value, list) else [value] * count
        if len(values) != count or not all(
            type(each) is int and low <= each <= high for each in values
        ):
            raise self.refuse(f"{key} is {printable(value)}, expected {count} of {low} to {high}")
        return tuple(values)

    def flag(self, key: str, default: bool) -> bool:
        """Return a boolean of the configuration.

        Raises:
            ModelError: the configuration has another value.
        """
        value = self.config.get(key, default)
        if type(value) is not bool:
            raise self.refuse(f"{key} is {printable(value)}, expected true or false")
        return value

    def real(self, key: str, default: float) -> float:
        """Return a finite number of the configuration.

        Raises:
            ModelError: the configuration has another value.
        """
        value = self.config.get(key, default)
        if type(value) not in (int, float) or not math.isfinite(value):
            raise self.refuse(f"{key} is {printable(value)}, expected a number")
        return float(value)

    def activation(self) -> str:
        """Return the name of the layer's activation function, ``linear`` for none.

        Raises:
            ModelError: it is not supported.
        """
        value = self.config.get("activation", "linear")
        if isinstance(value, dict):  # Keras 2.13 and later may write the function as an object
            value = value.get("config")
        if value is None:
            return "linear"
        if not isinstance(value, str) or value not in ACTIVATIONS:
            raise self.refuse(
                f"activation {printable(value)} is not known; known: {', '.join(ACTIVATIONS)}"
            )
        return value

    def maps(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the layer's only input.

        Raises:
            ModelError: it is not (height, width, channels).
        """
        (tensor,) = inputs
        if len(tensor.shape) != 3:
            raise self.refuse(f"takes {list(tensor.shape)}, expected height, width, channels")
        if self.config.get("data_format", "channels_last") != "channels_last":
            raise self.refuse("data_format is not channels_last; convert the model")
        return tensor


def printable(text: object) -> str:
    """Return untrusted ``text`` as one short printable line."""
    line = "".join(letter if letter.isprintable() else " " for letter in str(text)[:200])
    line = " ".join(line.split())
    return line if len(line) <= 80 else line[:77] + "..."


def checked_shape(layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return ``shape``.

    Raises:
        ModelError: a size is below 1, or too large.
    """
    high = [_SIDE_MAX, _SIDE_MAX, CHANNELS_MAX] if len(shape) == 3 else [_VALUES_MAX]
    for value, most in zip(shape, high, strict=True):
        if not 1 <= value <= most:
            raise layer.refuse(f"gives {list(shape)}, expected sizes of 1 to {most}")
    if math.prod(shape) > _VALUES_MAX:
        raise layer.refuse(f"gives {list(shape)}, more than {_VALUES_MAX} values")
    return shape


def channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of maps in ONNX's order; other shapes unchanged."""
    return (shape[2], shape[0], shape[1]) if len(shape) == 3 else shape
