"""Fetches what was published while nobody listened, and joins it with the live messages.

A daemon's service says which stream it serves. Of such a stream every message is passed on once and
in order: a hole in its numbers, an epoch that begins, a status with a higher ``last_seq`` or three
seconds of silence make this fetch, and later live messages wait meanwhile. A stream that no service
serves is passed on as it comes.
"""

import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import zmq
from pydantic import ValidationError

from edge.client.fetch_socket import FetchSocket
from edge.client.gaps import STREAMS_MAX, GapDetector
from edge.client.live import LiveSocket
from edge.client.ordering import UNREACHABLE, Ordered, Position, StreamOrder
from edge.client.pages import Page, parse_page
from edge.clock import monotonic_ns
from edge.errors import ConfigError, RequestRefused
from edge.protocol.messages import EventMessage, FrameMessage, StatusMessage
from edge.protocol.requests import FETCH_MAX, FetchRequest

Since = Literal["oldest", "epoch", "now"]

READY_MAX: Final = 4 * FETCH_MAX
"""Messages that wait to be received, or were asked for, beyond which nothing more is fetched."""

_TURN_MS: Final = 100  # longest wait, for the timers below
_SILENCE_NS: Final = 3_000_000_000
_ACK_NS: Final = 1_000_000_000
_RETRY_NS: Final = 100_000_000  # after a reply without progress
_PROBE_NS: Final = 250_000_000
_NO_FETCH_NS: Final = 30_000_000_000  # a daemon without fetch may be replaced by a newer one
_PAUSE_NS: Final = 1_000_000_000  # between two turns: the caller did something else
_LIVE_MAX: Final = 256  # live messages taken in a turn

Message = FrameMessage | EventMessage | StatusMessage


@dataclass(slots=True)
class _Service:
    """A service and what is known of it; times are monotonic, ns.

    Attributes:
        fetch: its socket.
        stream: that it serves; None: not known yet.
        is_first: its first stream is the present one.
        has_fetch: False: it knows no ``fetch``.
        probed_ns: when a request was sent whose reply told the stream; 0: none yet.
        probe_from_ns: when to ask for the stream again; None: no need.
        retry_ns: no page before.
        answered_ns: when the last reply came.
        wanted_ns: since when a reply is missing; None: none is.
        acknowledged: position that its daemon knows to be committed.
        acknowledged_ns: when that was sent.
        refusal: text of the last reply if that was a refusal.
        mark: number of passed-on messages at which everything stored had been passed on.
    """

    fetch: FetchSocket
    stream: str | None = None
    is_first: bool = True
    has_fetch: bool = True
    probed_ns: int = 0
    probe_from_ns: int | None = 0
    retry_ns: int = 0
    answered_ns: int = 0
    wanted_ns: int | None = None
    acknowledged: Position | None = None
    acknowledged_ns: int = 0
    refusal: str = ""
    mark: int | None = None


@dataclass(slots=True)
class _Unclaimed:
    """Messages of a stream while it is not known whether a service serves it."""

    since_ns: int
    messages: deque[tuple[Message, bytes]] = field(default_factory=deque)


def check_name(name: str) -> None:
    """Check the name of a consumer; raise ``ConfigError`` if it is not a valid one."""
    try:
        FetchRequest(name=name)
    except ValidationError as error:
        raise ConfigError(
            f"name {name!r}: expected 1 to 64 letters, digits, _, . and -, the first a letter or"
            " digit, such as log-1"
        ) from error


