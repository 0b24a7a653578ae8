"""One-line error messages for invalid input."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from edge.errors import AffectEdgeError, ConfigError, InferenceError, ModelError
from edge.files.regular import refuse_special


@dataclass(frozen=True, slots=True)
class Invalid:
    """The first error of a pydantic validation; as text, ``PLACE: MESSAGE`` in one line.

    Attributes:
        kind: pydantic's name of the error, such as ``extra_forbidden``.
        location: keys and indices on the path to the value.
        message: what was expected, in one line.
        received: the value.
        context: pydantic's details of the error, such as limits.
    """

    kind: str
    location: tuple[str | int, ...]
    message: str
    received: object
    context: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """The location joined by dots; empty if the error concerns the whole input."""
        return ".".join(map(str, self.location))

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.location else self.message


def first_error(error: ValidationError) -> Invalid:
    """Return the first error of a pydantic validation."""
    found = error.errors(include_url=False)[0]
    message = " ".join(found["msg"].removeprefix("Value error, ").split())
    context = found.get("ctx", {})
    return Invalid(found["type"], found["loc"], message, found["input"], context)


def refuse_empty(arguments: Sequence[str], *, allowed: Collection[str] = ()) -> None:
    """Refuse empty arguments of a command line: mostly a script's variable that is not set.

    As a path, an empty text would be the current folder.

    Args:
        arguments: of the command, its name included.
        allowed: options that may be empty.

    Raises:
        ConfigError: an argument, or the value of an option, is empty.
    """
    before = ""
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if not (argument.startswith("--") and equals):
            option, value = before, argument
        if not value and option not in allowed:
            name = option if option.startswith("-") else "an argument"
            raise ConfigError(
                f"{name}: expected a value, received an empty text; is a variable of a script not"
                " set?"
            )
        before = argument


def replace_surrogates(text: str) -> str:
    """Return ``text`` as it can be encoded in UTF-8.

    Python represents the bytes of a file name that is not UTF-8 as lone surrogates; each becomes a
    replacement character.
    """
    return re.sub(r"[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)


@contextmanager
def file_errors(
    option: str, path: Path, *, expected: str = "", kind: type[AffectEdgeError] = ModelError
) -> Iterator[None]:
    """Replace an ``OSError`` by an error of one line that names the option and its file.

    Pipes and devices are refused before the block: it would wait for their other end.

    Args:
        option: such as ``--weights``.
        path: the value of the option.
        expected: what the file should be, such as ``an ONNX file``.
        kind: the class of the error to raise.

    Raises:
        AffectEdgeError: of ``kind``; the file cannot be read or written.
    """
    try:
        refuse_special(path)
        yield
    except OSError as error:
        hint = f"; expected {expected}" if expected else ""
        raise kind(f"{option} {path}: {error.strerror or error}{hint}") from error


_ARCHIVES: Final = {
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"Rar!": "a rar archive",
}


def mistaken_content(content: bytes) -> str:
    """Return what a file probably is that should be a model, and the remedy; empty if unknown.

    Downloads often leave a pointer of Git LFS, a web page or an archive under the name of the file.

    Args:
        content: the first 512 bytes at least, or the whole file.
    """
    if content.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the file itself: run `git lfs pull`"
    head = content.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<!--")):
        return "a web page, not the file itself: download the file again"
    if content[257:262] == b"ustar":
        return "a tar archive: unpack it first"
    if content.startswith(b"PK\x03\x04"):
        return "a zip archive or a checkpoint of PyTorch: unpack it, or give the file expected here"
    for signature, name in _ARCHIVES.items():
        if content.startswith(signature):
            return f"{name}: unpack it first"
    return "" if content else "an empty file: download it again"


@contextmanager
def prefixed(text: str) -> Iterator[None]:
    """Put ``TEXT:`` before the message of a ``ModelError`` or ``InferenceError``.

    Raises:
        ModelError: with the longer message.
    """
    try:
        yield
    except (ModelError, InferenceError) as error:
        raise ModelError(f"{text}: {error}") from error
