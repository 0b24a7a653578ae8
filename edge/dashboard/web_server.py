"""The web server: uvicorn, with limits of its own for peers that are slow or silent."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S: Final = 10.0
"""A connection that has sent no whole request after one to two of these times is closed."""

_CONNECTIONS_MAX: Final = 96
_HEADERS_MAX: Final = 16_384


class _Files(Protocol):
    @property
    def tls_cert(self) -> Path | None: ...

    @property
    def tls_key(self) -> Path | None: ...


class _PatientOnlyOnce(H11Protocol):
    """HTTP/1.1, without the connections that never send a request: they would use up all places."""

    _seen: object = None
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._seen = self
        self._timer = self.loop.call_later(REQUEST_S, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _check(self) -> None:
        cycle = self.cycle
        is_waiting = cycle is None or cycle.response_complete
        if is_waiting and self._seen is cycle:
            self.transport.close()
            return
        self._seen = cycle if is_waiting else self
        self._timer = self.loop.call_later(REQUEST_S, self._check)


class WebServer(uvicorn.Server):
    """Serves an application until ``should_exit`` is set; handles no signals.

    Args:
        app: the application.
        files: of TLS; None: plain HTTP.
    """

    def __init__(self, app: ASGIApp, files: _Files) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_PatientOnlyOnce,
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                log_level=logging.WARNING,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                limit_concurrency=_CONNECTIONS_MAX,
                timeout_keep_alive=15,
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