class Backfill:
    """Receives live messages and fetches the missing ones. Not thread-safe.

    Args:
        context: of the sockets.
        endpoints: addresses of the services.
        gaps: cursors of what was passed on to the caller.
        name: of the consumer, under which the daemons note what it has committed; None: no name.
        since: where to begin with a stream that has no cursor.
        hold_s: how long live messages wait for a service that does not answer.
        held_max: how many of a stream may wait; more are dropped, and fetched later.
        report: takes a line at a change that the user should know of.

    Attributes:
        ready: messages to pass on, in order.

    Raises:
        ConfigError: an endpoint is not a valid ZeroMQ address.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        endpoints: Sequence[str],
        gaps: GapDetector,
        *,
        name: str | None,
        since: Since,
        hold_s: float,
        held_max: int,
        report: Callable[[str], None],
    ) -> None:
        self.ready: deque[Ordered] = deque()
        self._services = [_Service(FetchSocket(context, endpoint)) for endpoint in endpoints]
        self._gaps = gaps
        self._name = name
        self._instance = str(uuid.uuid4())
        self._since = since
        self._hold_s = hold_s
        self._held_max = held_max
        self._report = report
        self._orders: dict[str, StreamOrder] = {}  # of the streams that are served
        self._unclaimed: dict[str, _Unclaimed] = {}
        self._unserved: dict[str, int] = {}  # streams that no service serves, with their epoch
        self._committed = {c.stream: (c.epoch, c.seq) for c in gaps.cursors}
        self._added = 0  # messages ever added to ``ready``
        self._turned_ns = 0

    # -- for the subscriber ------------------------------------------------------------------------

    @property
    def is_due(self) -> bool:
        """Whether ``turn`` should be called although messages are ready."""
        return monotonic_ns() - self._turned_ns > _RETRY_NS

    def commit(self, committed: Mapping[str, Position]) -> None:
        """Note what the caller has committed, by stream; the daemons are told within a second."""
        self._committed = dict(committed)

    @property
    def caught_up(self) -> bool:
        """Whether everything that was stored has been passed on, of each service."""
        taken = self._added - len(self.ready)
        return all(
            not each.has_fetch
            or (each.stream is not None and each.mark is not None and taken >= each.mark)
            for each in self._services
        )

    @property
    def backlog(self) -> int | None:
        """How many messages are to be fetched or passed on; None if that is not known."""
        count = len(self.ready)
        for service in self._services:
            order = self._orders.get(service.stream or "")
            if order is None:
                if service.has_fetch:
                    return None
            elif order.newest is None or order.position is None:
                return None
            elif order.position < order.newest and order.newest[1] >= 0:
                if order.position[0] < order.newest[0]:
                    return None  # nobody says how many messages the epochs between have
                count += order.newest[1] - order.position[1]
        return count

    @property
    def waiting_for(self) -> str:
        """Which services do not answer, and since when; empty if none is waited for."""
        now_ns = monotonic_ns()
        texts = []
        for each in self._services:
            order = self._orders.get(each.stream or "")
            held = f"; {order.held} messages wait for it" if order and order.held else ""
            missing_s = (now_ns - (each.wanted_ns or now_ns)) / 1e9
            if each.refusal and each.has_fetch:
                texts.append(f"{each.fetch.endpoint} refuses to fetch: {each.refusal}{held}")
            elif missing_s >= 1:
                texts.append(f"a reply from {each.fetch.endpoint} for {missing_s:.0f} s{held}")
        return "; ".join(texts)

    def turn(self, live: LiveSocket, timeout_ms: int) -> None:
        """Send what is due, wait for messages and replies, and add them to ``ready``.

        Raises:
            RequestRefused: a daemon refuses for good: the name is used by another process, or the
                cursor is ahead of its stream.
        """
        self._send_due(monotonic_ns())
        sockets = [live.socket, *(each.fetch.socket for each in self._services)]
        polled = zmq.zmq_poll([(each, zmq.POLLIN) for each in sockets], min(timeout_ms, _TURN_MS))
        now_ns = monotonic_ns()
        if self._turned_ns and now_ns - self._turned_ns > _PAUSE_NS:
            self._do_not_count(now_ns - self._turned_ns)
        self._turned_ns = now_ns
        for _ in range(_LIVE_MAX if len(self.ready) < READY_MAX else 0):
            taken = live.take()
            if taken is None:
                break
            message, part = taken
            if message is not None:
                self._add_live(message, part, now_ns)
        if not polled:
            live.reconnect_if_silent()
        for each in self._services:
            if (reply := each.fetch.take()) is not None:
                self._add_reply(each, reply, now_ns)
            each.fetch.give_up_if_late(now_ns)
        self._stop_holding(now_ns)
        self._send_due(now_ns)

    def close(self) -> None:
        """Send a last acknowledgement to each daemon, without waiting for replies."""
        for each in self._services:
            request = self._acknowledgement(each)
            each.fetch.is_waiting = False
            if request is not None:
                each.fetch.socket.setsockopt(zmq.LINGER, 200)
                each.fetch.send(request, monotonic_ns())
            each.fetch.socket.close()

    # -- live messages -----------------------------------------------------------------------------

    def _add_live(self, message: Message, part: bytes, now_ns: int) -> None:
        stream = message.stream
        order = self._orders.get(stream)
        if order is not None:
            order.heard_ns = now_ns
            self._add_to(order, message, part, now_ns)
        elif stream in self._unserved:
            if self._unserved[stream] != message.epoch:  # perhaps a newer daemon, with a service
                self._unserved[stream] = message.epoch
                self._probe_all(now_ns)
            self._pass_on([Ordered(part, message, is_served=False)])
        else:
            if stream not in self._unclaimed:
                self._unclaimed[stream] = _Unclaimed(now_ns)
                self._probe_all(now_ns)
            self._unclaimed[stream].messages.append((message, part))

    def _add_to(self, order: StreamOrder, message: Message, part: bytes, now_ns: int) -> None:
        if isinstance(message, StatusMessage):
            self._pass_on(order.status(message, part))
        else:
            self._pass_on(order.live(message, part, now_ns))

    def _probe_all(self, now_ns: int) -> None:
        """Ask every service which stream it serves; each at most four times a second."""
        for each in self._services:
            due_ns = max(now_ns, each.probed_ns + _PROBE_NS)
            each.probe_from_ns = (
                due_ns if each.probe_from_ns is None else min(each.probe_from_ns, due_ns)
            )

    def _note_probed(self, service: _Service, again_ns: int | None) -> None:
        """Note that a service has said what it serves; ask again at ``again_ns``, or soon."""
        service.probed_ns, service.probe_from_ns = service.fetch.sent_ns, again_ns
        if any(each.since_ns >= service.probed_ns for each in self._unclaimed.values()):
            service.probe_from_ns = service.probed_ns + _PROBE_NS

    def _stop_holding(self, now_ns: int) -> None:
        """Pass on what has waited for too long, or what no service serves."""
        hold_ns = self._hold_s * 1e9
        for order in self._orders.values():
            if order.held_since_ns is not None and now_ns - order.held_since_ns > hold_ns:
                self._pass_on(order.release())
        for stream, unclaimed in list(self._unclaimed.items()):
            asked_all = all(each.probed_ns > unclaimed.since_ns for each in self._services)
            is_full = len(unclaimed.messages) >= self._held_max
            if asked_all or is_full or now_ns - unclaimed.since_ns > hold_ns:
                self._release_unclaimed(stream, None if asked_all else UNREACHABLE)

    def _release_unclaimed(self, stream: str, hole_reason: str | None) -> None:
        messages = self._unclaimed.pop(stream).messages
        self._unserved[stream] = messages[-1][0].epoch
        self._pass_on(
            [
                Ordered(part, message, is_served=False, hole_reason=hole_reason)
                for message, part in messages
            ]
        )

    def _do_not_count(self, pause_ns: int) -> None:
        """Leave a pause of the caller out of the time for which messages have waited."""
        for order in self._orders.values():
            if order.held_since_ns is not None:
                order.held_since_ns += pause_ns
        for unclaimed in self._unclaimed.values():
            unclaimed.since_ns += pause_ns

    def _pass_on(self, ordered: Sequence[Ordered]) -> None:
        self._added += len(ordered)
        self.ready.extend(ordered)

    # -- requests ----------------------------------------------------------------------------------

    def _send_due(self, now_ns: int) -> None:
        # the one that waits for longest first: only some fetch at a time
        for each in sorted(self._services, key=lambda service: service.fetch.sent_ns):
            if each.fetch.is_waiting:
                continue
            request = self._next_request(each, now_ns)
            if request is None:
                continue
            if each.wanted_ns is None:
                each.wanted_ns = now_ns
            if each.fetch.send(request, now_ns) and request.name is not None:
                each.acknowledged, each.acknowledged_ns = (request.epoch, request.seq), now_ns

    def _next_request(self, service: _Service, now_ns: int) -> FetchRequest | None:
        if service.probe_from_ns is not None:
            return FetchRequest(max=0) if now_ns >= service.probe_from_ns else None
        order = self._orders.get(service.stream or "")
        if order is None:
            return None
        if now_ns - service.acknowledged_ns >= _ACK_NS:
            acknowledgement = self._acknowledgement(service)
            if acknowledgement is not None:
                return acknowledgement
        return self._next_page(service, order, now_ns)

    def _next_page(self, service: _Service, order: StreamOrder, now_ns: int) -> FetchRequest | None:
        is_silent = now_ns - max(order.heard_ns, service.answered_ns) >= _SILENCE_NS
        if not (order.is_behind or is_silent) or now_ns < service.retry_ns:
            return None
        waiting = sum(each.fetch.is_waiting for each in self._services)
        if len(self.ready) + (waiting + 1) * FETCH_MAX > READY_MAX:
            self._keep_holding(order, now_ns)  # it is the caller who is waited for
            return None
        if order.position is None:
            return FetchRequest(max=service.fetch.page_max)  # from the oldest on
        is_committed = self._committed.get(service.stream or "") == order.position
        return FetchRequest(
            name=self._name if is_committed else None,
            instance=self._instance if is_committed and self._name else None,
            stream=service.stream,
            epoch=order.position[0],
            seq=order.position[1],
            max=1 if order.only_first else service.fetch.page_max,
        )

    @staticmethod
    def _keep_holding(order: StreamOrder | None, now_ns: int) -> None:
        """Begin to count anew for how long messages have waited."""
        if order is not None and order.held_since_ns is not None:
            order.held_since_ns = now_ns

    def _acknowledgement(self, service: _Service) -> FetchRequest | None:
        committed = self._committed.get(service.stream or "")
        if self._name is None or committed is None or committed == service.acknowledged:
            return None
        return FetchRequest(
            name=self._name,
            instance=self._instance,
            stream=service.stream,
            epoch=committed[0],
            seq=committed[1],
            max=0,
        )

    # -- replies -----------------------------------------------------------------------------------

    def _add_reply(self, service: _Service, reply: bytes, now_ns: int) -> None:
        service.answered_ns = now_ns
        try:
            page = parse_page(reply)
        except RequestRefused as refusal:
            self._add_refusal(service, str(refusal), now_ns)
            return
        except ValueError:
            self._add_refusal(service, "the reply is not from affect-edge", now_ns)
            return
        service.wanted_ns, service.refusal, service.has_fetch = None, "", True
        self._note_probed(service, None)
        order = self._order_of(service, page, now_ns)
        position, was_drained = order.position, order.is_drained
        self._pass_on(order.page(page, now_ns))
        if order.position == position:
            service.retry_ns = now_ns + _RETRY_NS
        if not order.is_drained:
            service.mark = None
        elif service.mark is None or not was_drained:
            service.mark = self._added

    def _order_of(self, service: _Service, page: Page, now_ns: int) -> StreamOrder:
        """Return the order of the stream that the page is of; begin it if it is new."""
        if service.stream != page.stream:
            service.stream, service.acknowledged, service.mark = page.stream, None, None
        order = self._orders.get(page.stream)
        if order is None:
            self._unserved.pop(page.stream, None)
            order = StreamOrder(self._gaps.cursor_of(page.stream), self._held_max)
            order.heard_ns = now_ns
            self._orders[page.stream] = order
            if order.position is None and service.is_first and not page.messages:
                self._begin(order, page)
            unclaimed = self._unclaimed.pop(page.stream, None)
            for message, part in unclaimed.messages if unclaimed is not None else ():
                self._add_to(order, message, part, now_ns)
            self._forget_streams()
        service.is_first = False
        return order

    def _forget_streams(self) -> None:
        """Forget old streams: without ``journal.path``, a daemon has a new one at each start."""
        served = {each.stream for each in self._services}
        unserved = [stream for stream in self._orders if stream not in served]
        for stream in unserved[:-STREAMS_MAX]:
            del self._orders[stream]
        for stream in list(self._unserved)[:-STREAMS_MAX]:
            del self._unserved[stream]

    def _begin(self, order: StreamOrder, page: Page) -> None:
        """Set where a stream begins that has no cursor."""
        if self._since != "oldest":
            order.position = (page.newest[0], -1)
            order.only_first = self._since == "now" and page.newest[1] >= 0

    def _add_refusal(self, service: _Service, text: str, now_ns: int) -> None:
        if text.startswith("request: expected one of"):
            if service.has_fetch:
                self._report(
                    f"{service.fetch.endpoint}: this daemon is older and stores nothing to fetch;"
                    " only what it publishes now is received"
                )
            service.has_fetch, service.wanted_ns = False, None
            self._note_probed(service, now_ns + _NO_FETCH_NS)
            return
        if "ahead" in text or "--name" in text:
            raise RequestRefused(f"{service.fetch.endpoint}: {text}")
        if not service.refusal:
            self._report(f"{service.fetch.endpoint} refuses to fetch: {text}; it is asked again")
        service.refusal = text
        self._keep_holding(self._orders.get(service.stream or ""), now_ns)
        service.retry_ns = now_ns + _SILENCE_NS // 3
        if service.probe_from_ns is not None:
            service.probe_from_ns = service.retry_ns
