"""The purpose of an analysis: declared once, and kept in a file of the user if wanted."""

import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edge.config import declares_purpose
from edge.descriptors import printable, report_line, write_error_line
from edge.errors import ConfigError
from edge.files.durable import replace_file
from edge.recordings.settings import NO_PURPOSE, PURPOSES

_WORDS: Final = {
    "research-consent": "research with the informed consent of everyone who is seen",
    "medical": "medical use",
    "safety": "safety, such as that of divers in a chamber",
}


def purpose_of(option: str | None, config: Path | None, settings: Sequence[str]) -> str | None:
    """Return the purpose to declare; None if the configuration does.

    It is the option ``--purpose``, else that of the configuration, else that of the user's file,
    else the answer to a question on the terminal, which is written to standard error.

    Raises:
        ConfigError: none is declared, and there is no terminal; one line.
    """
    if option is not None or declares_purpose(config, settings):
        return option
    if (kept := _kept()) is not None:
        return kept
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(NO_PURPOSE)
    return _asked()


def user_file() -> Path | None:
    """Return the file in which the purpose is kept; None for a user without a home folder."""
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    try:
        base = Path(folder) if os.path.isabs(folder) else Path.home() / ".config"
    except RuntimeError:
        return None
    return base / "affect-edge" / "recordings.toml"


def _kept() -> str | None:
    path = user_file()
    if path is None:
        return None
    try:
        purpose = tomllib.loads(path.read_text()).get("purpose")
    except (FileNotFoundError, NotADirectoryError):  # XDG_CONFIG_HOME=/dev/null: keep nothing
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); delete it") from error
    if purpose not in PURPOSES:
        raise ConfigError(
            f"{path}: purpose {purpose!r}; expected one of {', '.join(PURPOSES)}, or no such file"
        )
    return str(purpose)


def _asked() -> str:
    write_error_line("Reading emotions from faces needs a declared lawful purpose (README):")
    for number, name in enumerate(PURPOSES, 1):
        write_error_line(f"  {number}  {name}: {_WORDS[name]}")
    try:
        answer = _ask("Purpose of these recordings, 1 to 3: ")
        names = {str(number): name for number, name in enumerate(PURPOSES, 1)}
        purpose = str(names.get(answer, answer))
        if purpose not in PURPOSES:
            raise ConfigError(f"purpose {answer!r}: expected 1 to 3, or one of the names")
        path = user_file()
        if path is not None and _ask(f"Keep it in {path}? [y/N] ").lower() in ("y", "yes"):
            _keep(path, purpose)
    except EOFError:
        raise ConfigError(NO_PURPOSE) from None
    return purpose


def _ask(question: str) -> str:
    """Return the answer to a question on the terminal, without spaces around it.

    Raises:
        EOFError: there is none.
        ConfigError: it is no text.
    """
    sys.stderr.write(printable(question))  # standard output may be a file
    sys.stderr.flush()
    try:
        answer = sys.stdin.readline()
    except UnicodeDecodeError as error:
        raise ConfigError(f"answer {error.object!r}: expected text in {error.encoding}") from error
    if not answer:
        raise EOFError
    return answer.strip()


def _keep(path: Path, purpose: str) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, f'purpose = "{purpose}"\n'.encode())
    except OSError as error:
        report_line(f"{path}: not kept: {error.strerror}")
