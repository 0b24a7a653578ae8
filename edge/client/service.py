"""State of one daemon's service, and the next request to it."""

import uuid
from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError

from edge.client.fetch_socket import FetchSocket
from edge.client.ordering import Position, StreamOrder
from edge.errors import ConfigError
from edge.protocol.requests import FetchRequest

_SILENCE_NS: Final = 3_000_000_000
_ACKNOWLEDGE_NS: Final = 1_000_000_000
_REMIND_NS: Final = 10_000_000_000  # an idle consumer stays known to its daemon
_RETRY_NS: Final = 100_000_000  # after a reply without progress
_REFUSED_NS: Final = 1_000_000_000
_PROBE_NS: Final = 250_000_000
_NO_FETCH_NS: Final = 30_000_000_000  # a daemon without fetch may be replaced by a newer one


@dataclass(frozen=True, slots=True)
class Consumer:
    """Who fetches.

    Attributes:
        name: under which the daemons note what was committed; None: they note nothing.
        instance: distinguishes this process from another one with the same name.
    """

    name: str | None
    instance: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __post_init__(self) -> None:
        """Check the name; raise ``ConfigError`` if it is not a valid one."""
        try:
            FetchRequest(name=self.name)
        except ValidationError as error:
            raise ConfigError(
                f"name {self.name!r}: expected 1 to 64 letters, digits, _, . and -, the first a"
                " letter or digit, such as log-1"
            ) from error


class Service:
    """Decides what to ask one service, and when; times are monotonic, ns. Not thread-safe.

    Attributes:
        fetch: its socket.
        stream: that it serves; None: not known yet.
        is_first: it has not served another stream before.
        has_fetch: False: its daemon knows no ``fetch``.
        probed_ns: when the request was sent whose reply last gave the stream; 0: none was.
        refusal: text of the last reply, if the daemon refused to fetch.
        mark: count of messages passed on when everything stored had been; None: not yet.
    """

    def __init__(self, fetch: FetchSocket, consumer: Consumer) -> None:
        self.fetch = fetch
        self.stream: str | None = None
        self.is_first = True
        self.has_fetch = True
        self.probed_ns = 0
        self.refusal = ""
        self.mark: int | None = None
        self._consumer = consumer
        self._probe_from_ns: int | None = 0  # when to ask for the stream; None: it is known
        self._retry_ns = 0  # fetch nothing before
        self._answered_ns = 0
        self._wanted_ns: int | None = None  # since when a reply is missing
        self._acknowledged: Position | None = None
        self._acknowledged_ns = 0

    # -- what was received -------------------------------------------------------------------------

    def probe(self, now_ns: int) -> None:
        """Ask soon which stream is served; at most four times a second."""
        due_ns = max(now_ns, self.probed_ns + _PROBE_NS)
        is_due_before = self._probe_from_ns is not None and self._probe_from_ns < due_ns
        self._probe_from_ns = self._probe_from_ns if is_due_before else due_ns

    def note_page(self, stream: str, now_ns: int) -> None:
        """Note a reply with messages of ``stream``, or with none."""
        if stream != self.stream:
            self.is_first = self.stream is None
            self.stream, self._acknowledged, self.mark = stream, None, None
        self.has_fetch, self.refusal = True, ""
        self._answered_ns, self._wanted_ns = now_ns, None
        self.probed_ns, self._probe_from_ns = self.fetch.sent_ns, None

    def note_no_progress(self, now_ns: int) -> None:
        """Note that a reply brought nothing new: the next request waits for a moment."""
        self._retry_ns = now_ns + _RETRY_NS

    def note_no_fetch(self, now_ns: int) -> None:
        """Note that the daemon knows no ``fetch``."""
        self.has_fetch = False
        self._answered_ns, self._wanted_ns = now_ns, None
        self.probed_ns, self._probe_from_ns = self.fetch.sent_ns, now_ns + _NO_FETCH_NS

    def note_refusal(self, text: str, now_ns: int) -> None:
        """Note that the daemon refuses for now."""
        self.refusal = text
        self._answered_ns = now_ns
        self._retry_ns = now_ns + _REFUSED_NS
        if self._probe_from_ns is not None:
            self._probe_from_ns = self._retry_ns

    # -- what to send ------------------------------------------------------------------------------

    def send_due(
        self, order: StreamOrder | None, committed: Position | None, has_room: bool, now_ns: int
    ) -> None:
        """Send the next request if one is due.

        Args:
            order: of the served stream; None: the stream is not known yet.
            committed: up to where the caller keeps the messages of the stream.
            has_room: whether messages may be fetched now.
            now_ns: the time.
        """
        if self.fetch.is_waiting:
            return
        request = self._next_request(order, committed, has_room, now_ns)
        if request is None:
            return
        if self._wanted_ns is None:
            self._wanted_ns = now_ns
        if self.fetch.send(request, now_ns) and request.name is not None:
            self._acknowledged, self._acknowledged_ns = (request.epoch, request.seq), now_ns

    def missing_s(self, now_ns: int) -> float:
        """Return for how long a reply has been missing, s; 0 if none is."""
        return 0.0 if self._wanted_ns is None else (now_ns - self._wanted_ns) / 1e9

    def do_not_count(self, pause_ns: int) -> None:
        """Leave a pause of the caller out of the time for which a reply has been missing."""
        if self._wanted_ns is not None:
            self._wanted_ns += pause_ns

    def close(self, committed: Position | None, now_ns: int) -> None:
        """Acknowledge what is committed, without waiting for a reply, and close the socket."""
        is_new = self._consumer.name is not None and committed not in (None, self._acknowledged)
        request = self._request(committed, 0, acknowledges=True) if committed and is_new else None
        self.fetch.close(request, now_ns)

    def _next_request(
        self, order: StreamOrder | None, committed: Position | None, has_room: bool, now_ns: int
    ) -> FetchRequest | None:
        if self._probe_from_ns is not None:
            return FetchRequest(max=0) if now_ns >= self._probe_from_ns else None
        acknowledgement = self._acknowledgement(committed, now_ns)
        if order is None or acknowledgement is not None:
            return acknowledgement
        is_silent = now_ns - max(order.heard_ns, self._answered_ns) >= _SILENCE_NS
        if not (order.is_behind or is_silent) or now_ns < self._retry_ns:
            return None
        if not has_room:
            order.restart_holding(now_ns)  # it is the caller who is waited for
            return None
        if order.position is None:
            return FetchRequest(max=self.fetch.page_max)  # from the oldest on
        return self._request(
            order.position,
            1 if order.only_first else self.fetch.page_max,
            acknowledges=order.position == committed,
        )

    def _acknowledgement(self, committed: Position | None, now_ns: int) -> FetchRequest | None:
        if self._consumer.name is None or committed is None:
            return None
        period_ns = _REMIND_NS if committed == self._acknowledged else _ACKNOWLEDGE_NS
        is_due = now_ns - self._acknowledged_ns >= period_ns
        return self._request(committed, 0, acknowledges=True) if is_due else None

    def _request(self, after: Position, count: int, *, acknowledges: bool) -> FetchRequest:
        name = self._consumer.name if acknowledges else None
        return FetchRequest(
            name=name,
            instance=self._consumer.instance if name is not None else None,
            stream=self.stream,
            epoch=after[0],
            seq=after[1],
            max=count,
        )
