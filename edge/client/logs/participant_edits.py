"""Participants that are assigned in a log afterwards: a layer over the messages, which stay.

An edit gives a code to a track, or to all faces that have another code: the latter renames a
participant, or merges it with another. Edits apply in the order in which they were made. A later
one sees the result of the earlier ones, except that a track's own edit replaces what came before.
The newest that is not undone can be undone.

The table ``participant_edit`` holds the edits. Two tables hold their result for the view ``faces``:
``participant_of_track`` and ``participant_of_code``. The view ``faces_received`` has the codes as
they were received.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from edge import clock
from edge.client.logs.sqlite_changes import columns, transaction

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS participant_edit ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " stream TEXT, epoch INTEGER, track INTEGER,"  # of a track; else null
    " was TEXT,"  # the code that is replaced; null for a track
    " participant TEXT NOT NULL,"
    " made_unix_ns INTEGER NOT NULL, undone INTEGER NOT NULL DEFAULT 0)",
    "CREATE TABLE IF NOT EXISTS participant_of_track ("
    " stream TEXT NOT NULL, epoch INTEGER NOT NULL, track INTEGER NOT NULL,"
    " participant TEXT NOT NULL, PRIMARY KEY (stream, epoch, track)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS participant_of_code ("
    " was TEXT PRIMARY KEY, participant TEXT NOT NULL) WITHOUT ROWID",
)

Track = tuple[str, int, int]
"""Stream, epoch and number of a track."""

_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit: of a track, or of the code ``was``; exactly one of the two is given."""

    participant: str
    track: Track | None = None
    was: str | None = None


@dataclass(frozen=True, slots=True)
class ParticipantEdits:
    """The result of all edits.

    Attributes:
        tracks: final code by track, of tracks that were edited.
        codes: final code by received code, of codes that were edited.
    """

    tracks: dict[Track, str]
    codes: dict[str, str]

    @classmethod
    def of(cls, edits: Iterable[Edit]) -> "ParticipantEdits":
        """Return the result of ``edits``, in the order in which they were made."""
        tracks: dict[Track, str] = {}
        codes: dict[str, str] = {}
        for edit in edits:
            if edit.track is not None:
                tracks[edit.track] = edit.participant
            elif edit.was is not None:
                _rename(tracks, edit.was, edit.participant)
                _rename(codes, edit.was, edit.participant)
                codes.setdefault(edit.was, edit.participant)
        return cls(tracks, codes)

    @classmethod
    def load(cls, connection: sqlite3.Connection) -> "ParticipantEdits":
        """Return the result of the edits in a log; without any, codes stay as received."""
        if not columns(connection, "participant_edit"):
            return cls({}, {})
        rows = connection.execute(
            "SELECT participant, stream, epoch, track, was FROM participant_edit"
            " WHERE NOT undone ORDER BY id"
        )
        return cls.of(
            Edit(code, None if stream is None else (stream, epoch, track), was)
            for code, stream, epoch, track, was in rows
        )

    def participant(self, stream: str, epoch: int, track: int, received: str | None) -> str | None:
        """Return the code of a face after all edits.

        Args:
            stream: of the message.
            epoch: of the message.
            track: of the face.
            received: code of the face in the message.
        """
        edited = self.tracks.get((stream, epoch, track))
        return edited if edited is not None else self.codes.get(received or "", received)


def add(connection: sqlite3.Connection, edit: Edit) -> None:
    """Make an edit in a log."""
    with transaction(connection):
        _prepare(connection)
        connection.execute(
            "INSERT INTO participant_edit (stream, epoch, track, was, participant, made_unix_ns)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [*(edit.track or (None, None, None)), edit.was, edit.participant, clock.wall_ns()],
        )
        _store_result(connection)


def undo(connection: sqlite3.Connection) -> Edit | None:
    """Undo the newest edit that is not undone, and return it; None if there is none."""
    if not columns(connection, "participant_edit"):
        return None
    with transaction(connection):
        row = connection.execute(
            "SELECT id, participant, stream, epoch, track, was FROM participant_edit"
            " WHERE NOT undone ORDER BY id DESC LIMIT 1"
        ).fetchone()
        if row is None:
            return None
        number, code, stream, epoch, track, was = row
        connection.execute("UPDATE participant_edit SET undone = 1 WHERE id = ?", [number])
        _store_result(connection)
    return Edit(code, None if stream is None else (stream, epoch, track), was)


