"""Counts of one recording: how much of it was read, and why the rest was not."""

import csv
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from edge.recordings.result import Result

TRACK_COLUMNS: Final = ("file", "track", "participant", "first_s", "last_s", "frames", "read")


@dataclass(slots=True)
class _Track:
    first_s: float
    last_s: float = 0.0
    frames: int = 0
    read: int = 0


@dataclass(slots=True)
class Counts:
    """Sums over the results of a recording; its size grows with the number of tracks only.

    A face is *read* if its expression was predicted; a frame, if one of its faces was.
    ``pictures_lost`` is to be set at the end: some may be lost after the last result.
    """

    frames: int = 0
    frames_read: int = 0
    frames_without_face: int = 0
    pictures_lost: int = 0
    faces: int = 0
    faces_read: int = 0
    first_s: float | None = None
    last_s: float | None = None
    size: tuple[int, int] | None = None
    reasons: Counter[str] = field(default_factory=Counter)
    tracks: dict[int, _Track] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Take in the next result."""
        time_s = round(result.time_s, 6)
        self.frames += 1
        self.first_s = time_s if self.first_s is None else self.first_s
        self.last_s = time_s
        self.size = self.size or (result.width, result.height)
        read = 0
        for face in result.faces:
            is_read = face.expression is not None
            read += is_read
            self.reasons.update(face.quality.reasons)
            track = self.tracks.setdefault(face.track, _Track(time_s))
            track.last_s = time_s
            track.frames += 1
            track.read += is_read
        self.faces += len(result.faces)
        self.faces_read += read
        self.frames_read += read > 0
        self.frames_without_face += not result.faces

    def as_json(self) -> dict[str, Any]:
        """Return the counts for ``session.json``."""
        return {
            "frames": {
                "analysed": self.frames,
                "first_s": self.first_s,
                "last_s": self.last_s,
                "size_px": self.size,
                "read": self.frames_read,
                "share_read": _share(self.frames_read, self.frames),
                "without_face": self.frames_without_face,
                "share_without_face": _share(self.frames_without_face, self.frames),
                "pictures_lost": self.pictures_lost,
            },
            "faces": {
                "found": self.faces,
                "read": self.faces_read,
                "share_read": _share(self.faces_read, self.faces),
                "reasons": dict(sorted(self.reasons.items())),
                "tracks": len(self.tracks),
            },
        }

    def tracks_csv(self, file: str, codes: Mapping[int, str]) -> bytes:
        """Return ``tracks.csv``: a line per track, to be filled in and given to --participants."""
        rows = [
            [file, track, codes.get(track, ""), each.first_s, each.last_s, each.frames, each.read]
            for track, each in sorted(self.tracks.items())
        ]
        return _csv([list(TRACK_COLUMNS), *rows])


def with_codes(tracks_csv: bytes, codes: Mapping[int, str]) -> bytes:
    """Return a ``tracks.csv`` with other codes.

    Raises:
        ValueError: it is none.
    """
    try:
        head, *rows = csv.reader(io.StringIO(tracks_csv.decode(), newline=""))
        if tuple(head[: len(TRACK_COLUMNS)]) != TRACK_COLUMNS:
            raise ValueError(f"expected the columns {','.join(TRACK_COLUMNS)}")
        changed = [[row[0], row[1], codes.get(int(row[1]), ""), *row[3:]] for row in rows]
    except (csv.Error, IndexError) as error:
        raise ValueError(f"is damaged: {error}") from error
    return _csv([head, *changed])


def _csv(rows: list[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
