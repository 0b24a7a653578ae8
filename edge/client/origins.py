"""Which endpoint the messages of a stream may come from.

A daemon publishes its own stream alone. One that names the stream of another, by mistake or on
purpose, must not mix its messages with that one's. So a stream belongs to the endpoint that
published it first, or to the one whose service serves it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

SILENT_NS: Final = 3_000_000_000
"""A daemon sends a status each second; a stream of which nothing came for so long may have moved to
another endpoint, such as another address of the same daemon."""

CLAIM_NS: Final = 10_000_000_000
"""A claim is listed for so long after the newest message that made it."""

_STREAMS_MAX: Final = 1000


class Origins:
    """Binds streams to endpoints. Not thread-safe; times are monotonic, ns.

    Args:
        endpoints: addresses of publishers.
        report: takes a line when an endpoint publishes a stream that belongs to another one; once
            for each such endpoint and stream.
    """

    def __init__(self, endpoints: Sequence[str], report: Callable[[str], None]) -> None:
        self._endpoints = endpoints
        self._report = report
        self._held: dict[str, tuple[int, int]] = {}  # by stream: endpoint, and when it last sent
        self._served: dict[str, int] = {}  # endpoint whose service serves the stream
        self._waited: dict[str, int] = {}  # since when a stream waits for its service's endpoint
        self._claims: dict[tuple[str, int], tuple[str, int]] = {}  # text, and time of the newest

    def endpoint_of(self, stream: str) -> str | None:
        """Return the endpoint to which a stream belongs; None: none has published it."""
        held = self._held.get(stream)
        return None if held is None else self._endpoints[held[0]]

    def claims(self, now_ns: int) -> Mapping[str, str]:
        """Return what is wrong with streams that a second endpoint publishes now, by stream."""
        recent = {key: text for key, (text, at_ns) in self._claims.items()
                  if now_ns - at_ns < CLAIM_NS}  # fmt: skip
        return {stream: text for (stream, _), text in recent.items()}

    def note_served(self, stream: str, index: int) -> None:
        """Note that the service that belongs to an endpoint serves a stream."""
        if stream in self._served or len(self._served) >= _STREAMS_MAX:
            return
        self._served[stream] = index
        if self._held.get(stream, (index, 0))[0] != index:
            del self._held[stream]

    def accepts(self, stream: str, device: str, index: int, now_ns: int) -> bool:
        """Return whether a live message may come from an endpoint.

        Args:
            stream: of the message.
            device: of the message.
            index: of the endpoint.
            now_ns: the time.
        """
        served = self._served.get(stream)
        if served not in (None, index) and stream not in self._held:
            # The services may be given in another order than the endpoints. The one that belongs to
            # this service sends within a second; what is skipped until then is fetched.
            since_ns = self._waited.setdefault(stream, now_ns)
            if now_ns - since_ns <= SILENT_NS:
                return False
        holder, heard_ns = self._held.get(stream, (index, now_ns))
        is_moved = holder != index and now_ns - heard_ns > SILENT_NS
        if holder != index and not is_moved and served != index:
            self._claim(stream, device, holder, index, now_ns)
            return False
        if holder != index and not is_moved:
            self._claim(stream, device, index, holder, now_ns)
        self._held.pop(stream, None)  # the stream that was silent for longest is the first to go
        self._held[stream] = index, now_ns
        if len(self._held) > _STREAMS_MAX:
            del self._held[next(iter(self._held))]
        return True

    def _claim(self, stream: str, device: str, holder: int, other: int, now_ns: int) -> None:
        claim = self._claims.get((stream, other))
        if claim is not None:
            self._claims[stream, other] = claim[0], now_ns
        elif len(self._claims) < _STREAMS_MAX:
            text = (
                f"{self._endpoints[other]} publishes the stream of {self._endpoints[holder]}"
                f" ({device}), too: its messages of that are skipped; expected each daemon once in"
                " --connect"
            )
            self._claims[stream, other] = text, now_ns
            self._report(text)
