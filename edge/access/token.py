"""A token in a file: one word that only its owner can read."""

from pathlib import Path
from typing import Final

from edge.errors import ConfigError
from edge.files.private import read_small_file

CHARS_MIN: Final = 16


def read_token_file(path: Path, key: str, *, remedy: str) -> bytes:
    """Return the word in a file.

    Args:
        path: the file.
        key: of the configuration, which names it.
        remedy: how to make one, for the error message.

    Raises:
        ConfigError: the file is missing, malformed, or others can read it.
    """
    token = read_small_file(path, key, private=True, remedy=remedy).strip()
    if len(token) < CHARS_MIN or not all(0x21 <= byte < 0x7F for byte in token):
        raise ConfigError(
            f"{key} {path}: expected one word of {CHARS_MIN} or more printable characters; {remedy}"
        )
    return token
