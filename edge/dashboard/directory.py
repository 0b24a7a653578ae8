"""Asks the service of each daemon: which stream it serves, who is known to it, and its past.

A thread per service, so that one that does not answer delays no other.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field

from edge.client.ask import ask
from edge.dashboard.state import State, StreamConflictError, require_times
from edge.errors import AffectEdgeError, ConfigError, RequestRefused, ServiceUnavailable
from edge.protocol.messages import StatusMessage
from edge.protocol.requests import FETCH_MAX, FetchRequest, StatusRequest
from edge.protocol.wire import Wire

_TIMEOUT_S: Final = 3.0
_AGAIN_S: Final = 2.0  # after a request without an answer
_TURN_S: Final = 0.25
_REFRESH_TURNS: Final = 120  # half a minute: what no event announces, such as "not in view since"
_PAUSE_S: Final = 0.02  # between two pages of the past: live messages go first
_EPOCHS_MAX: Final = 1000
_PEOPLE_MAX: Final = 1000  # seats, and participants, of a daemon
_WRONG: Final = "sends replies that are wrong"

log = logging.getLogger("affect_edge")


_Name = Annotated[str, Field(max_length=64)]


class _NotStarted(ServiceUnavailable):
    """A daemon that has nothing to tell yet."""


class _Known(Wire):
    """A participant in a reply: what the page uses of it."""

    participant: _Name
    track: Annotated[int, Field(ge=0, le=2**53)] | None = None
    seat: _Name | None = None
    in_view: bool = False
    baseline: _Name = "none"
    since_unix_ns: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class _Answer(Wire):
    """A reply to a request for the status."""

    status: StatusMessage | None
    seats: Annotated[dict[_Name, _Name | None], Field(max_length=_PEOPLE_MAX)]
    participants: Annotated[list[_Known], Field(max_length=_PEOPLE_MAX)]


class Position(NamedTuple):
    """A cursor: everything after it."""

    epoch: int
    seq: int


class Past:
    """Reads the messages of the last hours from a journal; acknowledges nothing.

    Args:
        send: sends a ``FetchRequest`` and returns the reply.
        stream: of the messages.
        newest: the last message to read.
        since_ns: wall time from which on messages are wanted.
    """

    def __init__(
        self,
        send: Callable[[FetchRequest], Mapping[str, Any]],
        stream: str,
        newest: Position,
        since_ns: int,
    ) -> None:
        self._send = send
        self._stream = stream
        self._newest = newest
        self._since_ns = since_ns

    def pages(self) -> Iterator[tuple[list[Mapping[str, Any]], float]]:
        """Yield pages of decoded messages, each with the share that has been read, 0..1.

        Raises:
            AffectEdgeError: the service does not answer, or refuses.
        """
        at = self._start() if self._newest.seq >= 0 else self._newest
        begin_ns = None
        while at < self._newest:
            reply = self._fetch(at, FETCH_MAX)
            messages, after = reply["messages"], Position(**reply["next"])
            if not messages and after <= at:
                break
            at = after
            share = 1.0
            if messages:
                t_ns = _time_of(messages[-1])
                begin_ns = _time_of(messages[0]) if begin_ns is None else begin_ns
                span_ns = max(1, self._until_ns - begin_ns)
                share = min(0.999, max(0.0, (t_ns - begin_ns) / span_ns))
            yield messages, share
        yield [], 1.0

    def _start(self) -> Position:
        """Return the cursor before the first wanted message, by bisection."""
        epoch, high = self._newest
        newest = self._after(Position(epoch, high - 1))
        self._until_ns = self._since_ns if newest is None else _time_of(newest)
        for _ in range(_EPOCHS_MAX):
            first = self._after(Position(epoch, -1))
            if first is None or first["epoch"] != epoch:
                return Position(epoch, -1)  # nothing of this epoch is stored
            if self._is_early(first, epoch):
                break
            previous = first["detail"].get("previous") if first["kind"] == "event" else None
            if not previous or previous["last_seq"] < 0:
                return Position(epoch, -1)
            epoch, high = previous["epoch"], previous["last_seq"]
        low = -1  # the first message after it is early, and that after ``high`` is not
        while high - low > 1:
            middle = (low + high) // 2
            found = self._after(Position(epoch, middle))
            if found is not None and self._is_early(found, epoch):
                low = found["seq"] - 1
            else:
                high = middle
        return Position(epoch, high)

    def _is_early(self, message: Mapping[str, Any], epoch: int) -> bool:
        return message["epoch"] == epoch and _time_of(message) < self._since_ns

    def _after(self, cursor: Position) -> Mapping[str, Any] | None:
        messages = self._fetch(cursor, 1)["messages"]
        return messages[0] if messages else None

    def _fetch(self, cursor: Position, count: int) -> Mapping[str, Any]:
        request = FetchRequest(
            stream=self._stream, epoch=cursor.epoch, seq=cursor.seq, max=count, wait_s=0.0
        )
        return self._send(request)


def _time_of(message: Mapping[str, Any]) -> int:
    return int(message["time"]["unix_ns"])


class ServiceThread:
    """The thread that asks one service.

    Args:
        service: its address.
        state: gets what it replies.
        history_ns: how much of the past is read when a daemon is first reached; 0: nothing.
    """

    def __init__(self, service: str, state: State, history_ns: int) -> None:
        self._service = service
        self._state = state
        self._history_ns = history_ns
        self._stop = threading.Event()
        self._is_read = not history_ns
        self._is_named = False  # whether a wrong reply was logged
        self._pages: Iterator[tuple[Sequence[Mapping[str, Any]], float]] | None = None
        self._stream: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"service {service}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it does within a few seconds, and nobody needs to wait for it."""
        self._stop.set()

    def _run(self) -> None:
        seen, turns = -1, 0
        while not self._stop.is_set():
            turns += 1
            streams = self._state.streams
            is_due = streams != seen or self._stream is None or turns % _REFRESH_TURNS == 0
            try:
                if self._state.take_dirty(self._stream) or is_due:
                    self._ask()
                    seen = streams
                self._read_past()
            except Exception as error:  # noqa: BLE001 - a wrong reply must not end the thread
                self._stream = self._pages = None  # what was not read of the past is read again
                reason = _reason(error)
                if reason == _WRONG and not self._is_named:
                    self._is_named = True
                    log.warning("%s: %s: %s", self._service, type(error).__name__, error)
                self._state.no_answer(self._service, reason)
                self._stop.wait(_AGAIN_S)
            self._stop.wait(_PAUSE_S if self._pages is not None else _TURN_S)

    def _ask(self) -> None:
        """Ask for the status, and begin with the past at the first answer.

        Raises:
            AffectEdgeError: it does not answer, or has nothing to tell yet.
            ValueError: the answer is not of a daemon.
        """
        answer = _Answer.model_validate(ask(self._service, StatusRequest(), _TIMEOUT_S))
        status = answer.status
        if status is None:
            raise _NotStarted("runs, and waits for its first picture")
        require_times(status)
        self._state.answered(self._service, status.device, answer.model_dump())
        self._stream = status.stream
        if not self._is_read and self._pages is None:
            self._pages = Past(
                lambda request: ask(self._service, request, _TIMEOUT_S),
                self._stream,
                Position(status.epoch, status.last_seq),
                status.time.unix_ns - self._history_ns,
            ).pages()

    def _read_past(self) -> None:
        """Read a page of the past, if there is more to read."""
        if self._pages is None or self._stream is None:
            return
        try:
            messages, share = next(self._pages)
        except RequestRefused as error:  # such as by a daemon that is too old
            log.info("%s: no history: %s", self._service, error)
            messages, share = [], 1.0
        self._state.apply_past(self._stream, messages, share)
        if share >= 1:
            self._is_read, self._pages = True, None


def _reason(error: Exception) -> str:
    if isinstance(error, ConfigError | RequestRefused | StreamConflictError | _NotStarted):
        return str(error)
    return "does not answer" if isinstance(error, AffectEdgeError) else _WRONG
