"""The thread that receives the messages of all daemons."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from edge.client import Subscriber
from edge.client.subscriber import Received
from edge.clock import elapsed_ms, monotonic_ns
from edge.dashboard.state import State, require_times
from edge.errors import AffectEdgeError, RequestRefused

_CHECK_MS: Final = 1000.0
_START_S: Final = 10.0
_AGAIN_S: Final = 1.0  # after an error in receiving
_LOG_MS: Final = 60_000.0
_NAMED_MAX: Final = 256  # daemons whose wrong messages were reported

log = logging.getLogger("affect_edge")


class Receiver:
    """Receives live messages, and those that were missed meanwhile, and shows them in ``state``.

    Args:
        endpoints: where daemons publish.
        services: where they answer requests, to fetch what was missed.
        state: gets each message.
        failed: called in the thread if it ends by an error; ``error`` then has it.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        services: Sequence[str],
        state: State,
        failed: Callable[[], None],
    ) -> None:
        self._endpoints = endpoints
        self._services = services
        self._state = state
        self._failed = failed
        self._stop = threading.Event()
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._run, name="receiver", daemon=True)
        self._named: set[str] = set()
        self._logged, self._logged_ns = "", 0
        self.error: Exception | None = None

    def start(self) -> None:
        """Start, and wait until the sockets are open.

        Raises:
            ConfigError: an address or a key is wrong.
        """
        self._thread.start()
        self._opened.wait(_START_S)
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """End the thread, and wait for it."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._receive()
        except Exception as error:  # noqa: BLE001 - it ends the process, in the main thread
            self.error = error
            self._failed()
        finally:
            self._opened.set()

    def _receive(self) -> None:
        checked_ns = monotonic_ns()
        with Subscriber(
            self._endpoints, services=self._services, since="now", report=log.warning
        ) as live:
            self._opened.set()
            while not self._stop.is_set():
                try:
                    received = live.receive(0.2)
                except RequestRefused as error:
                    # a journal was replaced by an older copy: begin anew, with what comes now
                    self._wait_to_begin_anew(
                        f"{error}; the page goes on with what is published now"
                    )
                    return
                except AffectEdgeError:
                    raise
                except Exception as error:  # noqa: BLE001 - one daemon must not end the page of all
                    self._wait_to_begin_anew(
                        f"receiving begins anew: {type(error).__name__}: {error}"
                    )
                    return
                if received is not None and not received.late:
                    self._show(received, live.endpoint_of(received.message.stream) or "")
                if elapsed_ms(checked_ns) >= _CHECK_MS:
                    checked_ns = monotonic_ns()
                    self._state.check_connections(live.claims)

    def _wait_to_begin_anew(self, text: str) -> None:
        """Wait for a moment; log why, the same reason once in a minute."""
        if text != self._logged or elapsed_ms(self._logged_ns) > _LOG_MS:
            self._logged, self._logged_ns = text, monotonic_ns()
            log.warning("%s", text)
        self._stop.wait(_AGAIN_S)

    def _show(self, received: Received, endpoint: str) -> None:
        """Show a message; skip it, and say so once for each daemon, if it cannot be shown."""
        message = received.message
        try:
            require_times(message)
            self._state.apply(message, backfilled=received.backfilled, endpoint=endpoint)
        except Exception as error:  # noqa: BLE001 - one daemon must not end the page of all
            name = f"{message.device} {message.stream}"[:200]
            if name not in self._named and len(self._named) < _NAMED_MAX:
                self._named.add(name)
                log.warning(
                    "%s: a message cannot be shown, and is skipped, as are further ones: %s: %s",
                    ascii(name), type(error).__name__, error,
                )  # fmt: skip
