"""Writes state dicts as PyTorch does, without PyTorch."""

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_STORAGES = {"f4": "FloatStorage", "f8": "DoubleStorage", "f2": "HalfStorage", "i8": "LongStorage"}


def checkpoint(path: Path, state: Mapping[str, Any], *, zipped: bool = True) -> Path:
    """Write ``state`` (name -> array) to ``path``, as a zip archive or in the older form."""
    arrays = {name: np.array(values, order="C") for name, values in state.items()}
    content = state_pickle(arrays, zipped=zipped)
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("net/data.pkl", content)
            for key, values in enumerate(arrays.values()):
                archive.writestr(f"net/data/{key}", values.tobytes())
        return path
    file = io.BytesIO()
    magic = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
    file.write(b"\x80\x02\x8a" + bytes([len(magic)]) + magic + b".")
    file.write(b"\x80\x02M\xe9\x03." + b"\x80\x02}.")
    file.write(content)
    keys = b"".join(_text(str(key)) for key in range(len(arrays)))
    file.write(b"\x80\x02](" + keys + b"e.")
    for values in arrays.values():
        file.write(struct.pack("<q", values.size) + values.tobytes())
    path.write_bytes(file.getvalue())
    return path


def state_pickle(arrays: Mapping[str, Any], *, zipped: bool = True) -> bytes:
    """Return the pickle of a state dict, whose numbers are kept elsewhere."""
    parts = [b"\x80\x02ccollections\nOrderedDict\n)R("]
    for key, (name, values) in enumerate(arrays.items()):
        strides = [each // values.itemsize for each in values.strides]
        parts += [
            _text(name),
            b"ctorch._utils\n_rebuild_tensor_v2\n((",
            _text("storage"),
            f"ctorch\n{_STORAGES[values.dtype.str[1:]]}\n".encode(),
            _text(str(key)) + _text("cpu") + _number(values.size),
            (b"" if zipped else b"N") + b"tQ",
            _number(0) + _tuple(values.shape) + _tuple(strides),
            b"\x89ccollections\nOrderedDict\n)RtR",
        ]
    return b"".join([*parts, b"u."])


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _tuple(values: Any) -> bytes:
    return b"(" + b"".join(_number(each) for each in values) + b"t"
