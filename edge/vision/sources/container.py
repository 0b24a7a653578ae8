"""Reads from a file's container what OpenCV does not report: mirroring, trimming, length, date.

OpenCV reduces a file's display matrix to an angle and turns the pictures by it. A matrix that also
mirrors loses the mirroring: a horizontal flip is read as a half turn. Only the sign of the
matrix's determinant is needed to put that right.

Formats: ISO/IEC 14496-12 (MP4, MOV: boxes ``mvhd``, ``tkhd``, ``elst``, ``ctts``) and RFC 9559
(Matroska, WebM: the elements ``Info`` and ``Projection``, of which FFmpeg uses half turns of yaw
and pitch as flips, and the first ``Cluster``).
"""

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import BinaryIO, Final, TypeVar

from edge.validation import mistaken_content

_Part = tuple[bytes, int, int]
"""Name of a box or element, and where its content begins and ends."""

_Range = tuple[int, int]

_BOXES_FIRST: Final = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"})
_PARTS_MAX: Final = 10_000
_PAUSE: Final = -1  # the time in the media of an edit that shows nothing
_EBML, _SEGMENT, _CLUSTER = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_TIMESTAMP = b"\xe7"  # of a cluster
_TRACKS, _TRACK_ENTRY, _TRACK_TYPE = b"\x16\x54\xae\x6b", b"\xae", b"\x83"
_VIDEO, _PROJECTION, _PROJECTION_TYPE = b"\xe0", b"\x76\x70", b"\x76\x71"
_YAW, _PITCH = b"\x76\x73", b"\x76\x74"
_INFO, _TIMESTAMP_SCALE = b"\x15\x49\xa9\x66", b"\x2a\xd7\xb1"
_DURATION, _DATE_UTC = b"\x44\x89", b"\x44\x61"

_SECOND_NS: Final = 1_000_000_000
_MP4_EPOCH_S: Final = -2_082_844_800  # 1904-01-01 UTC
_MATROSKA_EPOCH_NS: Final = 978_307_200 * _SECOND_NS  # 2001-01-01 UTC
_CREATED_NS: Final = range(631_152_000 * _SECOND_NS, 7_258_118_400 * _SECOND_NS)
"""1990 to 2199. What lies outside was not set, or was written by another rule."""
_DURATION_MAX_S: Final = 1e9

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Recording:
    """Metadata of a recording in its container; each None if there is none.

    Attributes:
        duration_s: length, seconds.
        created_unix_ns: when it was made, UTC. Writers put the beginning of the recording there,
            its end, or when the file was converted.
    """

    duration_s: float | None = None
    created_unix_ns: int | None = None


def recording_of(path: str) -> Recording:
    """Return length and date of a recording (MP4, MOV, Matroska, WebM).

    Nothing is known of other formats, and of files that are damaged or cannot be read.
    """
    return _ask(path, _recording_mp4, _recording_matroska, Recording())


def why_no_video(path: str) -> str:
    """Return what a file is, or lacks, in which no video is found; else what is expected."""
    try:
        with open(path, "rb") as file:
            mistaken = mistaken_content(file.read(512))
    except OSError as error:
        return str(error.strerror)
    if mistaken:
        return mistaken
    if _ask(path, lambda file, end: _movie(file, end) is None, lambda _file, _end: False, False):
        return (
            "its index (moov) is missing: it was cut off, or its recording did not end; copy it"
            " again, or repair it"
        )
    return "expected a file with a video stream, such as MP4, MKV or AVI"


def is_mirrored(path: str) -> bool:
    """Return whether the first video track is shown mirrored, apart from any rotation.

    False for other formats, and for files that are damaged or cannot be read.
    """
    return _ask(path, _is_mirrored_mp4, _is_mirrored_matroska, False)


def is_trimmed(path: str) -> bool:
    """Return whether the first video track begins with pictures that are not shown (MP4, MOV).

    False for other formats, and for files that are damaged or cannot be read.
    """
    return _ask(path, _is_trimmed_mp4, lambda _file, _end: False, False)


def _ask(
    path: str,
    of_mp4: Callable[[BinaryIO, int], Answer],
    of_matroska: Callable[[BinaryIO, int], Answer],
    unknown: Answer,
) -> Answer:
    try:
        with open(path, "rb") as file:
            head = file.read(8)
            end = file.seek(0, 2)
            if head[:4] == _EBML:
                return of_matroska(file, end)
            return of_mp4(file, end) if head[4:] in _BOXES_FIRST else unknown
    except (OSError, ValueError, struct.error):
        return unknown


