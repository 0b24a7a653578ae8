"""Tensors, weights and graph that the Keras 2 converter works on.

Keras keeps maps as (height, width, channels), ONNX as (channels, height, width). Shapes here are
Keras's own, without the batch, so that what the architecture says can be compared with them.
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
"""Values of one tensor: a gigabyte of floats, a hundred times what a MobileNet needs."""


class Weights(Protocol):
    """Where the arrays come from."""

    def take(self, group: str, layer: str, kind: str, shape: tuple[int, ...]) -> Floats:
        """Return the array ``kind`` of ``layer``, which lies in ``group``.

        Raises:
            ModelError: it is missing or is not of ``shape``.
        """


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor under way.

    Attributes:
        name: in the ONNX graph.
        shape: (height, width, channels) or (values,); the padding counted in.
        padding: rows and columns of zeros that are still to be put around it: top, left, bottom,
            right. A convolution takes them in; what else follows gets a node that adds them.
    """

    name: str
    shape: tuple[int, ...]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(slots=True)
class Graph:
    """The ONNX graph under way.

    Attributes:
        weights: where the layers take their arrays from.
        nodes: in the order of their work.
        initializers: the arrays.
        layers: how many layers were converted.
    """

    weights: Weights
    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)
    layers: int = 0

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        """Add a node that makes ``output``."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add an array, floats as float32; return its name."""
        if values.dtype.kind == "f":
            values = np.ascontiguousarray(values, np.float32)
        self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def padded(self, tensor: Tensor) -> Tensor:
        """Return ``tensor`` with its padding done."""
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
    """One layer of the architecture, and access to what its configuration says.

    Attributes:
        kind: its class in Keras.
        name: as Keras called it.
        config: what ``get_config()`` returned.
        prefix: put before names in the graph: the nested models it lies in.
        group: the group of the file that holds its arrays: the outermost nested model, or itself.
    """

    kind: str
    name: str
    config: Mapping[str, Any]
    prefix: str
    group: str

    @property
    def tensor(self) -> str:
        """Name of what it makes, in the graph."""
        return self.prefix + self.name

    def refuse(self, problem: str) -> ModelError:
        """Return the error that names this layer."""
        return ModelError(f"layer {shown(self.name)} ({shown(self.kind)}): {problem}")

    def numbers(self, key: str, count: int, low: int, high: int) -> tuple[int, ...]:
        """Return ``count`` whole numbers; one number stands for all of them."""
        value = self.config.get(key)
        values = value if isinstance(value, list) else [value] * count
        if len(values) != count or not all(
            type(each) is int and low <= each <= high for each in values
        ):
            raise self.refuse(f"{key} is {shown(value)}, expected {count} of {low} to {high}")
        return tuple(values)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self.config.get(key, default)
        if type(value) is not bool:
            raise self.refuse(f"{key} is {shown(value)}, expected true or false")
        return value

    def real(self, key: str, default: float) -> float:
        """Return a finite number."""
        value = self.config.get(key, default)
        if type(value) not in (int, float) or not math.isfinite(value):
            raise self.refuse(f"{key} is {shown(value)}, expected a number")
        return float(value)

    def activation(self) -> str:
        """Return the name of the function that is applied to what the layer makes."""
        value = self.config.get("activation", "linear")
        if isinstance(value, dict):  # Keras 2.13 and later may write the function as an object
            value = value.get("config")
        if value is None:
            return "linear"
        if not isinstance(value, str) or value not in ACTIVATIONS:
            raise self.refuse(
                f"activation {shown(value)} is not known; known: {', '.join(ACTIVATIONS)}"
            )
        return value

    def maps(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the one input, which must be (height, width, channels)."""
        (tensor,) = inputs
        if len(tensor.shape) != 3:
            raise self.refuse(f"takes {list(tensor.shape)}, expected height, width, channels")
        if self.config.get("data_format", "channels_last") != "channels_last":
            raise self.refuse("data_format is not channels_last; convert the model")
        return tensor


def shown(text: object) -> str:
    """Return ``text``, which may come from a file, as one short printable line."""
    line = "".join(letter if letter.isprintable() else " " for letter in str(text)[:200])
    line = " ".join(line.split())
    return line if len(line) <= 80 else line[:77] + "..."


def checked_shape(layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return ``shape``, refused where it is empty or absurd."""
    high = [_SIDE_MAX, _SIDE_MAX, CHANNELS_MAX] if len(shape) == 3 else [_VALUES_MAX]
    for value, most in zip(shape, high, strict=True):
        if not 1 <= value <= most:
            raise layer.refuse(f"gives {list(shape)}, expected sizes of 1 to {most}")
    if math.prod(shape) > _VALUES_MAX:
        raise layer.refuse(f"gives {list(shape)}, more than {_VALUES_MAX} values")
    return shape


def channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of maps in ONNX's order; others as they are."""
    return (shape[2], shape[0], shape[1]) if len(shape) == 3 else shape
