"""What every source of frames does."""

from typing import Protocol, Self

from edge.vision.values import Frame


class Source(Protocol):
    """Delivers one frame per call. Opened, used and closed by one thread, as a context manager.

    A source that is not live ends, and its times are on the clock ``media``, from 0 on. The times
    of a live source are on the clock ``monotonic`` or ``boottime``. It may stall, and has no end.
    """

    @property
    def live(self) -> bool:
        """Whether it delivers frames in real time and can stall; files are not live."""

    @property
    def expected_hz(self) -> float | None:
        """Nominal frame rate, Hz; None if unknown."""

    @property
    def details(self) -> dict[str, object] | None:
        """Details for the event ``camera_opened`` or ``folder_opened``; None if there are none."""

    def __enter__(self) -> Self:
        """Open it.

        Raises:
            ConfigError: the configured source can never be opened.
            SourceUnavailable: it is not available now.
        """

    def __exit__(self, *_: object) -> None:
        """Close it."""

    def read(self) -> Frame:
        """Return the next frame; waits no longer than its own time limit.

        Raises:
            EndOfStream: a file was read to its end.
            SourceStalled: a live source delivers no new frame; open it again.
            FrameRefused: this frame cannot be decoded; the next one may be.
            FrameNotReady: a slow live source has no frame yet; call again.
        """
