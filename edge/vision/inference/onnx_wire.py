"""Detects ONNX files with external data, without the ``onnx`` package.

An ONNX file may refer to weights in other files. A model could then read any file of this machine
(CVE-2022-25882 and its successors), and the hash of the file would not cover all that runs. The
daemon refuses such files. It does not need the ``onnx`` package otherwise, so this module parses
the protobuf wire format (protobuf.dev, "Encoding"): it follows the fields of ``onnx.proto`` that
lead to tensors, and skips all others.
"""

from collections.abc import Iterator
from typing import Final

_CHILDREN: Final[dict[str, dict[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""Message -> field number -> message: every path from a model to a tensor."""

_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of TensorProto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEPTH_MAX = 64  # nested subgraphs; real models have a handful


def has_external_data(model: bytes) -> bool:
    """Return whether any tensor of ``model``, an ONNX file, has external data.

    Raises:
        ValueError: the bytes are not a protobuf message that holds an ONNX graph.
    """
    view = memoryview(model)
    if not any(number == 7 and kind == _BYTES for number, kind, _, _ in _fields(view)):
        raise ValueError("no graph in it")
    return _any_external(view, "model", 0)


def _any_external(view: memoryview, message: str, depth: int) -> bool:
    if depth > _DEPTH_MAX:
        raise ValueError(f"nested deeper than {_DEPTH_MAX} messages")
    children = _CHILDREN[message]
    for number, kind, value, body in _fields(view):
        if message == "tensor" and (
            number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)
        ):
            return True
        child = children.get(number)
        if child and kind == _BYTES and _any_external(body, child, depth + 1):
            return True
    return False


def _fields(view: memoryview) -> Iterator[tuple[int, int, int, memoryview]]:
    """Yield field number, wire type, value of a varint (else 0), body (else empty)."""
    at, empty = 0, view[:0]
    while at < len(view):
        key, at = _varint(view, at)
        number, kind = key >> 3, key & 7
        value, body = 0, empty
        if number == 0:
            raise ValueError("field number 0")
        if kind == _VARINT:
            value, at = _varint(view, at)
        elif kind == _BYTES:
            length, at = _varint(view, at)
            body = view[at : at + length]
            at += length
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind}")
        if at > len(view):
            raise ValueError("it ends within a field")
        yield number, kind, value, body


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            raise ValueError("it ends within a number")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than 64 bits")
