"""The preview: small pictures for aiming a camera, if ``[preview]`` allows them.

Off by default. An operator opens it by a request; it closes by itself after ``preview.minutes``.
Both are events, so that the record shows when pictures could be seen. Beyond this machine requests
need keys. The newest picture is in memory alone, and the worker sends none while it is closed.
"""

from collections.abc import Callable
from typing import Any

from edge import clock
from edge.config import PreviewConfig
from edge.errors import RequestRefused
from edge.link import PreviewPicture
from edge.protocol.events import Detail, PreviewClosed, PreviewOpened


class Preview:
    """The preview of one device. Only for the hub's main loop.

    Args:
        config: whether it may be opened.
        emit: sends an event.
        set_width: tells the present worker and later ones the width of the pictures; 0: none.
    """

    def __init__(
        self,
        config: PreviewConfig,
        emit: Callable[[Detail], object],
        set_width: Callable[[int], None],
    ) -> None:
        self._config = config
        self._emit = emit
        self._set_width = set_width
        self._until_ns: int | None = None  # monotonic time; None while it is closed
        self._newest: PreviewPicture | None = None
        self._newest_ns = 0
        self._shown = 0  # pictures that were handed out since it was opened

    @property
    def left_s(self) -> float | None:
        """Seconds until it closes; None while it is closed."""
        if self._until_ns is None:
            return None
        return max(0.0, (self._until_ns - clock.monotonic_ns()) / 1e9)

    def request(self, action: str) -> dict[str, Any]:
        """Open or close it, or return the newest picture; return the fields of the reply.

        Raises:
            RequestRefused: it is not enabled, or closed, or there is no picture yet.
        """
        if not self._config.enabled:
            raise RequestRefused(
                "the preview is off; expected preview.enabled = true in the daemon's configuration",
                code="preview_off",
            )
        self.expire()
        if action == "open":
            self._open()
        elif action == "close":
            self.close("requested")
        else:
            return self._picture()
        return {"left_s": self.left_s}

    def note(self, picture: PreviewPicture) -> None:
        """Keep the newest picture of the worker, while it is open."""
        if self._until_ns is not None:
            self._newest, self._newest_ns = picture, clock.monotonic_ns()

    def expire(self) -> None:
        """Close it when its time is over; call it at each turn of the loop."""
        if self._until_ns is not None and clock.monotonic_ns() >= self._until_ns:
            self.close("expired")

    def close(self, reason: str) -> None:
        """Close it, if it is open, and forget the picture."""
        if self._until_ns is None:
            return
        self._until_ns = self._newest = None
        self._set_width(0)
        self._emit(PreviewClosed(reason=reason, pictures=self._shown))

    def _open(self) -> None:
        if self._until_ns is not None:
            raise RequestRefused(
                "the preview is open; close it first, to open it for longer", code="preview_open"
            )
        self._until_ns = clock.monotonic_ns() + round(self._config.minutes * 60e9)
        self._shown = 0
        self._set_width(self._config.width_px)
        self._emit(PreviewOpened(minutes=self._config.minutes, width_px=self._config.width_px))

    def _picture(self) -> dict[str, Any]:
        if self._until_ns is None:
            raise RequestRefused("the preview is closed; open it first", code="preview_closed")
        picture = self._newest
        if picture is None:
            raise RequestRefused(
                "no picture has come since the preview was opened; ask again", code="no_picture"
            )
        self._shown += 1
        age_s = (clock.monotonic_ns() - self._newest_ns) / 1e9
        return {**picture.model_dump(exclude={"kind"}), "age_s": age_s, "left_s": self.left_s}
