"""Builds a TensorFlow Lite file from tensors and operators."""

from collections.abc import Sequence
from typing import Any, Final

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

_SIGNATURE: Final = b"serving_default"  # the quantiser expects this name


class LiteWriter:
    """Collects tensors and operators, and writes the file.

    The same calls give the same bytes.

    Attributes:
        shapes: name of a tensor -> its shape.
    """

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._places: dict[str, int] = {}
        self._tensors: list[Any] = []
        self._buffers: list[Any] = [schema.BufferT()]  # the first stands for no data
        self._operators: list[Any] = []
        self._codes: list[int] = []

    def tensor(self, name: str, shape: tuple[int, ...], data: NDArray[Any] | None = None) -> str:
        """Add a tensor, a constant one if ``data`` (float32 or int32) is given; return its name."""
        made = schema.TensorT()
        made.name, made.shape = name.encode(), list(shape)
        whole = data is not None and data.dtype == np.int32
        made.type = schema.TensorType.INT32 if whole else schema.TensorType.FLOAT32
        made.buffer = 0
        if data is not None:
            made.buffer = len(self._buffers)
            stored = schema.BufferT()
            stored.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self._buffers.append(stored)
        self._places[name] = len(self._tensors)
        self._tensors.append(made)
        self.shapes[name] = shape
        return name

    def constant(self, name: str, values: Any, dtype: Any = np.float32) -> str:
        """Add a constant unless the name exists; return its name."""
        if name not in self._places:
            data = np.asarray(values, dtype)
            self.tensor(name, data.shape, data)
        return name

    def node(
        self,
        kind: int,
        inputs: Sequence[str],
        output: str,
        shape: tuple[int, ...],
        options: Any = None,
    ) -> str:
        """Add an operator and its output tensor; return the tensor's name."""
        if kind not in self._codes:
            self._codes.append(kind)
        made = schema.OperatorT()
        made.opcodeIndex = self._codes.index(kind)
        made.inputs = [self._places[name] for name in inputs]
        made.outputs = [self._places[self.tensor(output, shape)]]
        if options is not None:
            made.builtinOptions = options
            made.builtinOptionsType = getattr(
                schema.BuiltinOptions, type(options).__name__.removesuffix("T")
            )
        self._operators.append(made)
        return output

    def finish(self, inputs: list[str], outputs: list[str]) -> bytes:
        """Return the model as bytes."""
        graph, model, signature = schema.SubGraphT(), schema.ModelT(), schema.SignatureDefT()
        graph.name, graph.tensors, graph.operators = b"main", self._tensors, self._operators
        graph.inputs = [self._places[name] for name in inputs]
        graph.outputs = [self._places[name] for name in outputs]
        signature.signatureKey, signature.subgraphIndex = _SIGNATURE, 0
        signature.inputs = [self._named(name) for name in inputs]
        signature.outputs = [self._named(name) for name in outputs]
        model.version, model.subgraphs, model.buffers = 3, [graph], self._buffers
        model.operatorCodes = [_code(kind) for kind in self._codes]
        model.signatureDefs, model.description = [signature], b"affect-edge"
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _named(self, name: str) -> Any:
        made = schema.TensorMapT()
        made.name, made.tensorIndex = name.encode(), self._places[name]
        return made


def _code(kind: int) -> Any:
    made = schema.OperatorCodeT()
    made.builtinCode, made.deprecatedBuiltinCode, made.version = kind, min(kind, 127), 1
    return made
