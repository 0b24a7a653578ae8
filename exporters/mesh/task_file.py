"""Reads ``face_landmarker.task``: a zip archive with two TensorFlow Lite networks."""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge.errors import ModelError
from edge.validation import file_errors
from edge.vision.values import Floats
from exporters.fetch import PACKAGES

LANDMARKS_FILE: Final = "face_landmarks_detector.tflite"
COEFFICIENTS_FILE: Final = "face_blendshapes.tflite"
(KNOWN_SHA256,) = PACKAGES["face-mesh"].files.values()
"""Hash of the one version that this exporter knows."""

_BYTES_MAX: Final = 1 << 24  # of each network


@dataclass(frozen=True, slots=True)
class TaskFile:
    """The two networks as they are in the file, and the file's hash."""

    landmarks: bytes
    coefficients: bytes
    sha256: str


def read_task_file(path: Path) -> TaskFile:
    """Return the networks in ``path``.

    Raises:
        ModelError: it cannot be read or is another file; one line.
    """
    expected = "face_landmarker.task, as `python -m exporters fetch face-mesh` takes it"
    with file_errors("--weights", path, expected=expected):
        content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != KNOWN_SHA256:
        raise ModelError(f"--weights {path}: sha256 {digest}, expected {KNOWN_SHA256}: {expected}")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = (LANDMARKS_FILE, COEFFICIENTS_FILE)
            if any(archive.getinfo(name).file_size > _BYTES_MAX for name in names):
                raise ModelError(f"--weights {path}: a network is too large; expected {expected}")
            landmarks, coefficients = (archive.read(name) for name in names)
    except (KeyError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ModelError(f"--weights {path}: {error}; expected {expected}") from error
    return TaskFile(landmarks, coefficients, digest)


@dataclass(frozen=True, slots=True)
class Operator:
    """One operation of a TensorFlow Lite network.

    Attributes:
        kind: as TensorFlow Lite names it, such as ``CONV_2D``.
        inputs: indices of tensors; -1: none.
        output: index of its one output.
        options: attributes by name.
    """

    kind: str
    inputs: tuple[int, ...]
    output: int
    options: Mapping[str, Any]


class LiteNetwork:
    """The operations and constants of a TensorFlow Lite file with one subgraph.

    Constants that are stored as float16 are float32 here, as the runtime computes with them.
    """

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415

        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        graph = model.subgraphs[0]
        kinds = {value: name for name, value in vars(schema.BuiltinOperator).items()
                 if isinstance(value, int)}  # fmt: skip
        dtypes = {
            schema.TensorType.FLOAT32: np.float32,
            schema.TensorType.FLOAT16: np.float16,
            schema.TensorType.INT32: np.int32,
        }
        self.constants: dict[int, Any] = {}
        self.shapes: dict[int, tuple[int, ...]] = {}
        for place, tensor in enumerate(graph.tensors):
            shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
            self.shapes[place] = shape
            data = model.buffers[tensor.buffer].data
            if data is not None:
                values = np.frombuffer(bytes(data), dtypes[tensor.type]).reshape(shape)
                self.constants[place] = (
                    values if tensor.type == schema.TensorType.INT32 else values.astype(np.float32)
                )
        self.inputs = tuple(int(place) for place in graph.inputs)
        self.outputs = tuple(int(place) for place in graph.outputs)
        self.operators: list[Operator] = []
        for each in graph.operators:
            code = model.operatorCodes[each.opcodeIndex]
            kind = kinds[max(code.builtinCode, code.deprecatedBuiltinCode)]
            inputs, (output,) = tuple(int(place) for place in each.inputs), each.outputs
            if kind == "DEQUANTIZE" and inputs[0] in self.constants:
                self.constants[int(output)] = self.constants[inputs[0]]
                continue
            options = vars(each.builtinOptions) if each.builtinOptions else {}
            self.operators.append(Operator(kind, inputs, int(output), options))

    def needed_for(self, wanted: tuple[int, ...]) -> list[Operator]:
        """Return the operations that the tensors ``wanted`` depend on, in order."""
        needed, found = set(wanted), []
        for each in reversed(self.operators):
            if each.output in needed:
                found.append(each)
                needed.update(each.inputs)
        return found[::-1]

    def constant(self, place: int) -> Floats:
        """Return a constant.

        Raises:
            ModelError: the tensor is computed, not stored.
        """
        if place not in self.constants:
            raise ModelError(
                f"face mesh: tensor {place} is not a constant; the file is another one"
            )
        values: Floats = self.constants[place]
        return values
