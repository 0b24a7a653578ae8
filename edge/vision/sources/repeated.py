"""A file, folder or clip that is read again and again, as one source that goes on.

Indices and times continue at the seam: the first picture of a pass follows the last one of the pass
before it after one frame period.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Self

from edge.errors import EndOfStream, FrameRefused
from edge.vision.sources.source import Source
from edge.vision.values import Frame

_FALLBACK_PERIOD_NS = 40_000_000  # of a file with one picture and no rate


class Repeated:
    """Reads a source that ends ``count`` times. See ``edge.vision.sources.Source``.

    ``Frame.repeat`` counts the passes before the present one. To resume at an index, it reads the
    first pass to learn its length, and skips whole passes of that length: a worker that takes over
    after days reads two passes at most before its first new picture.

    Args:
        open_pass: returns the source of one pass, not opened yet, with indices and times from 0.
        count: passes in all; 0: without end.
        resume_index: first index that is wanted; earlier pictures may be left out.
    """

    live = False

    def __init__(self, open_pass: Callable[[], Source], count: int, resume_index: int = 0) -> None:
        self._open_pass = open_pass
        self._count = count
        self._resume_index = resume_index
        self._repeat = 0
        self._first_index = 0  # of the present pass
        self._first_ns = 0
        self._position = 0  # next index within the present pass
        self._last_ns: int | None = None  # within the present pass
        self._period_ns: int | None = None  # before the last picture
        self._source = open_pass()

    @property
    def expected_hz(self) -> float | None:
        """Nominal frame rate, Hz; None if unknown."""
        return self._source.expected_hz

    @property
    def details(self) -> dict[str, object] | None:
        """Details of the present pass."""
        return self._source.details

    def __enter__(self) -> Self:
        self._source.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._source.__exit__(*error)

    def read(self) -> Frame:
        """Return the next picture, of the next pass where one has ended."""
        while True:
            try:
                frame = self._source.read()
            except FrameRefused as error:
                self._position += error.count
                raise
            except EndOfStream:
                if self._last_ns is None or self._repeat + 1 == self._count:
                    raise
                self._begin_again()
                continue
            if self._last_ns is not None:
                self._period_ns = frame.sensor_ns - self._last_ns
            self._last_ns = frame.sensor_ns
            self._position = frame.index + 1
            return replace(
                frame,
                index=self._first_index + frame.index,
                sensor_ns=self._first_ns + frame.sensor_ns,
                repeat=self._repeat,
            )

    def _begin_again(self) -> None:
        """Open the next pass; in the first one, skip those before ``resume_index``.

        Raises:
            EndOfStream: all of them are before it.
        """
        assert self._last_ns is not None
        length, duration_ns = self._position, self._last_ns + self._seam_ns()
        skipped = max(0, self._resume_index // length - self._repeat - 1)
        if self._count:
            skipped = min(skipped, self._count - self._repeat - 1)
        if self._count and self._repeat + 1 + skipped >= self._count:
            raise EndOfStream(f"all {self._count} passes were read before")
        passed = 1 + skipped
        self._repeat += passed
        self._first_index += passed * length
        self._first_ns += passed * duration_ns
        self._position, self._last_ns = 0, None
        self._source.__exit__(None, None, None)
        self._source = self._open_pass()
        self._source.__enter__()

    def _seam_ns(self) -> int:
        """Return the time from the last picture of a pass to the first one of the next."""
        if self._source.expected_hz:
            return round(1e9 / self._source.expected_hz)
        return self._period_ns or _FALLBACK_PERIOD_NS
