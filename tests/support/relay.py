"""Relays between a consumer and a daemon that lose, delay, repeat and reorder, on demand."""

import random
import selectors
import socket as sockets
import threading
import time
from collections import deque
from typing import Any

import zmq


class TcpRelay:
    """Forwards TCP connections to a port, in a thread of its own; a context manager.

    Attributes:
        endpoint: where to connect instead.
        delay_s: by how much the bytes of each direction are delayed.
        stall_share: share of the pieces that are delayed four times as long, as if a packet had
            been lost and sent again; those behind it wait.
        is_black_hole: nothing is forwarded, and connections stay open.
    """

    def __init__(self, target: str, seed: int = 0) -> None:
        self._target = target.removeprefix("tcp://").split(":")
        self._random = random.Random(seed)
        self._listener = sockets.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.delay_s, self.stall_share, self.is_black_hole = 0.0, 0.0, False
        self._selector = selectors.DefaultSelector()
        self._peers: dict[sockets.socket, sockets.socket] = {}
        # by receiving end: when to send which bytes
        self._queues: dict[sockets.socket, deque[tuple[float, bytes]]] = {}
        self._cut, self._strand = threading.Event(), threading.Event()
        self._stranded: list[sockets.socket] = []
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "TcpRelay":
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed.set()
        self._thread.join()
        for each in [*self._peers, *self._stranded, self._listener]:
            each.close()
        self._selector.close()

    def cut(self) -> None:
        """Close every connection, in the midst of what is sent."""
        self._cut.set()

    @property
    def connections(self) -> int:
        """How many are forwarded now."""
        return len(self._peers) // 2

    def strand(self) -> None:
        """Forward nothing more of the present connections, which stay open; later ones work."""
        self._strand.set()

    def _run(self) -> None:
        while not self._is_closed.is_set():
            for key, _ in self._selector.select(0.005):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, sockets.socket):
                    self._read(key.fileobj)
            if self._cut.is_set():
                self._cut.clear()
                for each in list(self._peers):
                    self._close(each)
            if self._strand.is_set():
                self._strand.clear()
                for each in self._peers:
                    self._selector.unregister(each)
                self._stranded += self._peers
                self._peers.clear()
                self._queues.clear()
            self._write_due()

    def _accept(self) -> None:
        accepted, _ = self._listener.accept()
        try:
            opened = sockets.create_connection((self._target[0], int(self._target[1])), 5)
        except OSError:
            accepted.close()
            return
        for one, other in ((accepted, opened), (opened, accepted)):
            one.settimeout(5)
            self._peers[one] = other
            self._queues[one] = deque()
            self._selector.register(one, selectors.EVENT_READ)

    def _read(self, source: sockets.socket) -> None:
        if source not in self._peers:
            return
        try:
            piece = source.recv(1 << 16)
        except OSError:
            piece = b""
        if not piece:
            self._close(source)
            return
        delay_s = self.delay_s * (4 if self._random.random() < self.stall_share else 1)
        self._queues[self._peers[source]].append((time.monotonic() + delay_s, piece))

    def _write_due(self) -> None:
        if self.is_black_hole:
            return
        for target, queue in list(self._queues.items()):
            while queue and queue[0][0] <= time.monotonic():
                try:
                    target.sendall(queue.popleft()[1])
                except OSError:
                    self._close(target)
                    break

    def _close(self, one: sockets.socket) -> None:
        for each in (one, self._peers.get(one)):
            if each is not None and self._peers.pop(each, None) is not None:
                self._queues.pop(each).clear()
                self._selector.unregister(each)
                each.close()


class ReplyRelay:
    """Forwards requests to a service and its replies back, in a thread of its own.

    Args:
        service: endpoint of the service.
        endpoint: where consumers connect instead.
        seed: of what happens to which reply.

    Attributes:
        lost: share of the replies that never arrive.
        repeated: share of the replies that arrive again, after one or more later ones.
    """

    def __init__(self, service: str, endpoint: str, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._context = zmq.Context()
        self._front = self._context.socket(zmq.ROUTER)
        self._back = self._context.socket(zmq.DEALER)
        for each in (self._front, self._back):
            each.linger = 0
        self._front.bind(endpoint)
        self._back.connect(service)
        self.lost, self.repeated = 0.0, 0.0
        self._late: list[list[bytes]] = []
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "ReplyRelay":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed.set()
        self._thread.join()
        self._context.destroy(linger=0)

    def _run(self) -> None:
        poller: Any = zmq.Poller()
        poller.register(self._front, zmq.POLLIN)
        poller.register(self._back, zmq.POLLIN)
        while not self._is_closed.is_set():
            readable = dict(poller.poll(10))
            if self._front in readable:
                self._back.send_multipart(self._front.recv_multipart())
            if self._back in readable:
                self._forward(self._back.recv_multipart())

    def _forward(self, reply: list[bytes]) -> None:
        if self._random.random() < self.lost:
            return
        self._front.send_multipart(reply)
        if self._late and self._random.random() < 0.5:
            self._random.shuffle(self._late)
            for each in self._late:
                self._front.send_multipart(each)
            self._late.clear()
        if self._random.random() < self.repeated:
            self._late.append(reply)
