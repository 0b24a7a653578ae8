"""Converts Keras 2 checkpoints to a float ONNX graph, without Keras.

A separate process with limits on time and memory reads the file: a damaged file can make the HDF5
library loop or crash.
"""

import hashlib
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx

from edge.child import child_environment
from edge.errors import EXIT_CONFIG, EXIT_DONE, ModelError
from edge.validation import file_errors
from exporters.expression.keras2_file import ARCHITECTURE, JSON_BYTES_MAX, convert

HDF5_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"

_FILE_BYTES_MAX: Final = 1 << 30
_MEMORY_BYTES_MAX: Final = 1 << 33
_SECONDS_MAX = 120.0


@dataclass(frozen=True, slots=True)
class KerasModel:
    """A checkpoint as an ONNX graph.

    Attributes:
        graph: an ONNX model with one float32 input ``input`` (1, channels, height, width); the
            outputs, after their activations, have the names of their Keras layers.
        name: of the model in Keras.
        sha256: of the weights' file.
        architecture_sha256: of the JSON file; empty if the weights' file holds the architecture.
    """

    graph: Any
    name: str
    sha256: str
    architecture_sha256: str


def load_keras2(
    weights: Path, *, architecture: Path | None = None, size: tuple[int, int] | None = None
) -> KerasModel:
    """Return the model in ``weights``, a file of Keras 2.

    Args:
        weights: a whole-model ``.h5``, or the weights alone.
        architecture: the ``.json`` of the model; needed if ``weights`` holds the weights alone.
        size: width and height of the input, pixels; only for models of free size.

    Raises:
        ModelError: a file cannot be read or was not written by Keras 2, a layer is not supported,
            or weights are missing, unexpected or of another shape; one line.
    """
    content = _read(weights, "--weights", "a Keras 2 .h5 file", _FILE_BYTES_MAX)
    text, digest = b"", ""
    if architecture is not None:
        text = _read(architecture, ARCHITECTURE, "a Keras 2 .json file", JSON_BYTES_MAX)
        digest = hashlib.sha256(text).hexdigest()
    width, height = size or (0, 0)
    command = [sys.executable, "-m", "exporters.expression.keras2"]
    command += [
        str(number) for number in (-1 if architecture is None else len(text), width, height)
    ]
    try:
        done = subprocess.run(
            command,
            input=text + content,
            capture_output=True,
            timeout=_SECONDS_MAX,
            check=False,
            env=child_environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"--weights {weights}: damaged HDF5: reading it did not end within {_SECONDS_MAX:g} s;"
            " copy the file again"
        ) from error
    if done.returncode == EXIT_CONFIG:
        message = done.stdout.decode("utf-8", "replace")
        if architecture is not None and message.startswith(f"{ARCHITECTURE}:"):
            raise ModelError(message.replace(ARCHITECTURE, f"{ARCHITECTURE} {architecture}", 1))
        raise ModelError(f"--weights {weights}: {message}")
    if done.returncode != EXIT_DONE:
        raise ModelError(
            f"--weights {weights}: damaged HDF5: reading it ended with status {done.returncode};"
            " copy the file again"
        )
    model = onnx.load_model_from_string(done.stdout)
    return KerasModel(model, model.graph.name, hashlib.sha256(content).hexdigest(), digest)


def _read(path: Path, option: str, expected: str, bytes_max: int) -> bytes:
    with file_errors(option, path, expected=expected):
        if not path.is_file() and path.exists():
            raise ModelError(f"{option} {path}: not a file; expected {expected}")
        size = path.stat().st_size
        if size > bytes_max:
            raise ModelError(f"{option} {path}: {size} bytes, expected at most {bytes_max}")
        return path.read_bytes()


def _convert_stdin(length: int, width: int, height: int) -> int:
    """Convert the files on standard input, in the child process; return its exit code.

    The first ``length`` bytes are the architecture; -1: there is none. ``width`` is 0 without a
    size.
    """
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES_MAX, _MEMORY_BYTES_MAX))
    given = sys.stdin.buffer.read()
    architecture = None if length < 0 else given[:length]
    try:
        model = convert(given[max(length, 0) :], architecture, (width, height) if width else None)
    except ModelError as error:
        sys.stdout.buffer.write(str(error).encode("utf-8"))
        return EXIT_CONFIG
    sys.stdout.buffer.write(model.SerializeToString(deterministic=True))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(_convert_stdin(*(int(word) for word in sys.argv[1:4])))
