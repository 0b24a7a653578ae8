"""Reads the tensors of a PyTorch state dict without PyTorch, and without running what it names.

Both forms of ``torch.save`` are read: the zip archive, and the row of pickles that came before it.
The unpickler knows tensors, storages and ordered dictionaries; any other object is refused.
"""

import collections
import hashlib
import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge.errors import ModelError
from edge.validation import file_errors, mistaken_content
from edge.vision.values import Floats

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_MAGIC: Final = 0x1950A86A20F9469CFC6C  # the first pickle of the old form
_PREFIX: Final = "module."  # DataParallel puts it before every name
_DTYPES: Final = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "<u2",
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1",
    "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip
_WRAPPERS: Final = ("state_dict", "model_state_dict")
"""Keys below which training code keeps the state dict, beside the optimizer's."""
_DIMENSIONS_MAX: Final = 8

# what damaged files raise, found by experiment
_DAMAGE_ERRORS: Final = (
    RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, TypeError,
    AttributeError, AssertionError, OverflowError, MemoryError, OSError,
    ImportError, struct.error, zipfile.BadZipFile,
)  # fmt: skip


class _Refused(Exception):
    """The file names an object that is no tensor."""


@dataclass(frozen=True, slots=True)
class _Storage:
    """A row of numbers, read later: the old form keeps them behind the pickle."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A view of a storage: first element, shape and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def values(self, rows: Mapping[str, bytes]) -> Any:
        """Return a copy of the tensor's values; floats as float32, integers as int64."""
        row = np.frombuffer(rows[self.storage.key], _DTYPES[self.storage.kind])
        if len(self.shape) != len(self.strides) or len(self.shape) > _DIMENSIONS_MAX:
            raise ValueError("a tensor whose shape and strides do not match")
        if any(not isinstance(each, int) or each < 0 for each in (*self.shape, *self.strides)):
            raise ValueError("a tensor of negative size")
        count = int(np.prod(self.shape, dtype=object))
        last = self.offset + sum(
            (size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True)
        )
        if not 0 <= count <= len(row) or self.offset < 0 or (count and last >= len(row)):
            raise ValueError("a tensor that is larger than its storage")
        places = np.full(self.shape, self.offset, np.int64)
        for axis, (size, stride) in enumerate(zip(self.shape, self.strides, strict=True)):
            steps = np.arange(size, dtype=np.int64) * stride
            places += steps.reshape([-1 if each == axis else 1 for each in range(places.ndim)])
        values = row[places]
        if self.storage.kind == "BFloat16Storage":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32 if values.dtype.kind == "f" else np.int64)


def load_tensors(path: Path, *, expected: str) -> tuple[dict[str, Floats], str]:
    """Return the tensors of a file with a state dict by name, and the sha256 of the file.

    Args:
        path: the file, ``--weights`` or a part of it.
        expected: what it should be, for messages.

    Raises:
        ModelError: it cannot be read, or as ``read_tensors``.
    """
    with file_errors("--weights", path, expected=expected):
        content = path.read_bytes()
    return read_tensors(path, content), hashlib.sha256(content).hexdigest()


def read_tensors(path: Path, content: bytes) -> dict[str, Floats]:
    """Return the tensors of a state dict by name without ``module.``, floats as float32.

    A dictionary that holds the state dict as ``state_dict`` or ``model_state_dict`` is accepted.

    Args:
        path: the file's path, for messages.
        content: its bytes.

    Raises:
        ModelError: the file is damaged, is no PyTorch file or holds anything but tensors; one line.
    """
    where = f"--weights {path}"
    if not content.startswith((_ZIP, _PICKLE)):
        kind = mistaken_content(content) or "not a PyTorch checkpoint"
        raise ModelError(f"{where}: {kind}; expected a state dict saved by PyTorch (.pth, .pt)")
    try:
        loaded, rows = (_read_zip if content.startswith(_ZIP) else _read_old)(content)
        for key in _WRAPPERS:
            if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
                loaded = loaded[key]
        if not isinstance(loaded, dict) or not loaded:
            raise _Refused(f"a {type(loaded).__name__}")
        state = {}
        for name, value in loaded.items():
            if not isinstance(name, str) or not isinstance(value, _Tensor):
                raise _Refused(f"{str(name)[:60]!r}, a {type(value).__name__},")
            state[name.removeprefix(_PREFIX)] = value.values(rows)
    except _Refused as error:
        raise ModelError(
            f"{where}: holds {error} where a state dict holds tensors; expected a file saved with"
            " torch.save(net.state_dict(), FILE)"
        ) from error
    except _DAMAGE_ERRORS as error:
        text = " ".join(str(error).split())[:120] or type(error).__name__
        raise ModelError(
            f"{where}: not a PyTorch checkpoint, or damaged: {text}; copy the file again"
        ) from error
    return state


def _read_zip(content: bytes) -> tuple[Any, dict[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (pickled,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        folder = pickled.removesuffix("data.pkl")
        if f"{folder}constants.pkl" in archive.namelist():
            raise _Refused("a TorchScript program")
        unpickler = _Unpickler(io.BytesIO(archive.read(pickled)))
        loaded = unpickler.load()
        return loaded, {key: archive.read(f"{folder}data/{key}") for key in unpickler.keys}


def _read_old(content: bytes) -> tuple[Any, dict[str, bytes]]:
    file = io.BytesIO(content)
    if _Unpickler(file).load() != _MAGIC:
        raise ValueError("a pickle of something else")
    for _ in ("version of the format", "sizes of integers"):
        _Unpickler(file).load()
    unpickler = _Unpickler(file)
    loaded = unpickler.load()
    rows = {}
    for key in _Unpickler(file).load():
        (count,) = struct.unpack("<q", file.read(8))
        size = count * np.dtype(_DTYPES[unpickler.keys[str(key)]]).itemsize
        rows[str(key)] = file.read(size)
        if len(rows[str(key)]) != size:
            raise EOFError("it ends within the weights")
    return loaded, rows


class _Unpickler(pickle.Unpickler):
    """Makes tensors, storages and ordered dictionaries, and nothing else.

    Attributes:
        keys: key of each storage that was named -> its kind.
    """

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.keys: dict[str, str] = {}

    def find_class(self, module: str, name: str, /) -> Any:
        match module, name:
            case "collections", "OrderedDict":
                return collections.OrderedDict
            case "torch._utils", "_rebuild_tensor_v2":
                return _rebuilt
            case "torch._utils", "_rebuild_parameter":
                return lambda tensor, *_: tensor
            case "torch" | "torch.storage", _ if name in _DTYPES:
                return name
        raise _Refused(f"a Python object ({module}.{name})"[:100])

    def persistent_load(self, pid: Any, /) -> _Storage:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise ValueError("a reference to something unknown")
        kind, key = str(pid[1]), str(pid[2])
        if kind not in _DTYPES or (len(pid) > 5 and pid[5] is not None):
            raise ValueError(f"a storage of an unknown kind {kind[:40]}")
        self.keys[key] = kind
        return _Storage(kind, key)


def _rebuilt(storage: Any, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor without a storage")
    return _Tensor(storage, int(offset), tuple(shape), tuple(strides))
