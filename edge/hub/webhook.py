"""Sends each alarm that is raised or cleared to ``alarms.webhook_url``, in a thread of its own.

One POST per event, in order, with a JSON body: the event's fields and the identity of its message,
so that a receiver can tell a repetition. What cannot be delivered is tried again at growing
intervals, for ``KEEP_S``; what the receiver refuses is dropped at once. No redirect is followed, no
proxy used, and no answer read beyond its header: a receiver can delay only itself. Of the
address only scheme, host and port are logged; the token never is.
"""

import contextlib
import json
import logging
import socket as sockets
import ssl
import threading
from collections import deque
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit

from edge import __version__, clock
from edge.access.webhook import webhook_tls, webhook_token
from edge.config import AlarmsConfig, redact
from edge.hub.time_limit import limited
from edge.protocol.messages import EventMessage

log = logging.getLogger("affect_edge")

WAIT_S: Final = 5.0
"""For each step: connecting, handshake, answer."""

TOTAL_S: Final = 15.0
"""For all of an attempt after the connection."""

QUEUE_MAX: Final = 256
"""Messages that wait; beyond it the oldest is dropped."""

KEEP_S: Final = 3600.0
"""A message that could not be delivered for so long is dropped."""

RETRY_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Pauses after failed attempts; the last one repeats."""

_LATER: Final = (401, 403, 404, 408, 429)
"""Client errors that are tried again: they concern the receiver or the token, not the message."""

CLOSE_S: Final = 1.0
"""At the end of the daemon, for what still waits."""


class Webhook:
    """Delivers alarms to one address. ``post`` and ``close`` are for the hub's main loop.

    Args:
        config: with an address.
        count: called with ``delivered``, ``failed`` (an attempt) or ``dropped``, in any thread.

    Raises:
        ConfigError: the file of the token or of the authority is wrong.
    """

    def __init__(self, config: AlarmsConfig, count: Callable[[str], None]) -> None:
        self._token, self._tls = webhook_token(config), webhook_tls(config)
        parts = urlsplit(config.webhook_url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._shown = redact(config.webhook_url)
        self._count = count
        self._changed = threading.Condition()
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._is_closed = False
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()
        log.info("alarms are sent to %s", self._shown)

    def post(self, message: EventMessage) -> None:
        """Send an event, as soon as those before it are delivered or dropped; never waits."""
        body = json.dumps(
            {
                "device": message.device,
                "event": message.event,
                **message.detail,
                "unix_ns": message.time.unix_ns,
                "stream": message.stream,
                "epoch": message.epoch,
                "seq": message.seq,
            }
        ).encode()
        with self._changed:
            if len(self._waiting) >= QUEUE_MAX:
                self._waiting.popleft()
                self._count("dropped")
            self._waiting.append((clock.monotonic_ns(), body))
            self._changed.notify()

    def close(self) -> None:
        """End, after ``CLOSE_S`` at most for what waits."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        failures = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                item = self._waiting[0]
            status, error = self._try(item[1])
            is_refused = 400 <= status < 500 and status not in _LATER
            if is_refused:
                log.warning("%s refuses an alarm (status %d); it is dropped", self._shown, status)
            else:
                self._report(error)
            is_old = clock.elapsed_ms(item[0]) >= KEEP_S * 1e3
            if error:
                self._count("failed")
            if not error or is_old or is_refused:
                self._count("dropped" if error else "delivered")
                self._discard(item)
            failures = failures + 1 if error and not is_refused else 0
            if failures and not self._pause(RETRY_S[min(failures, len(RETRY_S)) - 1]):
                return

    def _discard(self, item: tuple[int, bytes]) -> None:
        with self._changed:
            # ``post`` may have dropped it meanwhile
            if self._waiting and self._waiting[0] is item:
                self._waiting.popleft()

    def _pause(self, seconds: float) -> bool:
        """Wait; return whether to go on, which is not so after the end of the daemon."""
        with self._changed:
            return not self._changed.wait_for(lambda: self._is_closed, seconds)

    def _report(self, error: str) -> None:
        """Log the first of consecutive failures, and their end."""
        if error and not self._is_failing:
            log.warning("alarms do not reach %s: %s; trying again", self._shown, error)
        elif self._is_failing and not error:
            log.info("alarms reach %s again", self._shown)
        self._is_failing = bool(error)

    def _try(self, body: bytes) -> tuple[int, str]:
        """Make one attempt; return the status, 0 without one, and why it failed, empty if not."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"affect-edge/{__version__}",
            "Connection": "close",
            **({"Authorization": f"Bearer {self._token}"} if self._token else {}),
        }
        try:
            with (
                sockets.create_connection((self._host, self._port), WAIT_S) as plain,
                limited(plain, TOTAL_S),
                self._secured(plain) as connected,
            ):
                connection = HTTPConnection(self._host, self._port)
                # the default port is left out of "Host:"
                connection.default_port = 443 if self._tls else 80
                connection.sock = connected
                connection.request("POST", self._path, body, headers)
                status = connection.getresponse().status
        except ssl.SSLCertVerificationError as error:
            return 0, f"its certificate is not trusted ({error.verify_message})"
        except TimeoutError:
            return 0, "it does not answer in time"
        except (OSError, HTTPException, ValueError) as error:
            return 0, _reason(error)
        if 300 <= status < 400:
            return status, f"it redirects (status {status}), which is not followed"
        return status, "" if 200 <= status < 300 else f"it answers with status {status}"

    def _secured(self, plain: sockets.socket) -> contextlib.AbstractContextManager[sockets.socket]:
        if self._tls is None:
            return contextlib.nullcontext(plain)
        return self._tls.wrap_socket(plain, server_hostname=self._host)


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or type(error).__name__
    if isinstance(error, PermissionError | sockets.gaierror):
        text += "; is its address in IPAddressAllow= of the service, and that of the name server?"
    return text
