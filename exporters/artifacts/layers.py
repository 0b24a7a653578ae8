"""Builds an ONNX graph layer by layer from the tensors of a state dict.

Each method adds one layer of PyTorch by the name that it has in the state dict, checks the shapes
of its weights, and returns the tensor that it gives. At the end every weight must have been used.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edge.errors import ModelError
from edge.vision.values import Floats

_OPSET, _IR_VERSION = 17, 8
_NORM_EPSILON: Final = 1e-5  # PyTorch's default


class Layers:
    """The graph of one network, and which weights of the state dict it has used."""

    def __init__(self, state: Mapping[str, Floats], network: str) -> None:
        """Begin a graph.

        Args:
            state: the tensors by name.
            network: the network's name, for messages.
        """
        self._state = state
        self._network = network
        self._used: set[str] = set()
        self._channels: dict[str, int] = {}
        self._nodes: list[Any] = []
        self._weights: dict[str, Any] = {}

    def input(self, name: str, channels: int) -> str:
        """Declare the graph's input, (batch, channels, height, width); return its name."""
        self._channels[name] = channels
        return name

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor of the state dict.

        Raises:
            ModelError: it is missing.
        """
        if name not in self._state:
            raise ModelError(f"{name} is missing; expected the state dict of {self._network}")
        return self._state[name].shape

    def channels(self, value: str) -> int:
        """Return the number of channels of a tensor of the graph."""
        return self._channels[value]

    def conv(
        self,
        value: str,
        name: str,
        *,
        kernel: int | tuple[int, int],
        stride: int = 1,
        pad: int | Sequence[int] = 0,
        groups: int = 1,
        output: str = "",
    ) -> str:
        """Add a ``Conv2d``, with a bias if the state dict has one.

        Args:
            value: its input.
            name: of the layer.
            kernel: height and width; one number: both.
            stride: in both directions.
            pad: at the top, left, bottom and right; one number: all.
            groups: of channels.
            output: names its tensor where the layer is used more than once.
        """
        (outputs, *_) = self.shape(f"{name}.weight")
        inner = self._channels[value] // groups
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        inputs = [value, self.weight(f"{name}.weight", (outputs, inner, *sides))]
        if f"{name}.bias" in self._state:
            inputs.append(self.weight(f"{name}.bias", (outputs,)))
        return self.node(
            "Conv", inputs, output or name, channels=outputs,
            kernel_shape=sides, strides=[stride] * 2,
            pads=[pad] * 4 if isinstance(pad, int) else pad, group=groups,
        )  # fmt: skip

    def dense(self, value: str, name: str) -> str:
        """Add a ``Linear`` with its bias; any number of inputs."""
        outputs, inputs = (*self.shape(f"{name}.weight"), 0)[:2]
        weight = self.weight(f"{name}.weight", (outputs, inputs))
        bias = self.weight(f"{name}.bias", (outputs,))
        return self.node("Gemm", [value, weight, bias], name, channels=outputs, transB=1)

    def norm(
        self, value: str, name: str, *, epsilon: float = _NORM_EPSILON, output: str = ""
    ) -> str:
        """Add a ``BatchNorm2d`` with its running statistics; ``output`` as in ``conv``."""
        shape = (self._channels[value],)
        parts = [
            self.weight(f"{name}.{part}", shape)
            for part in ("weight", "bias", "running_mean", "running_var")
        ]
        self._used.add(f"{name}.num_batches_tracked")
        return self.node("BatchNormalization", [value, *parts], output or name, epsilon=epsilon)

    def relu(self, value: str, slope: float = 0.0) -> str:
        """Add a ``ReLU``, or a ``LeakyReLU`` if ``slope`` is not 0."""
        if slope:
            return self.node("LeakyRelu", [value], f"{value}.relu", alpha=slope)
        return self.node("Relu", [value], f"{value}.relu")

    def silu(self, value: str) -> str:
        """Add a ``SiLU``: x times its sigmoid."""
        gate = self.node("Sigmoid", [value], f"{value}.gate")
        return self.node("Mul", [value, gate], f"{value}.silu")

    def prelu(self, value: str, name: str) -> str:
        """Add a ``PReLU`` with one slope for each channel."""
        count = self._channels[value]
        self.weight(f"{name}.weight", (count,))
        slopes = self.reshaped(f"{name}.weight", (count, 1, 1))
        return self.node("PRelu", [value, slopes], name)

    def node(
        self,
        kind: str,
        inputs: Sequence[str],
        output: str,
        *,
        channels: int | None = None,
        **attributes: Any,
    ) -> str:
        """Add any node, named like its output; return the output.

        ``channels`` are those of the output; by default those of the first input.
        """
        self._nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        self._channels[output] = channels or self._channels.get(inputs[0], 0)
        return output

    def weight(self, name: str, shape: tuple[int, ...]) -> str:
        """Take a tensor of the state dict into the graph; return its name.

        Raises:
            ModelError: it is missing, has another shape or is not finite.
        """
        found = self.shape(name)
        if found != shape:
            raise ModelError(
                f"{name} has the shape {list(found)}, expected {list(shape)} in {self._network}"
            )
        if not np.isfinite(self._state[name]).all():
            raise ModelError(f"{name} is not finite; the checkpoint is damaged")
        self._used.add(name)
        return self.constant(name, self._state[name])

    def reshaped(self, name: str, shape: tuple[int, ...]) -> str:
        """Give a weight of the graph another shape; return its name."""
        return self.constant(name, self._state[name].reshape(shape))

    def constant(self, name: str, values: Any) -> str:
        """Add a constant; return its name."""
        self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def model(
        self,
        inputs: Mapping[str, Sequence[int | str]],
        outputs: Mapping[str, Sequence[int | str]],
        *,
        unused: Collection[str] = (),
    ) -> Any:
        """Return the ONNX model.

        Args:
            inputs: name -> shape; a word stands for a free size.
            outputs: the same.
            unused: starts of names of weights that inference does not need; with a ``*`` in
                front: parts of names.

        Raises:
            ModelError: the state dict has weights that the graph has not.
        """
        left = [
            name
            for name in sorted(set(self._state) - self._used)
            if not name.startswith(tuple(unused))
            and not any(part[1:] in name for part in unused if part.startswith("*"))
        ]
        if left:
            raise ModelError(
                f"{left[0]} is not known; expected the weights of {self._network} and nothing else"
            )
        ends = [
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
             for name, shape in each.items()]
            for each in (inputs, outputs)
        ]  # fmt: skip
        return helper.make_model(
            helper.make_graph(self._nodes, "network", *ends, list(self._weights.values())),
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="affect-edge",
        )
