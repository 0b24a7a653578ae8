"""Where the overlays of a video come from: a new analysis, or a log."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

from edge.config import Config
from edge.recordings.annotation.overlay import FrameOverlay, overlay_of_result
from edge.recordings.result import Result
from edge.recordings.settings import Selection
from edge.recordings.steps import Steps
from edge.vision.golden import open_verified


def _ignore(_media_ns: int) -> None:
    pass


class Overlays(Protocol):
    """The overlays of one recording."""

    @property
    def by_index(self) -> bool:
        """Whether pictures are matched by index, as the times are not those of the file."""

    @property
    def rotate_deg(self) -> int:
        """How the analysed pictures were turned clockwise, beyond what the file says."""

    @property
    def flip(self) -> str:
        """How they were mirrored after that."""

    @property
    def absent(self) -> str:
        """What is said of a picture without overlay."""

    def frames(
        self, start_ns: int, end_ns: int | None, on_picture: Callable[[int], None] = _ignore
    ) -> Generator[FrameOverlay]:
        """Yield the overlays from ``start_ns`` to before ``end_ns``, in the order of time.

        ``on_picture`` takes the times of those before ``start_ns``, too: to find the first one may
        take long.
        """


@dataclass(frozen=True, slots=True)
class NewAnalysis:
    """Overlays from a new analysis of the configured file, as the daemon would do it."""

    config: Config
    absent: str = "not analysed"

    @property
    def by_index(self) -> bool:
        """Whether the configuration replaces the times of the file."""
        return getattr(self.config.source, "rate_hz", None) is not None

    @property
    def rotate_deg(self) -> int:
        """As configured."""
        return self.config.source.rotate_deg

    @property
    def flip(self) -> str:
        """As configured."""
        return self.config.source.flip

    def frames(
        self, start_ns: int, end_ns: int | None, on_picture: Callable[[int], None] = _ignore
    ) -> Generator[FrameOverlay]:
        """Analyse the recording; see ``Overlays``.

        Raises:
            ConfigError: while iterating: the recording cannot be read.
            ModelError: while iterating: a network fails verification.
            InferenceError: while iterating: the detector fails again and again.
        """
        selection = Selection(start_ns / 1e9, None if end_ns is None else end_ns / 1e9)
        if self.by_index:  # its times are not those of the file
            selection, on_picture = Selection(), _ignore
        steps = Steps(open_verified(self.config), self.config, selection, on_picture)
        for item in steps:
            if isinstance(item, Result):
                yield overlay_of_result(item)
