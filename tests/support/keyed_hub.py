"""The hub's sockets with keys, driven by a test instead of the daemon."""

import contextlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import zmq

from edge import clock
from edge.client.keys import apply_client_keys
from edge.config import PublishConfig, SecurityConfig
from edge.hub.fetch import Fetcher
from edge.hub.publisher import Publisher
from edge.hub.security import Security, attend
from edge.hub.service import Service
from tests.support.keys import KeyFolder
from tests.support.waiting import HANG_S


class KeyedHub:
    """Publisher and service with keys, driven by the test, and clients in another context."""

    def __init__(
        self,
        folder: Path,
        endpoint: str = "tcp://127.0.0.1:*",
        operators: Literal["all"] | tuple[str, ...] = "all",
        fetcher: Fetcher | None = None,
    ) -> None:
        self.keys = KeyFolder(folder / "keys", "logger", "page")
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.clients: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.rejected: Counter[str] = Counter()
        self.reloads: list[bool] = []
        config = SecurityConfig(
            secret_key=str(self.keys.secret),
            allowed_keys=str(self.keys.allowed),
            operators=operators,
        )
        self.security = Security(
            self.context,
            config,
            rejected=lambda why: self.rejected.update([why]),
            reloaded=self.reloads.append,
        )
        self.publisher = Publisher(
            self.context, PublishConfig(endpoint=endpoint), security=self.security
        )
        self.service = Service(self.context, endpoint, fetcher, security=self.security)
        self.requests = 0
        self.opened: list[zmq.Socket[bytes]] = []  # closed with their context

    def client(self, socket_type: int, name: str) -> "zmq.Socket[bytes]":
        """Return a socket with the keys of ``name``, not yet connected."""
        made = self.clients.socket(socket_type)
        made.setsockopt(zmq.LINGER, 0)
        made.setsockopt(zmq.RECONNECT_IVL, 20)
        apply_client_keys(made, self.keys.keys(name))
        self.opened.append(made)
        return made

    def watch(self, client: "zmq.Socket[bytes]", events: int) -> "zmq.Socket[bytes]":
        """Return a socket that receives the events of a client."""
        made = client.get_monitor_socket(events)
        self.opened.append(made)
        return made

    def close(self) -> None:
        self.clients.destroy(linger=0)
        self.context.destroy(linger=0)

    def turn(self) -> None:
        """Do what the daemon's loop does."""
        if not self.security.socket.closed:
            attend(self.security, reload=False)
        self.publisher.read_subscriptions()
        self.service.serve(self.handle, lambda _outcome: None)

    def handle(self, *_: object) -> dict[str, object]:
        self.requests += 1
        return {}

    def turn_until(self, condition: Callable[[], object], timeout_s: float = HANG_S) -> None:
        start_ns = clock.monotonic_ns()
        while not condition():
            assert clock.elapsed_ms(start_ns) < timeout_s * 1000
            self.turn()
            self.publisher.offer(b"affect.v1.frame.edge {}")
            with contextlib.suppress(zmq.ZMQError):
                self.publisher.socket.poll(2)

    def subscriber(self, name: str) -> "zmq.Socket[bytes]":
        """Return a subscriber that has received a message."""
        made = self.client(zmq.SUB, name)
        made.setsockopt(zmq.SUBSCRIBE, b"")
        made.connect(self.publisher.endpoint)
        self.turn_until(lambda: made.poll(0))
        return made

    def ask(self, name: str, request: str) -> dict[str, object]:
        """Return the reply to a request of the client ``name``."""
        with self.client(zmq.REQ, name) as made:
            made.connect(self.service.endpoint)
            made.send_string(request)
            self.turn_until(lambda: made.poll(0))
            reply: dict[str, object] = json.loads(made.recv())
        return reply

    def asked(self, name: str) -> "zmq.Socket[bytes]":
        """Return a client that has received a reply."""
        made = self.client(zmq.REQ, name)
        made.connect(self.service.endpoint)
        made.send(b'{"request":"time"}')
        self.turn_until(lambda: made.poll(0))
        assert made.recv().startswith(b'{"ok": true')
        return made
