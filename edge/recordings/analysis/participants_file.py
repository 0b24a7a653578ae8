"""Reads a file of participants: which code a track has, assigned after the recording."""

import csv
import io
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from edge.codes import Code
from edge.errors import ConfigError

_EXPECTED: Final = "expected a CSV file with the columns track,participant, and file if wanted"
_BYTES_MAX: Final = 4 << 20
_CODE: Final = TypeAdapter[str](Code)


def read_participants(
    path: Path | None, recording: str, other_files: set[str] | None = None
) -> dict[int, str]:
    """Return the codes of a recording by track; several tracks may have one code.

    Rows without a code are left out: ``tracks.csv`` of an analysis, filled in as far as wanted, is
    such a file.

    Args:
        path: a CSV file; None: there is none.
        recording: name of its file; rows whose column ``file`` has another one are left out.
        other_files: takes the names of files in rows that are left out therefore.

    Raises:
        ConfigError: the file cannot be read, or a row is wrong; one line with its number.
    """
    if path is None:
        return {}
    try:
        with open(path, "rb") as file:
            content = file.read(_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"--participants {path}: {error.strerror}; {_EXPECTED}") from error
    if len(content) > _BYTES_MAX:
        raise ConfigError(
            f"--participants {path}: more than {_BYTES_MAX >> 20} MiB; {_EXPECTED}, and the rows of"
            " tracks with a code only"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"--participants {path}: not UTF-8; {_EXPECTED}") from error
    try:
        rows = csv.DictReader(io.StringIO(text, newline=""))
        rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
        return _codes_of(rows, path, recording, other_files)
    except csv.Error as error:
        raise ConfigError(f"--participants {path}: {error}; {_EXPECTED}") from error


def _codes_of(
    rows: "csv.DictReader[str]", path: Path, recording: str, other_files: set[str] | None
) -> dict[int, str]:
    if not {"track", "participant"} <= set(rows.fieldnames or ()):
        raise ConfigError(f"--participants {path}: no such columns; {_EXPECTED}")
    codes: dict[int, str] = {}
    for row in rows:
        file = row.get("file") or recording
        if recording not in (file, file.strip()):
            if other_files is not None and (row["participant"] or "").strip():
                other_files.add(file)
            continue
        where = f"--participants {path}, line {rows.line_num}"
        if not (row["participant"] or "").strip():
            continue
        track = (row["track"] or "").strip()
        if not (track.isascii() and track.isdigit() and int(track) > 0):
            raise ConfigError(f"{where}: track {track!r}: expected a number, 1 or more")
        try:
            code = _CODE.validate_python((row["participant"] or "").strip())
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ConfigError(f"{where}: participant {row['participant']!r}: {reason}") from error
        if codes.setdefault(int(track), code) != code:
            raise ConfigError(f"{where}: track {track} is {codes[int(track)]} already")
    return codes
