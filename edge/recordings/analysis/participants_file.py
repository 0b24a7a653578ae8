"""Reads a file of participants: which code a track has, assigned after the recording."""

import csv
import io
from collections.abc import Set
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from edge.codes import Code
from edge.errors import ConfigError
from edge.files.regular import open_regular
from edge.results.user_csv import separator_of

_EXPECTED: Final = "expected a CSV file with the columns track,participant, and file if wanted"
_BYTES_MAX: Final = 4 << 20
_TRACK_DIGITS_MAX: Final = 18
_CODE: Final = TypeAdapter[str](Code)


class _Row(NamedTuple):
    line: int
    track: str
    code: str


class ParticipantsFile:
    """The codes of tracks, by recording. Its rows are checked when those of a recording are asked.

    Args:
        where: names the file in errors.
        rows: with a code, by the name of a recording, as it is written; "": of any.
    """

    def __init__(self, where: str = "", rows: dict[str, list[_Row]] | None = None) -> None:
        self._where = where
        self._rows = rows or {}

    @property
    def files(self) -> Set[str]:
        """The names of recordings whose tracks have codes, as they are written."""
        return self._rows.keys() - {""}

    def codes_of(self, recording: str) -> dict[int, str]:
        """Return the codes of a recording by track; several tracks may have one code.

        Args:
            recording: name of its file; rows whose column ``file`` has another one are left out.

        Raises:
            ConfigError: a row is wrong; one line with its number.
        """
        names = [
            name for name in self._rows if name in ("", recording) or name.strip() == recording
        ]
        codes: dict[int, str] = {}
        for line, track, text in sorted(row for name in names for row in self._rows[name]):
            where = f"{self._where}, line {line}"
            is_number = track.isascii() and track.isdigit() and len(track) <= _TRACK_DIGITS_MAX
            if not is_number or int(track) == 0:
                raise ConfigError(f"{where}: track {track[:40]!r}: expected a number, 1 or more")
            try:
                code = _CODE.validate_python(text)
            except ValidationError as error:
                reason = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise ConfigError(f"{where}: participant {text!r}: {reason}") from error
            if codes.setdefault(int(track), code) != code:
                raise ConfigError(f"{where}: track {track} is {codes[int(track)]} already")
        return codes


def read_participants(path: Path | None, option: str = "--participants ") -> ParticipantsFile:
    """Read a CSV file of participants, once for all recordings; semicolons and tabs also separate.

    Rows without a code are left out: ``tracks.csv`` of an analysis, filled in as far as wanted, is
    such a file.

    Args:
        path: of the file; None: there is none.
        option: goes before the path in errors.

    Raises:
        ConfigError: the file cannot be read; one line.
    """
    if path is None:
        return ParticipantsFile()
    where = f"{option}{path}"
    try:
        with open(path, "rb", opener=open_regular) as file:
            content = file.read(_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror}; {_EXPECTED}") from error
    if len(content) > _BYTES_MAX:
        raise ConfigError(
            f"{where}: more than {_BYTES_MAX >> 20} MiB; {_EXPECTED}, and the rows of tracks with a"
            " code only"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: not UTF-8; {_EXPECTED}") from error
    try:
        return ParticipantsFile(where, _rows_of(text, where))
    except csv.Error as error:
        raise ConfigError(f"{where}: {error}; {_EXPECTED}") from error


def _rows_of(text: str, where: str) -> dict[str, list[_Row]]:
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator_of(text))
    rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
    if not {"track", "participant"} <= set(rows.fieldnames):
        raise ConfigError(f"{where}: no such columns; {_EXPECTED}")
    found: dict[str, list[_Row]] = {}
    for row in rows:
        if code := (row["participant"] or "").strip():
            track = (row["track"] or "").strip()
            found.setdefault(row.get("file") or "", []).append(_Row(rows.line_num, track, code))
    return found
