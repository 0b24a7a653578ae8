"""One interface to onnxruntime, LiteRT and OpenCV's cascades: tensors by name, floats out.

A ``Session`` owns one loaded artifact and is used by one thread. A runtime is imported when its
first session is made, so that only the runtime in use must be installed.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.errors import InferenceError, ModelError
from edge.vision.values import Floats

Tensor = NDArray[Any]

_NUMPY_2 = int(np.__version__.partition(".")[0]) >= 2


class Session(Protocol):
    """One loaded artifact."""

    inputs: Mapping[str, tuple[tuple[int, ...], str]]
    """Shape and dtype of each input tensor; -1 marks a dimension that is not fixed."""

    outputs: frozenset[str]
    """Names of the output tensors."""

    def run(self, tensor: Tensor) -> dict[str, Floats]:
        """Return every output for the one input, in arrays that no later run writes to.

        Args:
            tensor: of the input's shape. Integers are converted where the input is float32, and
                floats are quantised where it holds integers.

        Raises:
            InferenceError: the runtime failed.
        """


def runtime_installed(runtime: str) -> bool:
    """Return whether ``runtime`` is installed; OpenCV is, and a session tells an unfit version."""
    if runtime == "opencv":
        return True
    if runtime == "onnxruntime":
        return find_spec("onnxruntime") is not None
    if find_spec("ai_edge_litert") is not None:
        return True
    return find_spec("tflite_runtime") is not None and not _NUMPY_2


def open_session(runtime: str, content: bytes, threads: int) -> Session:
    """Load ``content`` with ``runtime``.

    Raises:
        ModelError: the runtime is not installed, or cannot load the bytes; one line.
    """
    if runtime == "onnxruntime":
        return OnnxSession(content, threads)
    if runtime == "opencv":
        from edge.vision.inference.cascade import CascadeSession  # noqa: PLC0415

        return CascadeSession(content)
    return LiteRtSession(content, threads)


class OnnxSession:
    """An ONNX model in onnxruntime, on the CPU."""

    def __init__(self, content: bytes, threads: int) -> None:
        try:
            from edge.vision.inference.ort import errors, onnxruntime  # noqa: PLC0415
        except ImportError as error:
            raise ModelError(
                f"onnxruntime cannot be loaded ({error}); pip install onnxruntime"
            ) from error
        # onnxruntime's errors have no common ancestor below Exception
        self._errors = (
            errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.InvalidProtobuf,
            errors.NoModel, errors.NoSuchFile, errors.NotImplemented, errors.RuntimeException,
            errors.EPFail, errors.EngineError, RuntimeError, ValueError,
        )  # fmt: skip
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 4  # exceptions report every failure
        # without VNNI, x86 adds pairs of 8-bit products in 16 bits and saturates (CenterFace's
        # overlap falls from 0.985 to 0.948): this selects the exact kernels there
        options.add_session_config_entry("session.x64quantprecision", "1")
        # a spinning thread pool would halve the speed of all other processes on the board
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except self._errors as error:
            raise ModelError(f"onnxruntime cannot load it: {_one_line(error)}") from error
        dtypes = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int8)": "int8"}
        self.inputs: Mapping[str, tuple[tuple[int, ...], str]] = {
            each.name: (
                tuple(size if isinstance(size, int) else -1 for size in each.shape),
                dtypes.get(each.type, each.type),
            )
            for each in self._session.get_inputs()
        }
        self._names = [each.name for each in self._session.get_outputs()]
        self.outputs = frozenset(self._names)
        self._input = next(iter(self.inputs), "")
        self._takes_floats = self.inputs.get(self._input, ((), ""))[1] == "float32"

    def run(self, tensor: Tensor) -> dict[str, Floats]:
        """Return every output for the one input; see ``Session``."""
        if self._takes_floats:
            tensor = np.asarray(tensor, np.float32)
        try:
            values = self._session.run(self._names, {self._input: tensor})
            floats = [np.asarray(each, np.float32) for each in values]
        except self._errors as error:
            raise InferenceError(f"onnxruntime failed: {_one_line(error)}") from error
        return dict(zip(self._names, floats, strict=True))


class LiteRtSession:
    """A TensorFlow Lite model in LiteRT; inputs are quantised and outputs dequantised."""

    def __init__(self, content: bytes, threads: int) -> None:
        interpreter_class = _interpreter_class()
        try:
            with _silenced_stderr():
                self._interpreter = interpreter_class(model_content=content, num_threads=threads)
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"LiteRT cannot load it: {_one_line(error)}") from error
        details = self._interpreter.get_input_details()
        self.inputs: Mapping[str, tuple[tuple[int, ...], str]] = {
            each["name"]: (tuple(int(size) for size in each["shape"]), np.dtype(each["dtype"]).name)
            for each in details
        }
        self._input = details[0] if details else {}
        self._shape = next(iter(self.inputs.values()), ((), ""))[0]
        # a function that makes a view of the input: LiteRT refuses to run while a view exists
        self._view = self._interpreter.tensor(self._input.get("index", 0))
        self._outputs = self._interpreter.get_output_details()
        self.outputs = frozenset(each["name"] for each in self._outputs)

    def run(self, tensor: Tensor) -> dict[str, Floats]:
        """Return every output for the one input; see ``Session``."""
        try:
            if tensor.shape != self._shape:
                raise ValueError(f"input {tensor.shape}, expected {self._shape}")
            np.copyto(self._view(), _quantised(tensor, self._input))
            self._interpreter.invoke()
            return {
                each["name"]: _dequantised(self._interpreter.get_tensor(each["index"]), each)
                for each in self._outputs
            }
        except (RuntimeError, ValueError) as error:
            raise InferenceError(f"LiteRT failed: {_one_line(error)}") from error


@contextlib.contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Discard standard error while the runtime's native code loads a model.

    LiteRT prints a banner for each model, which no option disables; it raises every failure, too.
    This affects the whole process: load models before other threads write to standard error.
    """
    try:
        before = os.dup(2)
    except OSError:  # standard error is closed
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(null)
        os.close(before)


def _interpreter_class() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415
    except ImportError:
        if find_spec("tflite_runtime") is not None and _NUMPY_2:
            # importing it works, and loading the first model fails
            raise ModelError(
                f"tflite-runtime works with NumPy 1 only, this is {np.__version__}; pip install"
                " 'affect-edge[litert]', or 'affect-edge[tflite]' in an environment of its own"
            ) from None
        try:
            from tflite_runtime.interpreter import Interpreter  # noqa: PLC0415
        except ImportError as error:
            raise ModelError(
                "no runtime for .tflite artifacts; pip install 'affect-edge[litert]'"
            ) from error
    return Interpreter


def _quantised(values: Tensor, detail: Mapping[str, Any]) -> Tensor:
    """Return ``values`` quantised for the tensor: ``round(x / scale) + zero point``."""
    dtype = detail["dtype"]
    if dtype is np.float32 or values.dtype == dtype:
        return values
    scale, zero = detail["quantization"]
    bounds = np.iinfo(dtype)
    steps = np.rint(values / scale) + zero if scale else values
    return np.clip(steps, bounds.min, bounds.max).astype(dtype)


def _dequantised(values: Tensor, detail: Mapping[str, Any]) -> Floats:
    if values.dtype == np.float32:
        return values
    scale, zero = detail["quantization"]
    floats = values.astype(np.float32)
    if values.dtype.kind in "iu" and scale:
        floats = (floats - np.float32(zero)) * np.float32(scale)
    return floats


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:197] + "..."
