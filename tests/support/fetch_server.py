"""A daemon as its consumers see it: publishes, stores, and answers ``fetch`` as the real one."""

import itertools
import json
import threading
from typing import Any

import zmq

from edge.protocol import messages
from edge.protocol.messages import EventMessage, FrameMessage, StatusMessage
from edge.protocol.requests import FetchRequest, decode_request
from tests.support.wire import event, frame

Position = tuple[int, int]


class FakeDaemon:
    """Stores what it publishes and answers ``fetch`` in a thread of its own.

    Methods may be called from one other thread. ``lock`` guards what is stored.

    Args:
        live: endpoint of the publishing socket.
        service: endpoint of the service; "": none.
        stream: of its messages.
        page_max: most messages in a reply.

    Attributes:
        requests: requests that were answered, in order.
        refusal: text with which every ``fetch`` is refused; "": none is.
        acknowledged: position by name of the consumer.
    """

    def __init__(
        self, live: str, service: str = "", *, stream: str = "s", page_max: int = 500
    ) -> None:
        self._context = zmq.Context()
        self._live_endpoint, self._service_endpoint = live, service
        self.stream, self.epoch, self._seq = stream, 0, -1
        self._page_max = page_max
        self.lock = threading.Lock()
        self.stored: dict[Position, bytes] = {}  # JSON of every message ever published
        self.gaps: list[dict[str, Any]] = []
        self.requests: list[FetchRequest] = []
        self.refusal = ""
        self.acknowledged: dict[str, Position] = {}
        self._is_closed = threading.Event()
        self._live = self._bind(zmq.XPUB, live)
        self._thread = threading.Thread(target=self._serve)
        if service:
            self._service = self._bind(zmq.ROUTER, service)
            self._thread.start()

    def __enter__(self) -> "FakeDaemon":
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed.set()
        if self._service_endpoint:
            self._thread.join()
        self._live.close(linger=0)
        self._context.term()

    def wait_for_subscriber(self) -> None:
        """Wait until somebody subscribes."""
        assert self._live.poll(20_000), "nobody subscribed"
        assert self._live.recv()[:1] == b"\x01"

    def start_epoch(self, *, publish: bool = True) -> None:
        """Begin the next epoch with ``epoch_started``."""
        with self.lock:
            self.epoch, self._seq = self.epoch + 1, -1
        self.publish("epoch_started", publish=publish)

    def publish(self, name: str = "", *, publish: bool = True) -> None:
        """Store a message, an event if it has a name, and publish it unless it is to be lost."""
        make = (lambda seq, **where: event(seq, name, **where)) if name else frame
        with self.lock:
            self._seq += 1
            message = make(self._seq, stream=self.stream, epoch=self.epoch)
            self.stored[self.epoch, self._seq] = messages.encode(message).partition(b" ")[2]
        if publish:
            self.send(message)

    def send(self, message: FrameMessage | EventMessage | StatusMessage) -> None:
        """Publish a message without storing it."""
        self._live.send(messages.encode(message))

    @property
    def last_seq(self) -> int:
        """The last number sent in this epoch."""
        return self._seq

    @property
    def positions(self) -> list[Position]:
        """All messages stored."""
        with self.lock:
            return sorted(self.stored)

    def lose(self, epoch: int, first: int, last: int | None, reason: str = "trimmed") -> None:
        """Remove messages from the store; their place is a gap from now on."""
        with self.lock:
            for key in [k for k in self.stored if k[0] == epoch and first <= k[1]]:
                if last is None or key[1] <= last:
                    del self.stored[key]
            self.gaps.append(
                {"epoch": epoch, "first_missing": first, "last_missing": last, "reason": reason}
            )

    def reply(self, request: FetchRequest) -> bytes:
        """Return the reply to a request, as ``FetchRequest`` says."""
        with self.lock:
            self.requests.append(request)
            if self.refusal:
                return json.dumps({"ok": False, "error": self.refusal}).encode()
            keys = sorted(self.stored)
            newest = (self.epoch, self._seq)
            after = (request.epoch, request.seq)
            if request.stream != self.stream:
                after = (keys[0][0], keys[0][1] - 1) if keys else newest
            elif request.name is not None:
                self.acknowledged[request.name] = after
            if after > newest:
                text = f"the cursor is ahead of the stream: received {after}"
                return json.dumps({"ok": False, "error": text}).encode()
            gap, page, end = self._read(keys, after, min(request.max, self._page_max))
            head = {
                "ok": True,
                "stream": self.stream,
                "epoch": newest[0],
                "last_seq": newest[1],
                "oldest": {"epoch": keys[0][0], "seq": keys[0][1]} if keys else None,
                "gap": gap,
                "next": {"epoch": end[0], "seq": end[1]},
                "caught_up": end >= newest,
            }
            begin = json.dumps(head).encode()[:-1] + b', "messages": ['
            lines = b",\n".join(self.stored[key] for key in page)
            return begin + (b"\n" + lines + b"\n" if page else b"") + b"]}"

    def _read(
        self, keys: list[Position], after: Position, count: int
    ) -> tuple[dict[str, Any] | None, list[Position], Position]:
        later = [key for key in keys if key > after] if count else []
        gaps = [
            each
            for each in self.gaps
            if count and (each["epoch"], each["first_missing"]) == (after[0], after[1] + 1)
        ]
        gap = gaps[0] if gaps else None
        if not later:
            last = gap and gap["last_missing"]
            return gap, [], after if gap is None or last is None else (gap["epoch"], last)
        page = [key for key in later if key[0] == later[0][0]][:count]
        known = [each for each in self.gaps if each["epoch"] == page[0][0]]
        for index, (one, two) in enumerate(itertools.pairwise(page)):
            if two[1] != one[1] + 1 and known:  # a page ends before a gap
                page = page[: index + 1]
                break
        return gap, page, page[-1]

    def _serve(self) -> None:
        while not self._is_closed.is_set():
            if not self._service.poll(10):
                continue
            *envelope, part = self._service.recv_multipart()
            request = decode_request(part)
            assert isinstance(request, FetchRequest)
            self._service.send_multipart([*envelope, self.reply(request)])
        self._service.close(linger=0)

    def _bind(self, kind: int, endpoint: str) -> "zmq.Socket[bytes]":
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.sndhwm = 100_000
        socket.bind(endpoint)
        return socket
