"""The thread that receives the messages of all daemons."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from edge.client import Subscriber
from edge.clock import elapsed_ms, monotonic_ns
from edge.dashboard.state import State
from edge.errors import RequestRefused

_CHECK_MS: Final = 1000.0
_START_S: Final = 10.0

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
            self._endpoints, services=self._services, since="now", report=log.info
        ) as live:
            self._opened.set()
            while not self._stop.is_set():
                try:
                    received = live.receive(0.2)
                except RequestRefused as error:
                    # a journal was replaced by an older copy: begin anew, with what comes now
                    log.warning("%s; the page goes on with what is published now", error)
                    return
                if received is not None and not received.late:
                    self._state.apply(received.message, backfilled=received.backfilled)
                if elapsed_ms(checked_ns) >= _CHECK_MS:
                    checked_ns = monotonic_ns()
                    self._state.check_connections()
