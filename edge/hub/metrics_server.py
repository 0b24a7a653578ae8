"""The HTTP server of the metrics: plain on this machine, TLS beyond it.

prometheus-client's own server makes the TLS handshake in the thread that accepts connections,
without a time limit, and waits for slow readers for ever: one silent peer would stop it. Here a
thread per connection does both within ``CONNECTION_S``, and there are few of them.
"""

import hmac
import logging
import socket as sockets
import ssl
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from edge.access.metrics import read_token, tls_context
from edge.config import MetricsConfig
from edge.errors import ConfigError
from edge.hub.time_limit import limited

CONNECTION_S: Final = 10.0
"""For each wait of a handshake, of a request, and of the answer."""

TOTAL_S: Final = 30.0
"""For all of it: else a byte every few seconds would keep a connection for days."""

CONNECTIONS_MAX: Final = 8
"""At a time; a further one is closed at once."""

log = logging.getLogger("affect_edge")

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def serve(registry: CollectorRegistry, config: MetricsConfig) -> None:
    """Serve the metrics of ``registry`` in threads of their own, until the process ends.

    Raises:
        ConfigError: the address cannot be bound, or a file of TLS or the token is wrong.
    """
    application: Application = make_wsgi_app(registry)
    tls, token = tls_context(config), read_token(config)
    if token:
        application = _require_token(application, token)
    host, _, port = config.address.rpartition(":")
    try:
        family, *_, address = sockets.getaddrinfo(
            host.strip("[]"), int(port), type=sockets.SOCK_STREAM, flags=sockets.AI_PASSIVE
        )[0]
        server = _Server(family, (str(address[0]), int(address[1])), tls)
    except OSError as error:
        raise ConfigError(
            f"metrics.address {config.address!r}: {error.strerror}; choose another one, or an empty"
            " string for no metrics"
        ) from error
    server.set_app(application)
    scheme = "http" if tls is None else "https"
    log.info("metrics on %s://%s:%d/metrics", scheme, host, server.server_port)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()


class _Handler(WSGIRequestHandler):
    timeout = CONNECTION_S  # of each operation on the connection

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, family: int, address: tuple[str, int], tls: ssl.SSLContext | None) -> None:
        self.address_family = family
        self._tls = tls
        self._free = threading.Semaphore(CONNECTIONS_MAX)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind, without the base class's look for a host name, which may ask a name server."""
        if self.address_family == sockets.AF_INET6:
            self.socket.setsockopt(sockets.IPPROTO_IPV6, sockets.IPV6_V6ONLY, 1)
        if self.allow_reuse_address:
            self.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle a connection in a thread, if one is free."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # the system has no thread left
            self._free.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Make the handshake, then handle requests."""
        try:
            with limited(request, TOTAL_S):
                request.settimeout(CONNECTION_S)
                if self._tls is not None:
                    request = self._tls.wrap_socket(request, server_side=True)
                super().process_request_thread(request, client_address)
        except (OSError, RuntimeError):
            # no TLS, no certificate of ours, too slow; or the system lacks descriptors or threads
            self.shutdown_request(request)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a peer that broke its connection: it concerns nobody else."""


def _require_token(application: Application, token: bytes) -> Application:
    """Return an application that answers only requests with ``Authorization: Bearer TOKEN``."""

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        scheme, _, given = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
        # in constant time, so that the time of an answer says nothing about the token
        is_right = hmac.compare_digest(given.strip().encode(errors="replace"), token)
        if scheme.lower() == "bearer" and is_right:
            return application(environ, start_response)
        start_response("401 Unauthorized", [("WWW-Authenticate", "Bearer")])
        return [b"expected Authorization: Bearer TOKEN\n"]

    return guarded
