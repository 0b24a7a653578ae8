"""Small model folders with real artifacts: networks whose output equals their input."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper

HEIGHT, WIDTH = 4, 6


def identity_onnx(
    shape: tuple[Any, ...], dtype: int = TensorProto.FLOAT, op: str = "Relu"
) -> bytes:
    """Return an ONNX model of one operator, input ``in``, output ``out``."""
    graph = helper.make_graph(
        [helper.make_node(op, ["in"], ["out"])],
        "tiny",
        [helper.make_tensor_value_info("in", dtype, shape)],
        [helper.make_tensor_value_info("out", dtype, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def relu_tflite(
    shape: tuple[int, ...], dtype: int = schema.TensorType.FLOAT32, scale: float = 0, zero: int = 0
) -> bytes:
    """Return a TensorFlow Lite model of one ReLU, quantised where ``scale`` is given."""

    def tensor(name: str) -> Any:
        made = schema.TensorT()
        made.shape, made.type, made.buffer, made.name = list(shape), dtype, 0, name.encode()
        if scale:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [zero]
        return made

    operator, code = schema.OperatorT(), schema.OperatorCodeT()
    operator.inputs, operator.outputs, operator.opcodeIndex = [0], [1], 0
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RELU
    code.version = 1
    graph, model = schema.SubGraphT(), schema.ModelT()
    graph.tensors, graph.inputs, graph.outputs = [tensor("in"), tensor("out")], [0], [1]
    graph.operators = [operator]
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    model.buffers, model.description = [schema.BufferT()], b""
    builder = flatbuffers.Builder(512)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def manifest_of(
    files: dict[str, bytes],
    *,
    input_: dict[str, Any] | None = None,
    output: dict[str, Any] | None = None,
    passed: bool = True,
) -> dict[str, Any]:
    """Return a manifest, as JSON data, for a translator made of ``files``."""
    return {
        "name": "tiny",
        "task": "spectrum-translation",
        "decoder": "picture",
        "artifacts": [
            {
                "file": name,
                "runtime": "litert" if name.endswith(".tflite") else "onnxruntime",
                "precision": "fp32",
                "sha256": hashlib.sha256(content).hexdigest(),
                "bytes": len(content),
            }
            for name, content in files.items()
        ],
        "input": {
            "name": "in",
            "shape": [1, 1, HEIGHT, WIDTH],
            "layout": "nchw",
            "dtype": "float32",
            "colour": "mono",
            "value_range": [0, 255],
            "normalisation": {"kind": "none"},
            **(input_ or {}),
        },
        "outputs": {"picture": {"tensor": "out", **(output or {})}},
        "source": {"file": "x", "sha256": "0" * 64, "licence": "MIT", "citation": "none"},
        "exporter": {"version": "0", "options": {}},
        "parity": {
            name: {
                "metrics": {"error": 0.5},
                "limits": {"error": {"at_most": 1}},
                "samples": 1,
                "passed": passed,
            }
            for name in files
        },
    }


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a model folder: files, and a manifest with the given changes."""

    def make(files: dict[str, bytes], **changes: Any) -> Path:
        folder = tmp_path / "tiny"
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        (folder / "manifest.json").write_text(json.dumps(manifest_of(files, **changes)))
        return folder

    return make


@pytest.fixture
def edit_manifest() -> Callable[[Path, Callable[[dict[str, Any]], None]], None]:
    """A function that applies a change to the manifest of a folder."""

    def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
        path = folder / "manifest.json"
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    return edit


@pytest.fixture
def tiny() -> bytes:
    """The artifact that most tests use."""
    return identity_onnx((1, 1, HEIGHT, WIDTH))


@pytest.fixture
def onnx_of() -> Callable[..., bytes]:
    """``identity_onnx``, for tests that need other shapes or types."""
    return identity_onnx


@pytest.fixture
def tflite_of() -> Callable[..., bytes]:
    """``relu_tflite``, for tests that need other shapes or types."""
    return relu_tflite
