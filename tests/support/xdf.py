"""Writes XDF files, as LabRecorder does: https://github.com/sccn/xdf/wiki/Specifications."""

import struct
from collections.abc import Sequence
from pathlib import Path

_FILE_HEADER, _STREAM_HEADER, _SAMPLES, _CLOCK_OFFSET, _STREAM_FOOTER = 1, 2, 3, 4, 6


class XdfFile:
    """An XDF file that is written; a context manager. Streams are numbered from 1."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._file.write(b"XDF:")
        self._chunk(_FILE_HEADER, b'<?xml version="1.0"?><info><version>1.0</version></info>')

    def __enter__(self) -> "XdfFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def header(self, stream: int, xml: str) -> None:
        """Write the metadata of a stream."""
        self._chunk(_STREAM_HEADER, struct.pack("<I", stream) + xml.encode())

    def numbers(
        self, stream: int, samples: Sequence[Sequence[float]], stamps: Sequence[float]
    ) -> None:
        """Write samples of doubles with their time stamps, s."""
        parts = [
            struct.pack(f"<Bd{len(sample)}d", 8, stamp, *sample)
            for sample, stamp in zip(samples, stamps, strict=True)
        ]
        self._samples(stream, parts)

    def texts(self, stream: int, samples: Sequence[str], stamps: Sequence[float]) -> None:
        """Write markers with their time stamps, s."""
        parts = [
            struct.pack("<Bd", 8, stamp) + _length(len(text.encode())) + text.encode()
            for text, stamp in zip(samples, stamps, strict=True)
        ]
        self._samples(stream, parts)

    def clock_offset(self, stream: int, at_s: float, offset_s: float) -> None:
        """Write what has to be added to the stream's times at ``at_s`` of this machine."""
        self._chunk(_CLOCK_OFFSET, struct.pack("<Idd", stream, at_s, offset_s))

    def footer(self, stream: int, first: float, last: float, count: int) -> None:
        """Write the end of a stream."""
        xml = (
            f"<?xml version='1.0'?><info><first_timestamp>{first!r}</first_timestamp>"
            f"<last_timestamp>{last!r}</last_timestamp><sample_count>{count}</sample_count></info>"
        )
        self._chunk(_STREAM_FOOTER, struct.pack("<I", stream) + xml.encode())

    def _samples(self, stream: int, parts: Sequence[bytes]) -> None:
        content = struct.pack("<I", stream) + _length(len(parts)) + b"".join(parts)
        self._chunk(_SAMPLES, content)

    def _chunk(self, tag: int, content: bytes) -> None:
        self._file.write(_length(len(content) + 2) + struct.pack("<H", tag) + content)


def _length(count: int) -> bytes:
    """Return a number with the count of its bytes before it."""
    return struct.pack("<BI", 4, count)
