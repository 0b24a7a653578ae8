"""A daemon as its consumers see it: publishes, stores, and answers ``fetch`` as the real one."""

import json
import threading
from typing import Any

import zmq

from edge.protocol import messages
from edge.protocol.messages import EventMessage, FrameMessage, StatusMessage
from edge.protocol.requests import FetchRequest, decode_request
from tests.support.waiting import HANG_S
from tests.support.wire import event, frame

Position = tuple[int, int]


class Store:
    """What a daemon has published, and its replies to ``fetch``; without sockets.

    Args:
        stream: of its messages.
        page_max: most messages in a reply.

    Attributes:
        lock: guards what is stored.
        stored: JSON of every message that is still stored, by position.
        refusal: text with which every ``fetch`` is refused; "": none is.
        refusal_code: ``code`` of refusals; "": none, as of a daemon before there were codes.
        requests: requests that were answered, in order.
        acknowledged: position by name of the consumer.
    """

    def __init__(self, *, stream: str = "s", page_max: int = 500) -> None:
        self.stream, self.epoch, self.last_seq = stream, 0, -1
        self.lock = threading.Lock()
        self.stored: dict[Position, bytes] = {}
        self.refusal = self.refusal_code = ""
        self.requests: list[FetchRequest] = []
        self.acknowledged: dict[str, Position] = {}
        self._page_max = page_max
        self._gaps: list[dict[str, Any]] = []

    @property
    def positions(self) -> list[Position]:
        """All messages stored."""
        with self.lock:
            return sorted(self.stored)

    def new_stream(self, stream: str) -> None:
        """Forget everything, as a daemon without a journal does at its start."""
        with self.lock:
            self.stream, self.epoch, self.last_seq = stream, 0, -1
            self.stored.clear()

    def begin_epoch(self) -> None:
        """Begin the next epoch, before its first message."""
        with self.lock:
            self.epoch, self.last_seq = self.epoch + 1, -1

    def add(self, name: str = "") -> FrameMessage | EventMessage:
        """Store the next message, an event if it has a name; return it."""
        with self.lock:
            self.last_seq += 1
            where = {"stream": self.stream, "epoch": self.epoch}
            message = event(self.last_seq, name, **where) if name else frame(self.last_seq, **where)
            body = messages.encode(message).partition(b" ")[2]
            self.stored[self.epoch, self.last_seq] = body
        return message

    def lose(self, epoch: int, first: int, last: int | None, reason: str = "trimmed") -> None:
        """Remove messages of an epoch; their place is a gap from now on.

        ``last`` None: not known, which may only be at the end of an epoch.
        """
        with self.lock:
            for key in list(self.stored):
                if key[0] == epoch and first <= key[1] and (last is None or key[1] <= last):
                    del self.stored[key]
            self._gaps.append(
                {"epoch": epoch, "first_missing": first, "last_missing": last, "reason": reason}
            )

    def reply(self, request: FetchRequest) -> bytes:
        """Return the reply to a request, as ``FetchRequest`` says."""
        with self.lock:
            self.requests.append(request)
            if self.refusal:
                return self._refuse(self.refusal)
            keys = sorted(self.stored)
            newest = (self.epoch, self.last_seq)
            after = (request.epoch, request.seq)
            if request.stream != self.stream:
                after = (keys[0][0], keys[0][1] - 1) if keys else newest
            elif request.name is not None:
                self.acknowledged[request.name] = after
            if after > newest:
                return self._refuse(f"the cursor is ahead of the stream: received {after}")
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

    def _refuse(self, text: str) -> bytes:
        code = {"code": self.refusal_code} if self.refusal_code else {}
        return json.dumps({"ok": False, "error": text, **code}).encode()

    def _read(
        self, keys: list[Position], after: Position, count: int
    ) -> tuple[dict[str, Any] | None, list[Position], Position]:
        """Return the gap right after a cursor, the messages after both, and the cursor after."""
        if not count:
            return None, [], after
        epoch, seq = after
        gap = self._gap_at(epoch, seq + 1)
        if gap is None and (epoch, seq + 1) not in self.stored:
            later = {key[0] for key in keys} | {each["epoch"] for each in self._gaps}
            later = {each for each in later if each > epoch}
            gap = self._gap_at(min(later), 0) if later else None
        if gap is not None:
            last = gap["last_missing"]
            after = (gap["epoch"], gap["first_missing"] - 1 if last is None else last)
        page: list[Position] = []
        for key in keys:
            if key <= after:
                continue
            is_next = key == (after[0], after[1] + 1) or (
                key[0] > after[0]
                and key[1] == 0
                and not any(after[0] < each["epoch"] < key[0] for each in self._gaps)
            )
            if not is_next or len(page) == count or (page and key[0] != after[0]):
                break
            page.append(key)
            after = key
        return gap, page, after

    def _gap_at(self, epoch: int, seq: int) -> dict[str, Any] | None:
        """Return what is missing from a number on, adjoining gaps as one."""
        gaps = [each for each in self._gaps if each["epoch"] == epoch]
        inside = [
            each
            for each in gaps
            if each["first_missing"] <= seq
            and (each["last_missing"] is None or seq <= each["last_missing"])
        ]
        if not inside:
            return None
        last = inside[0]["last_missing"]
        further = None if last is None else self._gap_at(epoch, last + 1)
        if further is not None:
            last = further["last_missing"]
        return {**inside[0], "first_missing": seq, "last_missing": last}


class FakeDaemon(Store):
    """A store with sockets: it publishes, and answers ``fetch`` in a thread of its own.

    Methods may be called from one other thread.

    Args:
        live: endpoint of the publishing socket.
        service: endpoint of the service; "": none.
        options: of the store.

    Attributes:
        is_mute: requests are received, and no reply is sent.
    """

    def __init__(self, live: str, service: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.is_mute = False
        self._context = zmq.Context()
        self._is_closed = threading.Event()
        self._live = self._bind(zmq.XPUB, live)
        self._thread = threading.Thread(target=self._serve)
        self._has_service = bool(service)
        if service:
            self._service = self._bind(zmq.ROUTER, service)
            self._thread.start()

    def __enter__(self) -> "FakeDaemon":
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed.set()
        if self._has_service:
            self._thread.join()
        self._live.close(linger=0)
        self._context.term()

    def wait_for_subscriber(self) -> None:
        """Wait until somebody subscribes."""
        assert self._live.poll(round(HANG_S * 1e3)), "nobody subscribed"
        assert self._live.recv()[:1] == b"\x01"

    def start_epoch(self, *, publish: bool = True) -> None:
        """Begin the next epoch with ``epoch_started``."""
        self.begin_epoch()
        self.publish("epoch_started", publish=publish)

    def publish(self, name: str = "", *, publish: bool = True) -> None:
        """Store a message, an event if it has a name, and publish it unless it is to be lost."""
        message = self.add(name)
        if publish:
            self.send(message)

    def send(self, message: FrameMessage | EventMessage | StatusMessage) -> None:
        """Publish a message without storing it."""
        self._live.send(messages.encode(message))

    def _serve(self) -> None:
        while not self._is_closed.is_set():
            if not self._service.poll(10):
                continue
            *envelope, part = self._service.recv_multipart()
            request = decode_request(part)
            assert isinstance(request, FetchRequest)
            if not self.is_mute:
                self._service.send_multipart([*envelope, self.reply(request)])
        self._service.close(linger=0)

    def _bind(self, kind: int, endpoint: str) -> "zmq.Socket[bytes]":
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.sndhwm = 100_000
        socket.bind(endpoint)
        return socket
