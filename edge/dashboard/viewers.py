"""Live updates for viewers, by server-sent events.

A viewer is sent what is newer than its version, when its connection takes it: nothing is queued for
a slow one, and it delays nobody.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from starlette.types import Receive, Scope, Send

from edge.clock import monotonic_ns
from edge.dashboard.preview import Previews
from edge.dashboard.state import State

PERIOD_S: Final = 0.1
"""Shortest time between two updates of a viewer."""

SEND_S: Final = 60.0
"""A viewer that takes an update for longer than this is disconnected; it connects again by itself.
One that takes nothing at all is cut by the kernel before (``TCP_USER_TIMEOUT``)."""

_QUIET_S: Final = 5.0
_RETRY_MS: Final = 1000


class Viewers:
    """Sends updates of a state to viewers. Only for the event loop.

    Args:
        state: what they see.
        most: number of viewers at a time.

    Attributes:
        previews: who sees pictures.
    """

    def __init__(self, state: State, most: int) -> None:
        self.previews = Previews(state)
        self._state = state
        self._most = most
        self._count = 0
        self._changed = asyncio.Event()
        self._is_stopping = False

    @property
    def is_full(self) -> bool:
        """Whether no further viewer is served."""
        return self._count >= self._most

    def stop(self) -> None:
        """Let every viewer's response end."""
        self._is_stopping = True
        self.previews.stop()
        self._changed.set()

    async def watch(self) -> None:
        """Look for changes and wake the viewers, and close their previews, until ``stop``."""
        await asyncio.gather(self._watch_changes(), self.previews.watch())

    async def _watch_changes(self) -> None:
        seen = -1
        while not self._is_stopping:
            if self._count and self._state.version != seen:
                seen = self._state.version
                changed, self._changed = self._changed, asyncio.Event()
                changed.set()
            await asyncio.sleep(PERIOD_S)

    def response(
        self, last_id: str, is_open: Callable[[], bool]
    ) -> Callable[[Scope, Receive, Send], object]:
        """Return a response that lasts as long as the viewer.

        Args:
            last_id: of the last update that the viewer has, ``RUN-VERSION``; empty: none.
            is_open: whether the viewer may go on watching.
        """

        async def respond(_scope: Scope, receive: Receive, send: Send) -> None:
            self._count += 1
            gone = asyncio.ensure_future(_disconnected(receive))
            try:
                await self._serve(send, self._since(last_id), is_open, gone)
            except (TimeoutError, OSError):
                pass  # too slow, or gone
            finally:
                self._count -= 1
                gone.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await gone

        return respond

    def _since(self, last_id: str) -> int:
        run, _, version = last_id.partition("-")
        return int(version) if run == self._state.run and version.isdigit() else 0

    async def _serve(
        self, send: Send, since: int, is_open: Callable[[], bool], gone: "asyncio.Future[None]"
    ) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/event-stream; charset=utf-8")],
            }
        )
        body = b"retry: %d\n\n" % _RETRY_MS
        while not self._is_stopping and not gone.done() and is_open():
            changed = self._changed
            if since != self._state.version:
                since, update = self._state.update(since)
                body += b"id: %s-%d\ndata: %s\n\n" % (self._state.run.encode(), since, update)
            begun_ns = monotonic_ns()
            await asyncio.wait_for(
                send({"type": "http.response.body", "body": body or b":\n\n", "more_body": True}),
                SEND_S,
            )
            body = b""
            left_s = PERIOD_S - (monotonic_ns() - begun_ns) / 1e9
            if left_s > 0:
                await asyncio.sleep(left_s)
            if since == self._state.version:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), _QUIET_S)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
