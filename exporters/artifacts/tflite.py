"""Converts ONNX to TensorFlow Lite in float, by onnx2tf in an environment of its own.

onnx2tf pins old versions of many libraries of this project, so it runs as a separate program
(``make setup-export``) and is never imported. It makes the float file only: its int8 files do not
load (``exporters.artifacts.quantize`` makes those).
"""

import os
import subprocess
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Final

import flatbuffers
import numpy as np

from edge.errors import ModelError

ONNX2TF_VARIABLE: Final = "AFFECT_EDGE_ONNX2TF"
"""Environment variable with the path of another ``onnx2tf`` than that of ``make setup-export``."""

_ROOT: Final = Path(__file__).resolve().parents[2]
_TIMEOUT_S: Final = 900.0
_MESSAGE_MAX: Final = 200  # characters of the tool's message

SETUP: Final = "run `make setup-export` and use .venv-export/bin/python -m exporters"


def onnx2tf_path() -> Path:
    """Return the path of the converter.

    Raises:
        ModelError: it does not exist; the message says how to install it.
    """
    named = os.environ.get(ONNX2TF_VARIABLE)
    path = Path(named) if named else _ROOT / ".venv-onnx2tf" / "bin" / "onnx2tf"
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        source = ONNX2TF_VARIABLE if named else "TensorFlow Lite artifacts"
        raise ModelError(f"{source}: no converter at {path}; {SETUP}")
    return path


def convert_float(model: bytes) -> bytes:
    """Return the float32 TensorFlow Lite model of an ONNX model of fixed shape.

    Inputs and outputs keep their names; four-dimensional ones become NHWC.

    Raises:
        ModelError: the converter is missing, refuses the graph, or takes too long.
    """
    program = onnx2tf_path()
    with tempfile.TemporaryDirectory(prefix="affect-edge-") as folder:
        # a copy: onnx2tf writes names for unnamed nodes back into the file it is given
        given = Path(folder) / "model.onnx"
        given.write_bytes(model)
        command = [str(program), "-i", given.name, "-o", "out", "-n"]
        environment = {**os.environ, "PYTHONWARNINGS": "ignore", "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment.pop("PYTHONPATH", None)
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"onnx2tf: no result in {_TIMEOUT_S:.0f} s") from error
        except OSError as error:
            raise ModelError(f"onnx2tf {program}: {error.strerror}; {SETUP}") from error
        made = Path(folder) / "out" / "model_float32.tflite"
        if done.returncode or not made.is_file():
            raise ModelError(
                f"onnx2tf cannot convert this graph (exit {done.returncode}):"
                f" {_last_line(done.stderr) or _last_line(done.stdout)}"
            )
        return made.read_bytes()


def tensors_made_from(content: bytes, nodes: Collection[str]) -> set[str]:
    """Return the names of the tensors that belong to the ONNX ``nodes``.

    onnx2tf names the constants of an operator (filter, bias, paddings) after its node, and an
    output after the node that reads it, or after the graph's output. So an operator belongs to a
    node if one of its inputs is named after the node. One without constants (an Add, a Sigmoid) is
    found only if its output is a graph output of that name.

    Args:
        content: a model from ``convert_float``.
        nodes: names of ONNX nodes, and of graph outputs.
    """
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415

    (graph,) = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0)).subgraphs
    names = [tensor.name.decode() for tensor in graph.tensors]
    prefixes = tuple(f"{node}_" for node in nodes)
    constants = ("_filter", "_bias", "_pads_nhwc", "_output_shape", "_weights")
    found = set()
    for operator in graph.operators:
        inputs = [names[place] for place in operator.inputs if place >= 0]
        outputs = {names[place] for place in operator.outputs}
        if outputs & set(nodes) or any(
            name.startswith(prefixes) and name.endswith(constants) for name in inputs
        ):
            found |= outputs
            # a quantised input in front of a float operator would cost a conversion
            found |= {names[place] for place in operator.inputs if place in graph.inputs}
    return found


def with_output_names(content: bytes, original: bytes) -> bytes:
    """Return the model ``content`` with the output names of ``original``.

    The quantiser adds a conversion after an integer tensor that is a float output, and names the
    output anew. Outputs keep their order.
    """
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415

    model, known = (
        schema.ModelT.InitFromObj(schema.Model.GetRootAs(each, 0)) for each in (content, original)
    )
    graph, first = model.subgraphs[0], known.subgraphs[0]
    wanted = {
        place: first.tensors[other].name
        for place, other in zip(graph.outputs, first.outputs, strict=True)
    }
    if all(graph.tensors[place].name == name for place, name in wanted.items()):
        return content
    for place, tensor in enumerate(graph.tensors):
        if tensor.name in wanted.values() and place not in wanted:
            tensor.name += b"_integer"
    for place, name in wanted.items():
        graph.tensors[place].name = name
    for buffer in model.buffers:
        # the quantiser may store large constants after the packed model, and packing moves them
        if buffer.offset:
            kept = content[buffer.offset : buffer.offset + buffer.size]
            buffer.data, buffer.offset, buffer.size = np.frombuffer(kept, np.uint8), 0, 0
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1][:_MESSAGE_MAX] if lines else ""
