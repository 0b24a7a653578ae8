"""Commands that assign participants in a log afterwards, list them, and undo."""

import sqlite3
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from edge.client.logs import participant_edits
from edge.client.logs.participant_edits import Edit, ParticipantEdits
from edge.client.logs.sqlite_changes import open_log
from edge.clock import day
from edge.codes import Code
from edge.descriptors import report_line
from edge.errors import ConfigError
from edge.tools.output import print_line
from edge.validation import first_error

_CODE: TypeAdapter[str] = TypeAdapter(Code)


def assign(log: Path, place: str, code: str, *, epoch: int | None, device: str | None) -> None:
    """Give ``code`` to a track (a number), or to all faces that have the code ``place``.

    Args:
        log: a log in SQLite.
        place: number of a track, or a code.
        code: the participant's code.
        epoch: of the track; needed where several epochs have it.
        device: of the track; needed where several devices have it.

    Raises:
        ConfigError: no such log, track or code in it, or several tracks of that number.
        LogFileError: the log cannot be read or written.
    """
    code = _checked(code)
    with open_log(log) as connection:
        if place.isascii() and place.isdigit():
            track = _find_track(connection, log, int(place), epoch, device)
            participant_edits.add(connection, Edit(code, track=track))
            print_line(f"track {place} of epoch {track[1]} is {code} in {log}")
            return
        place = _checked(place)
        if place == code:
            raise ConfigError(f"{place} is {code} already; expected two codes")
        known = _participants(connection, log)
        if place not in known:
            names = ", ".join(sorted(known)) or "none"
            raise ConfigError(f"no participant {place} in {log}; participants: {names}")
        participant_edits.add(connection, Edit(code, was=place))
        print_line(f"{place} is {code} in {log}" + (", merged" if code in known else ""))


def undo(log: Path) -> None:
    """Take back the newest assignment that was made afterwards; print what it was."""
    with open_log(log) as connection:
        edit = participant_edits.undo(connection)
    if edit is None:
        raise ConfigError(f"{log}: nothing was assigned afterwards; nothing to undo")
    what = edit.was if edit.track is None else f"track {edit.track[2]} of epoch {edit.track[1]}"
    print_line(f"undone in {log}: {what} as {edit.participant}")


def participants(log: Path) -> None:
    """Print a line for each participant in the log: faces and tracks, after all edits."""
    with open_log(log) as connection:
        known = _participants(connection, log)
        edits = ParticipantEdits.load(connection)
    for code, (faces, tracks, first_ns) in sorted(known.items()):
        print_line(f"{code}  {faces} faces, {tracks} tracks, from {day(first_ns)} on")
    for was, code in edits.codes.items():
        print_line(f"assigned afterwards: {was} is {code}")
    for (_, epoch, track), code in edits.tracks.items():
        print_line(f"assigned afterwards: track {track} of epoch {epoch} is {code}")
    if not known:
        print_line(f"no participants in {log}; affect-edge participant assign TRACK CODE --log LOG")


def _participants(connection: sqlite3.Connection, log: Path) -> dict[str, tuple[int, int, int]]:
    """Return number of faces, number of tracks and first wall time by code."""
    _announce(log)
    found: dict[str, tuple[int, int, int]] = {}
    edits = ParticipantEdits.load(connection)
    for stream, epoch, track, received, faces, first_ns in connection.execute(
        "SELECT m.stream, m.epoch, json_extract(f.value, '$.track') AS track,"
        " json_extract(f.value, '$.participant') AS received, count(*), min(m.unix_ns)"
        " FROM messages m, json_each(m.body, '$.faces') f WHERE m.kind = 'frame'"
        " GROUP BY m.stream, m.epoch, track, received"
    ):
        code = edits.participant(stream, epoch, track, received)
        if code is not None:
            before = found.get(code, (0, 0, first_ns))
            found[code] = (before[0] + faces, before[1] + 1, min(before[2], first_ns))
    return found


def _find_track(
    connection: sqlite3.Connection, log: Path, track: int, epoch: int | None, device: str | None
) -> tuple[str, int, int]:
    _announce(log)
    places = connection.execute(
        "SELECT DISTINCT m.device, m.stream, m.epoch FROM messages m,"
        " json_each(m.body, '$.faces') f WHERE m.kind = 'frame'"
        " AND json_extract(f.value, '$.track') = ?"
        " AND m.epoch = coalesce(?, m.epoch) AND m.device = coalesce(?, m.device)"
        " ORDER BY m.device, m.epoch",
        [track, epoch, device],
    ).fetchall()
    if not places:
        raise ConfigError(f"no track {track} in {log}; affect-edge participant list --log {log}")
    if len(places) > 1:
        shown = ", ".join(f"device {name} epoch {number}" for name, _, number in places[:8])
        raise ConfigError(
            f"track {track} is in {len(places)} epochs of {log}: {shown}; choose one with --epoch"
            " and --device"
        )
    return places[0][1], places[0][2], track


def _announce(log: Path) -> None:
    if log.stat().st_size > 100 << 20:
        report_line(f"reading {log}, {log.stat().st_size >> 20} MiB")


def _checked(code: str) -> str:
    try:
        return _CODE.validate_python(code)
    except ValidationError as error:
        raise ConfigError(f"{code!r}: {first_error(error).message}") from error
