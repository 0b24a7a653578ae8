"""Fetches what a subscriber missed, and joins it with the live messages.

A daemon's service reports which stream it serves. Of such a stream every message is passed on once
and in order: a hole in its numbers, an epoch that begins, a status with a higher ``last_seq`` or
three seconds of silence make this fetch, and later live messages wait meanwhile. A stream that no
service serves is passed on as it comes.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import zmq

from edge.client.fetch_socket import FetchSocket
from edge.client.gaps import STREAMS_MAX, GapDetector
from edge.client.live import Live, Taken
from edge.client.ordering import NOT_FETCHED, Ordered, Position, StreamOrder
from edge.client.pages import Page, parse_page
from edge.client.service import Consumer, Service
from edge.clock import monotonic_ns
from edge.errors import RequestRefused
from edge.protocol.messages import Message, StatusMessage
from edge.protocol.requests import FETCH_MAX

Since = Literal["oldest", "epoch", "now"]

READY_MAX: Final = 4 * FETCH_MAX
"""Messages that wait to be received, or were asked for, beyond which nothing more is fetched."""

_TURN_MS: Final = 100  # longest wait, for the timers
_TURN_NS: Final = 100_000_000  # longest time without a turn while messages are ready
_PAUSE_NS: Final = 1_000_000_000  # between two turns: the caller did something else
_HOLDER_S: Final = 5.0  # a service that does not answer for so long may have moved
_LIVE_MAX: Final = 256  # live messages taken in a turn


@dataclass(slots=True)
class _Unclaimed:
    """Messages of a stream while it is not known whether a service serves it."""

    since_ns: int
    messages: deque[tuple[Message, bytes, int]] = field(default_factory=deque)


class Backfill:
    """Receives live messages and fetches the missing ones. Not thread-safe.

    Args:
        context: of the sockets.
        endpoints: addresses of the services.
        gaps: cursors of what was passed on to the caller.
        consumer: who fetches.
        committed: what the caller keeps, by stream; the caller updates it.
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
        consumer: Consumer,
        committed: Mapping[str, Position],
        since: Since,
        hold_s: float,
        held_max: int,
        report: Callable[[str], None],
    ) -> None:
        self.ready: deque[Ordered] = deque()
        self._services = [
            Service(FetchSocket(context, endpoint), consumer) for endpoint in endpoints
        ]
        self._gaps = gaps
        self._since = since
        self._hold_s = hold_s
        self._held_max = held_max
        self._report = report
        self._orders: dict[str, StreamOrder] = {}  # of the streams that are served
        self._unclaimed: dict[str, _Unclaimed] = {}
        self._unserved: dict[str, int] = {}  # streams that no service serves, with their epoch
        self._committed = committed
        self._added = 0  # messages ever added to ``ready``
        self._turned_ns = 0
        self._are_pairs = False  # each endpoint has its service

    # -- for the subscriber ------------------------------------------------------------------------

    @property
    def is_due(self) -> bool:
        """Whether ``turn`` should be called although messages are ready."""
        return monotonic_ns() - self._turned_ns > _TURN_NS

    @property
    def caught_up(self) -> bool:
        """Whether everything that was stored has been passed on, of each service."""
        return all(map(self._is_drained, self._services))

    @property
    def unanswered_s(self) -> float:
        """Seconds for which no service has answered of those with more to fetch; else 0."""
        now_ns = monotonic_ns()
        missing = (each.missing_s(now_ns) for each in self._services if not self._is_drained(each))
        return min(missing, default=0.0)

    @property
    def held(self) -> int:
        """How many messages were received, and wait for a service."""
        return self._unclaimed_count + sum(order.held for order in self._orders.values())

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
                    return None  # the number of messages in the epochs between is unknown
                count += order.newest[1] - order.position[1]
        return count

    @property
    def waiting_for(self) -> str:
        """What is waited for, in words; empty if nothing is."""
        now_ns = monotonic_ns()
        texts = []
        for each in self._services:
            order = self._orders.get(each.stream or "")
            count = order.held if order else 0 if each.stream else self._unclaimed_count
            held = f"; {count} messages wait for that" if count else ""
            missing_s = each.missing_s(now_ns)
            if each.refusal and each.has_fetch:
                texts.append(f"{each.fetch.endpoint} refuses to fetch: {each.refusal}{held}")
            elif missing_s >= 1:
                texts.append(f"a reply from {each.fetch.endpoint} for {missing_s:.0f} s{held}")
            elif held:
                texts.append(f"earlier messages from {each.fetch.endpoint}{held}")
        return "; ".join(texts)

    def turn(self, live: Live, timeout_ms: int) -> None:
        """Send what is due, wait for messages and replies, and add them to ``ready``.

        Raises:
            RequestRefused: a daemon refuses for good: the name is used by another process, or the
                cursor is ahead of its stream.
        """
        self._send_due(monotonic_ns())
        replies = [each.fetch.socket for each in self._services]
        live.wait(replies, min(timeout_ms, _TURN_MS))
        self._are_pairs = live.count == len(self._services)
        now_ns = monotonic_ns()
        if self._turned_ns and now_ns - self._turned_ns > _PAUSE_NS:
            self._do_not_count(now_ns - self._turned_ns)
        self._turned_ns = now_ns
        for _ in range(_LIVE_MAX if len(self.ready) < READY_MAX else 0):
            taken = live.take()
            if taken is None:
                break
            if taken.message is not None:
                self._add_live(taken.message, taken, now_ns)
        live.reconnect_silent()
        for index, each in enumerate(self._services):
            if (reply := each.fetch.take()) is not None:
                self._add_reply(each, reply, now_ns)
                if each.stream is not None and self._are_pairs:
                    live.origins.note_served(each.stream, index)
            each.fetch.give_up_if_late(now_ns)
        self._stop_holding(now_ns)
        self._send_due(now_ns)

    def close(self) -> None:
        """Send a last acknowledgement to each daemon, without waiting for replies."""
        for each in self._services:
            each.close(self._committed.get(each.stream or ""), monotonic_ns())

    # -- live messages -----------------------------------------------------------------------------

    def _add_live(self, message: Message, taken: Taken, now_ns: int) -> None:
        stream, part = message.stream, taken.part
        order = self._orders.get(stream)
        if order is not None:
            order.heard_ns = now_ns
            self._add_to(order, message, part, now_ns)
        elif stream in self._unserved:
            if self._unserved[stream] != message.epoch:  # perhaps a newer daemon, with a service
                self._unserved[stream] = message.epoch
                for each in self._services:
                    each.probe(now_ns)
            self._pass_on([Ordered(part, message, is_served=False)])
        else:
            if stream not in self._unclaimed:
                self._unclaimed[stream] = _Unclaimed(now_ns)
                for each in self._services:
                    each.probe(now_ns)
            self._unclaimed[stream].messages.append((message, part, taken.origin))

    def _add_to(self, order: StreamOrder, message: Message, part: bytes, now_ns: int) -> None:
        if isinstance(message, StatusMessage):
            self._pass_on(order.status(message, part))
        else:
            self._pass_on(order.live(message, part, now_ns))

    def _probe_for_unclaimed(self, service: Service, now_ns: int) -> None:
        """Ask again for the stream if one is unclaimed that began after the service was asked."""
        if any(each.since_ns >= service.probed_ns for each in self._unclaimed.values()):
            service.probe(now_ns)

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
                self._release_unclaimed(stream, None if asked_all else NOT_FETCHED)

    def _release_unclaimed(self, stream: str, hole_reason: str | None) -> None:
        messages = self._unclaimed.pop(stream).messages
        self._unserved[stream] = messages[-1][0].epoch
        self._pass_on(
            [
                Ordered(part, message, is_served=False, hole_reason=hole_reason)
                for message, part, _ in messages
            ]
        )

    def _do_not_count(self, pause_ns: int) -> None:
        """Leave a pause of the caller out of the time for which messages and replies are due."""
        for service in self._services:
            service.do_not_count(pause_ns)
        for order in self._orders.values():
            if order.held_since_ns is not None:
                order.held_since_ns += pause_ns
        for unclaimed in self._unclaimed.values():
            unclaimed.since_ns += pause_ns

    @property
    def _unclaimed_count(self) -> int:
        return sum(len(each.messages) for each in self._unclaimed.values())

    def _is_drained(self, service: Service) -> bool:
        """Return whether everything that a daemon stored has been passed on."""
        taken = self._added - len(self.ready)
        is_reached = service.mark is not None and taken >= service.mark
        return not service.has_fetch or (service.stream is not None and is_reached)

    def _pass_on(self, ordered: Sequence[Ordered]) -> None:
        self._added += len(ordered)
        self.ready.extend(ordered)

    def _send_due(self, now_ns: int) -> None:
        # the one that waits for longest first: only some fetch at a time
        for each in sorted(self._services, key=lambda service: service.fetch.sent_ns):
            near = sum(other.fetch.is_reply_near(now_ns) for other in self._services)
            has_room = len(self.ready) + (near + 1) * FETCH_MAX <= READY_MAX
            stream = each.stream or ""
            each.send_due(self._orders.get(stream), self._committed.get(stream), has_room, now_ns)

    # -- replies -----------------------------------------------------------------------------------

    def _add_reply(self, service: Service, reply: bytes, now_ns: int) -> None:
        try:
            page = parse_page(reply)
        except RequestRefused as refusal:
            self._add_refusal(service, refusal, now_ns)
            return
        except ValueError:
            foreign = RequestRefused("the reply is not from affect-edge", code=None)
            self._add_refusal(service, foreign, now_ns)
            return
        if (holder := self._holder_of(page.stream, service, now_ns)) is not None:
            if service.has_fetch:
                self._report(
                    f"{service.fetch.endpoint} serves the stream of {holder.fetch.endpoint}, too:"
                    " nothing is fetched from it; expected each daemon once in --service"
                )
            service.note_no_fetch(now_ns)
            self._probe_for_unclaimed(service, now_ns)
            return
        service.note_page(page.stream, now_ns)
        is_new = page.stream not in self._orders
        order = self._order_of(service, page, now_ns)
        position, was_drained = order.position, order.is_drained
        self._pass_on(order.page(page, now_ns))
        if is_new:  # the reply gave the stream; what comes after the cursor was not asked for yet
            order.is_behind, order.is_drained = True, False
        if order.position == position:
            service.note_no_progress(now_ns)
            order.restart_holding(now_ns)  # never skip what an answering daemon may still bring
        if not order.is_drained:
            service.mark = None
        elif service.mark is None or not was_drained:
            service.mark = self._added
        self._probe_for_unclaimed(service, now_ns)

    def _holder_of(self, stream: str, service: Service, now_ns: int) -> Service | None:
        """Return another service that serves the stream, and answers; None: there is none."""
        others = (each for each in self._services if each is not service)
        return next(
            (
                each for each in others
                if each.stream == stream and each.has_fetch and each.missing_s(now_ns) < _HOLDER_S
            ),
            None,
        )  # fmt: skip

    def _order_of(self, service: Service, page: Page, now_ns: int) -> StreamOrder:
        """Return the order of the stream that the page is of; begin it if it is new."""
        order = self._orders.get(page.stream)
        if order is None:
            self._unserved.pop(page.stream, None)
            order = StreamOrder(self._gaps.cursor_of(page.stream), self._held_max)
            order.heard_ns = now_ns
            self._orders[page.stream] = order
            if order.position is None and service.is_first and not page.messages:
                self._begin(order, page)
            unclaimed = self._unclaimed.pop(page.stream, None)
            for message, part, index in unclaimed.messages if unclaimed is not None else ():
                # that of another endpoint may be a lie; what it is not is fetched
                if not self._are_pairs or self._services[index] is service:
                    self._add_to(order, message, part, now_ns)
            self._forget_streams()
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

    def _add_refusal(self, service: Service, refusal: RequestRefused, now_ns: int) -> None:
        endpoint, text = service.fetch.endpoint, str(refusal)
        if refusal.code == "unknown_request":
            if service.has_fetch:
                self._report(
                    f"{endpoint}: this daemon is older and stores nothing to fetch; only what it"
                    " publishes now is received"
                )
            service.note_no_fetch(now_ns)
            self._probe_for_unclaimed(service, now_ns)
        elif refusal.code in {"cursor_ahead", "name_taken"}:
            raise RequestRefused(f"{endpoint}: {text}", code=refusal.code)
        else:
            if not service.refusal:
                self._report(f"{endpoint} refuses to fetch: {text}; it is asked again")
            service.note_refusal(text, now_ns)
            order = self._orders.get(service.stream or "")
            if order is not None:
                order.restart_holding(now_ns)