def _recording_mp4(file: BinaryIO, end: int) -> Recording:
    header = _find_box(file, _movie(file, end), b"mvhd")
    if header is None:
        return Recording()
    version = _read(file, header[0], 1)[0]
    form = ">QQIQ" if version == 1 else ">IIII"
    content = _read(file, header[0] + 4, struct.calcsize(form))
    created_s, _, scale, length = struct.unpack(form, content)
    unknown = (1 << (64 if version == 1 else 32)) - 1
    # of a part of a longer recording, times begin late: after a pause
    length -= _pause_mp4(file, end) if length != unknown else 0
    duration_s = length / scale if scale and length != unknown else None
    return _recording(duration_s, (created_s + _MP4_EPOCH_S) * _SECOND_NS)


def _recording_matroska(file: BinaryIO, end: int) -> Recording:
    for _, segment, segment_end in _find(_elements(file, 0, end), _SEGMENT):
        for _, info, last in _find(_elements(file, segment, segment_end), _INFO):
            scale = _value(file, _elements(file, info, last), _TIMESTAMP_SCALE)
            length = _value(file, _elements(file, info, last), _DURATION)
            date = _value(file, _elements(file, info, last), _DATE_UTC)
            scale_ns = int.from_bytes(scale, "big") or 1_000_000
            duration_s = None
            if len(length) in (4, 8):
                ticks = struct.unpack(">f" if len(length) == 4 else ">d", length)[0]
                begin = _begin_matroska(file, segment, segment_end)
                # FFmpeg states the end; of a part of a longer recording, times begin late
                duration_s = (ticks - begin if begin < ticks else ticks) * scale_ns / _SECOND_NS
            created_ns = int.from_bytes(date, "big", signed=True) + _MATROSKA_EPOCH_NS
            return _recording(duration_s, created_ns if date else None)
    return Recording()


def _begin_matroska(file: BinaryIO, segment: int, end: int) -> int:
    """Return the time at which the first cluster of a segment begins, in its ticks; 0: unknown."""
    position = segment
    for _, _, stop in _elements(file, segment, end):
        position = stop
    cluster = _element(file, position, end)
    if cluster is None or cluster[0] != _CLUSTER:
        return 0
    return int.from_bytes(_value(file, _elements(file, *cluster[1:]), _TIMESTAMP), "big")


def _recording(duration_s: float | None, created_ns: int | None) -> Recording:
    """Return the recording, without values that cannot be meant."""
    if duration_s is not None and (
        not math.isfinite(duration_s) or not 0 < duration_s < _DURATION_MAX_S
    ):
        duration_s = None
    # None in a range would be searched for among all its numbers
    if created_ns is not None and created_ns not in _CREATED_NS:
        created_ns = None
    return Recording(duration_s, created_ns)


def _is_mirrored_mp4(file: BinaryIO, end: int) -> bool:
    mirrored = False
    for header, offsets in (
        (_find_box(file, _movie(file, end), b"mvhd"), (36, 48)),
        (_find_box(file, _video_track(file, end), b"tkhd"), (40, 52)),
    ):
        if header is not None:
            mirrored ^= _has_negative_determinant(file, header[0], offsets)
    return mirrored


def _is_trimmed_mp4(file: BinaryIO, end: int) -> bool:
    """Compare the media time at which the track begins with that of its first picture."""
    track = _video_track(file, end)
    begins = [begin for _, begin in _edits(file, track) if begin != _PAUSE]
    offsets = _find_box(file, track, b"mdia", b"minf", b"stbl", b"ctts")
    first = 0 if offsets is None else struct.unpack(">i", _read(file, offsets[0] + 12, 4))[0]
    return len(begins) > 1 or any(begin > first for begin in begins)


def _pause_mp4(file: BinaryIO, end: int) -> int:
    """Return how long the first video track waits at its begin, in the ticks of the movie."""
    edits = _edits(file, _video_track(file, end))
    return sum(length for length, _ in takewhile(lambda edit: edit[1] == _PAUSE, edits))


def _edits(file: BinaryIO, track: _Range | None) -> list[tuple[int, int]]:
    """Return the first edits of a track: length, in the movie's ticks, and time in the media."""
    edits = _find_box(file, track, b"edts", b"elst")
    if edits is None:
        return []
    version, count = struct.unpack(">B3xI", _read(file, edits[0], 8))
    entry = ">Qq4x" if version == 1 else ">Ii4x"
    size = struct.calcsize(entry)
    return [
        struct.unpack(entry, _read(file, edits[0] + 8 + size * number, size))
        for number in range(min(count, 8))
    ]


