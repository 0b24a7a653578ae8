"""The web server: uvicorn, with limits of its own for peers that are slow or silent."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge.clock import monotonic_ns
from edge.dashboard.listener import Listener
from edge.dashboard.web_guard import is_loopback

REQUEST_S: Final = 5.0
"""A connection that has sent no whole request after one to two of these times is closed."""

CONNECTIONS_MAX: Final = 96
ADDRESS_MAX: Final = 24
"""Connections of one address, if others can be closed for a further one."""

LOOPBACK_MAX: Final = 64
"""The same of this machine: behind a proxy or a tunnel, all viewers have its address."""

_BACKLOG: Final = 128
_KEEP_ALIVE_S: Final = 5
_HEADERS_MAX: Final = 16_384


class _Files(Protocol):
    @property
    def tls_cert(self) -> Path | None: ...

    @property
    def tls_key(self) -> Path | None: ...


class _PatientOnlyOnce(H11Protocol):
    """HTTP/1.1, without the connections that never send a request: they would use up all places.

    The number of connections is limited, in all and for each address. For one beyond that, the
    oldest one is closed that waits for a request, first of those that have shown no session: so a
    new viewer always gets a place, and the updates of one are never cut for another.
    """

    _seen: object = None
    _timer: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, listener: Listener, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._listener = listener

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._listener.note_done(transport.get_extra_info("socket").fileno())
        self._made_ns = monotonic_ns()
        self._make_room()
        self._seen = self
        self._timer = self.loop.call_later(REQUEST_S, self._check)

    def _make_room(self) -> None:
        others = [
            each for each in self.connections
            if isinstance(each, _PatientOnlyOnce)
            and each is not self and not each.transport.is_closing()
        ]  # fmt: skip
        same = [each for each in others if each.address == self.address]
        most = LOOPBACK_MAX if is_loopback(self.address) else ADDRESS_MAX
        if len(same) >= most and (first := _first_to_go(same)) is not None:
            first.transport.abort()
        elif len(others) >= CONNECTIONS_MAX:
            (_first_to_go(others) or self).transport.abort()

    @property
    def address(self) -> str:
        """Of the peer; empty if it has gone already."""
        return self.client[0] if self.client else ""

    @property
    def is_waiting(self) -> bool:
        """Whether no request is in progress."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def has_session(self) -> bool:
        """Whether its newest request may see the page."""
        state: Any = self.scope["state"] if self.scope else {}
        return bool(state.get("is_open"))

    @property
    def order(self) -> tuple[bool, bool, int]:
        """The smallest is the first to be closed for a new connection."""
        return self.has_session, not self.is_waiting, self._made_ns

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _check(self) -> None:
        cycle, is_waiting = self.cycle, self.is_waiting
        if is_waiting and self._seen is cycle:
            self.transport.close()
            return
        self._seen = cycle if is_waiting else self
        self._timer = self.loop.call_later(REQUEST_S, self._check)


def _first_to_go(connections: Sequence[_PatientOnlyOnce]) -> _PatientOnlyOnce | None:
    """Return the connection to close for another one; None: all have a viewer's request."""
    found = [each for each in connections if each.is_waiting or not each.has_session]
    return min(found, key=lambda each: each.order, default=None)


class WebServer(uvicorn.Server):
    """Serves an application until ``should_exit`` is set; handles no signals.

    Args:
        app: the application.
        files: of TLS; None: plain HTTP.
        listener: that it will serve.
    """

    def __init__(self, app: ASGIApp, files: _Files, listener: Listener) -> None:
        listener.is_tls = files.tls_cert is not None
        super().__init__(
            uvicorn.Config(
                app,
                http=functools.partial(_PatientOnlyOnce, listener=listener),  # type: ignore[arg-type]
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                log_level=logging.WARNING,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                backlog=_BACKLOG,  # and as many are accepted at a time
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=2,
                h11_max_incomplete_event_size=_HEADERS_MAX,
                ssl_certfile=files.tls_cert,
                ssl_keyfile=files.tls_key,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the command line."""
        yield
