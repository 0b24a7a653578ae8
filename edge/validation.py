"""One-line error messages for invalid input."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from edge.errors import AffectEdgeError, InferenceError, ModelError


@dataclass(frozen=True, slots=True)
class Invalid:
    """The first error of a pydantic validation; as text, ``PLACE: MESSAGE`` in one line.

    Attributes:
        kind: pydantic's name of the error, such as ``extra_forbidden``.
        location: keys and indices on the path to the value.
        message: what was expected, in one line.
        received: the value.
    """

    kind: str
    location: tuple[str | int, ...]
    message: str
    received: object

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
    return Invalid(found["type"], found["loc"], message, found["input"])


@contextmanager
def file_errors(
    option: str, path: Path, *, expected: str = "", kind: type[AffectEdgeError] = ModelError
) -> Iterator[None]:
    """Replace an ``OSError`` by an error of one line that names the option and its file.

    Args:
        option: such as ``--weights``.
        path: the value of the option.
        expected: what the file should be, such as ``an ONNX file``.
        kind: the class of the error to raise.

    Raises:
        AffectEdgeError: of ``kind``; the file cannot be read or written.
    """
    try:
        yield
    except OSError as error:
        hint = f"; expected {expected}" if expected else ""
        raise kind(f"{option} {path}: {error.strerror or error}{hint}") from error


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