def _movie(file: BinaryIO, end: int) -> _Range | None:
    return _find_box(file, (0, end), b"moov")


def _video_track(file: BinaryIO, end: int) -> _Range | None:
    """Return where the first video track lies."""
    for name, *track in _boxes(file, *(_movie(file, end) or (0, 0))):
        handler = _find_box(file, (track[0], track[1]), b"mdia", b"hdlr")
        if name == b"trak" and handler and _read(file, handler[0] + 8, 4) == b"vide":
            return track[0], track[1]
    return None


def _find_box(file: BinaryIO, within: _Range | None, *names: bytes) -> _Range | None:
    """Return where the content of a box lies, by the names of the boxes around it and its own."""
    for name in names:
        if within is None:
            return None
        within = next(((a, b) for each, a, b in _boxes(file, *within) if each == name), None)
    return within


def _has_negative_determinant(file: BinaryIO, start: int, offsets: tuple[int, int]) -> bool:
    """Return whether a header's matrix mirrors; ``offsets`` of the matrix in versions 0 and 1."""
    version = _read(file, start, 1)[0]
    a, b, _, c, d = struct.unpack(">5i", _read(file, start + offsets[version == 1], 20))
    return bool(a * d < b * c)


def _is_mirrored_matroska(file: BinaryIO, end: int) -> bool:
    for _, segment, segment_end in _find(_elements(file, 0, end), _SEGMENT):
        for _, tracks, tracks_end in _find(_elements(file, segment, segment_end), _TRACKS):
            for _, entry, last in _find(_elements(file, tracks, tracks_end), _TRACK_ENTRY):
                if _value(file, _elements(file, entry, last), _TRACK_TYPE) == b"\x01":
                    return _is_mirrored_track(file, entry, last)
    return False


def _is_mirrored_track(file: BinaryIO, start: int, end: int) -> bool:
    for _, video, video_end in _find(_elements(file, start, end), _VIDEO):
        for _, first, last in _find(_elements(file, video, video_end), _PROJECTION):
            kind = _value(file, _elements(file, first, last), _PROJECTION_TYPE)
            yaw = _value(file, _elements(file, first, last), _YAW)
            pitch = _value(file, _elements(file, first, last), _PITCH)
            return not any(kind) and any(yaw) != any(pitch)  # other kinds are spherical
    return False


def _find(parts: Iterator[_Part], name: bytes) -> Iterator[_Part]:
    return (part for part in parts if part[0] == name)


def _value(file: BinaryIO, parts: Iterator[_Part], name: bytes) -> bytes:
    """Return the content of a small element; empty if it is missing."""
    for _, start, end in _find(parts, name):
        return _read(file, start, min(end - start, 8))
    return b""


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[_Part]:
    """Yield the boxes between two positions of an MP4 file."""
    for _ in range(_PARTS_MAX):
        if start + 8 > end:
            return
        size, name = struct.unpack(">I4s", _read(file, start, 8))
        content = start + 8
        if size == 1:  # a 64-bit size follows
            size = struct.unpack(">Q", _read(file, content, 8))[0]
            content += 8
        stop = start + size if size else end
        if stop < content:
            return
        yield name, content, min(stop, end)
        start = stop


def _elements(file: BinaryIO, start: int, end: int) -> Iterator[_Part]:
    """Yield the elements between two positions of a Matroska file, up to the first cluster."""
    for _ in range(_PARTS_MAX):
        element = _element(file, start, end)
        if element is None or element[0] == _CLUSTER:
            return
        yield element
        start = element[2]


def _element(file: BinaryIO, start: int, end: int) -> _Part | None:
    """Return the element at a position of a Matroska file; None if there is none."""
    head = _read(file, start, 12) if start < end else b""
    name_size = _vint_length(head[:1])
    size_size = _vint_length(head[name_size : name_size + 1])
    if not name_size or not size_size:
        return None
    content = start + name_size + size_size
    bits = 7 * size_size
    size = int.from_bytes(head[name_size : name_size + size_size], "big") & ((1 << bits) - 1)
    unknown = size == (1 << bits) - 1
    return head[:name_size], content, end if unknown else min(content + size, end)


def _vint_length(first: bytes) -> int:
    """Return how many bytes an EBML number has, from its first byte; 0 if it is not one."""
    return 9 - first[0].bit_length() if first and first[0] else 0


def _read(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    content = file.read(count)
    if not content:
        raise struct.error("beyond the end of the file")
    return content