def forget(connection: sqlite3.Connection, codes: Iterable[str]) -> list[bytes]:
    """Delete what the edits hold of erased messages; within a transaction of the caller.

    These are the edits of tracks that no message has any more, those that name one of ``codes``,
    and those of codes that nobody has after that.

    Returns:
        the bytes of the deleted rows, as they were in the file.
    """
    if not columns(connection, "participant_edit"):
        return []
    erased: list[bytes] = []
    for stream, epoch in _rows(
        connection,
        "SELECT DISTINCT stream, epoch FROM participant_edit WHERE stream IS NOT NULL",
    ):
        present = _rows(
            connection,
            "SELECT DISTINCT json_extract(f.value, '$.track') FROM messages m,"
            " json_each(m.body, '$.faces') f WHERE m.kind = 'frame' AND m.stream = ?"
            " AND m.epoch = ?",
            *(stream, epoch),
        )
        edited = _rows(
            connection,
            "SELECT DISTINCT track FROM participant_edit WHERE stream = ? AND epoch = ?",
            *(stream, epoch),
        )
        for (track,) in set(edited) - set(present):
            where = "stream = ? AND epoch = ? AND track = ?"
            erased += _delete(connection, where, stream, epoch, track)
    for code in codes:
        erased += _delete(connection, "participant = ?1 OR was = ?1", code)
    used = _used(connection)
    for (was,) in _rows(
        connection, "SELECT DISTINCT was FROM participant_edit WHERE was IS NOT NULL"
    ):
        if was not in used:
            erased += _delete(connection, "was = ?", was)
    _store_result(connection)
    return erased


def _delete(connection: sqlite3.Connection, where: str, *values: object) -> list[bytes]:
    """Delete edits; return parts of the rows that they had, in SQLite's record format.

    A bare code would be found in other words, too.
    """
    erased: list[bytes] = []
    for code, stream, epoch, track, was, undone in _rows(
        connection,
        "SELECT participant, stream, epoch, track, was, undone FROM participant_edit"
        f" WHERE {where}",
        *values,
    ):
        if stream is not None:
            erased.append(str(stream).encode() + _stored(epoch) + _stored(track) + code.encode())
            continue
        types = bytes(13 + 2 * len(text) for text in (was, code))
        names = f"{was}{code}".encode()
        erased.append(types + bytes((6, 8 + undone)) + names)  # participant_edit
        erased.append(b"\x03" + types + names)  # participant_of_code
    connection.execute(f"DELETE FROM participant_edit WHERE {where}", values)
    return erased


def _stored(number: int) -> bytes:
    """Return an integer as SQLite stores it; 0 and 1 take no bytes."""
    if number in (0, 1):
        return b""
    size = next(
        size for size in (1, 2, 3, 4, 6, 8) if -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1
    )
    return number.to_bytes(size, "big", signed=True)


def _used(connection: sqlite3.Connection) -> set[str]:
    """Return the codes that are renamed, or result, where a face has or gets them."""
    edits = _rows(connection, "SELECT was, participant FROM participant_edit")
    used = {code for was, code in edits if was is None}
    used |= {was for was, _ in edits if was is not None and _is_received(connection, was)}
    while more := {code for was, code in edits if was in used} - used:
        used |= more
    return used


def _is_received(connection: sqlite3.Connection, code: str) -> bool:
    return bool(
        _rows(
            connection,
            "SELECT 1 FROM messages m, json_each(m.body, '$.faces') f WHERE m.kind = 'frame'"
            " AND instr(m.body, ?) AND json_extract(f.value, '$.participant') = ? LIMIT 1",
            *(f'"{code}"', code),
        )
    )


def _rows(connection: sqlite3.Connection, statement: str, *values: object) -> list[tuple[Any, ...]]:
    return connection.execute(statement, values).fetchall()


def _rename(known: dict[_Key, str], was: str, code: str) -> None:
    known.update(dict.fromkeys([each for each, other in known.items() if other == was], code))


def _store_result(connection: sqlite3.Connection) -> None:
    edits = ParticipantEdits.load(connection)
    connection.execute("DELETE FROM participant_of_track")
    connection.execute("DELETE FROM participant_of_code")
    connection.executemany(
        "INSERT INTO participant_of_track VALUES (?, ?, ?, ?)",
        [(*track, code) for track, code in edits.tracks.items()],
    )
    connection.executemany("INSERT INTO participant_of_code VALUES (?, ?)", edits.codes.items())


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the tables, and put the edits between the view ``faces`` and its readers."""
    for statement in _TABLES:
        connection.execute(statement)
    view = connection.execute(
        "SELECT sql FROM sqlite_master WHERE type = 'view' AND name = 'faces'"
    ).fetchone()
    if view is None or columns(connection, "faces_received"):
        return
    names = [name for (name,) in connection.execute("SELECT name FROM pragma_table_info('faces')")]
    edited = (
        "coalesce((SELECT t.participant FROM participant_of_track t WHERE t.stream = r.stream"
        " AND t.epoch = r.epoch AND t.track = r.track), (SELECT c.participant FROM"
        " participant_of_code c WHERE c.was = r.participant), r.participant) AS participant"
    )
    cells = ", ".join(edited if name == "participant" else f"r.{name}" for name in names)
    connection.execute(str(view[0]).replace("VIEW faces", "VIEW faces_received", 1))
    connection.execute("DROP VIEW faces")
    connection.execute(f"CREATE VIEW faces AS SELECT {cells} FROM faces_received r")
