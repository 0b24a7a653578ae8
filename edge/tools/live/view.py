"""The live view: a screen that is redrawn four times a second, and the present state once.

The screen has the faces on top and the newest events below. What does not fit can be scrolled.
"""

import os
import signal
from collections.abc import Callable, Iterable, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from edge.client import Subscriber
from edge.client.ask import ask
from edge.clock import elapsed_ms, monotonic_ns, time_of_day, wall_ns
from edge.descriptors import printable, report_line
from edge.errors import AffectEdgeError, RequestRefused, ServiceUnavailable
from edge.protocol.requests import StatusRequest
from edge.tools.live.screen import Line, body_lines, note_lines
from edge.tools.live.state import LiveState
from edge.tools.live.terminal import Keyboard, LinesInstead, Suspension
from edge.tools.silence import SilenceNotice

PERIOD_MS = 250.0
"""Between two redraws."""

STATUS_MS = 1500.0
"""A daemon sends a status each second: so long the present state is collected."""

ASK_S = 1.0
"""So long a daemon has to say whom it knows."""

PLAIN_WIDTH = 160
"""Characters of a line of the present state where it does not go to a terminal."""

_NOTES_MIN = 5


class Screen:
    """What is shown of a state; a renderable of rich.

    Attributes:
        offset: lines above the first one that is shown.
    """

    def __init__(self, state: LiveState, endpoints: Iterable[str]) -> None:
        self._state = state
        self._endpoints = ", ".join(map(printable, endpoints))
        self.offset = 0
        self._page = 1

    def scroll(self, key: str) -> None:
        """Scroll by a line or a page, or to the top."""
        by = {"up": -1, "down": 1, "page up": -self._page, "page down": self._page}
        self.offset = 0 if key == "home" else max(0, self.offset + by.get(key, 0))

    def lines(self, width: int, height: int, now_ns: int) -> list[Line]:
        """Return the lines of a screen of that size, ``height`` at most."""
        body = body_lines(self._state, now_ns, width)
        if not body:
            body = [[("waiting for the first message", "yellow")]]
        room = height - 1
        notes_room = max(min(_NOTES_MIN, room // 3), room - len(body) - 1)
        page = self._page = max(1, room - notes_room - (notes_room > 0))
        hidden = len(body) - page
        self.offset = max(0, min(self.offset, hidden))
        where = f"  lines {self.offset + 1} to {self.offset + page} of {len(body)}, arrows scroll"
        top = f"{time_of_day(wall_ns()).partition('.')[0]} UTC  q ends"
        top += f"{where if hidden > 0 else ''}  {self._endpoints}"
        shown = body[self.offset : self.offset + page]
        rule: list[Line] = [[("events", "dim underline")]] if notes_room > 0 else []
        notes = note_lines(self._state, notes_room, width)
        return [[(top, "reverse")], *shown, *rule, *notes][:height]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, options.height or console.size.height
        lines = self.lines(width, height, monotonic_ns())
        is_ascii = options.ascii_only
        for number, line in enumerate(lines):
            if number:
                yield Segment.line()
            segments = [
                Segment(as_ascii(text) if is_ascii else text, _style(style)) for text, style in line
            ]
            yield from Segment.adjust_line_length(segments, width, pad=False)


def run_live(
    subscriber: Subscriber, console: Console, stop: Callable[[], bool], limit: int | None = None
) -> int:
    """Show the newest values on the whole terminal until ``stop`` returns true, or q is pressed.

    At the end the screen is put back, and the last state is printed. Returns the number of frames
    and events.

    Args:
        subscriber: already entered.
        console: a terminal.
        stop: called at least five times a second.
        limit: end after this many frames and events.
    """
    state = LiveState()
    screen = Screen(state, subscriber.endpoints)

    def report(line: str) -> None:
        state.report(line, wall_ns())

    silence = SilenceNotice(subscriber.endpoints, report, subscriber.device)
    is_over = False
    with LinesInstead(report), Suspension() as suspension:
        while not is_over:
            with _screen(console, screen) as live, Keyboard() as keyboard:
                drawn_ns = 0
                while not (is_over or suspension.take()):
                    left_ms = PERIOD_MS - elapsed_ms(drawn_ns)
                    if left_ms <= 0:
                        drawn_ns = monotonic_ns()
                        live.refresh()
                        left_ms = PERIOD_MS
                    silence.turn()
                    _receive(subscriber, state, silence, left_ms)
                    for key in keyboard.read():
                        screen.scroll(key)
                        drawn_ns = 0
                        is_over = is_over or key == "quit"
                    is_over = is_over or stop() or (limit is not None and state.count >= limit)
            if not is_over:
                os.kill(os.getpid(), signal.SIGSTOP)  # the shell goes on; fg returns here
    _print(console, state)
    return state.count


def run_once(
    subscriber: Subscriber,
    console: Console,
    stop: Callable[[], bool],
    timeout_s: float,
    services: Sequence[str] = (),
) -> None:
    """Print the present state once.

    Collects for 1.5 s from the first message on, and for up to 3 s while fewer devices than
    addresses were received.

    Args:
        subscriber: already entered.
        console: where it is printed.
        stop: called at least five times a second.
        timeout_s: to wait for the first message, seconds.
        services: service addresses, which are asked for participants who are not in view.

    Raises:
        ServiceUnavailable: nothing was received within ``timeout_s``.
        ConfigError: an address is wrong, or a daemon refuses the keys.
    """
    state = LiveState()
    started_ns = monotonic_ns()
    first_ns: int | None = None
    wanted = 1 if subscriber.device else len(subscriber.endpoints)
    while not stop():
        received = subscriber.receive(timeout_s=0.1)
        if received is not None:
            state.note(received, monotonic_ns())
            first_ns = first_ns or monotonic_ns()
        statuses = sum(device.status is not None for device in state.devices.values())
        if first_ns is None:
            if elapsed_ms(started_ns) >= timeout_s * 1e3:
                raise ServiceUnavailable(_nothing(subscriber, timeout_s))
        elif elapsed_ms(first_ns) >= STATUS_MS * (1 if statuses >= wanted else 2):
            if len(state.devices) < wanted:
                report_line(f"{wanted} addresses, and devices received: {len(state.devices)}")
            break
    for service in services if state.devices and not stop() else ():
        _note_known(state, service)
    state.notes.clear()  # what happened within a second is not the present state
    _print(console, state)


def _note_known(state: LiveState, service: str) -> None:
    """Ask a daemon for its participants; where it does not answer, say what is missing."""
    try:
        reply = ask(service, StatusRequest(), ASK_S)
        status = reply["status"]
        for device in state.devices.values():
            if status is not None and device.run[0] == status["stream"]:
                device.note_known(reply, status["time"]["unix_ns"])
    except (ServiceUnavailable, RequestRefused, LookupError, TypeError) as error:
        reason = str(error) if isinstance(error, AffectEdgeError) else f"{service}: another reply"
        report_line(f"participants who are not in view are not shown: {reason}")


def _nothing(subscriber: Subscriber, timeout_s: float) -> str:
    of_device = "" if subscriber.device is None else f" of device {subscriber.device}"
    return (
        f"nothing received from {', '.join(subscriber.endpoints)}{of_device} within"
        f" {timeout_s:g} s; is a daemon running there, and is that its publish.endpoint?"
    )


def _receive(
    subscriber: Subscriber, state: LiveState, silence: SilenceNotice, left_ms: float
) -> None:
    """Wait for a message until the next redraw; note it."""
    undecodable = subscriber.undecodable
    received = subscriber.receive(timeout_s=max(0.0, left_ms) / 1e3)
    if received is not None:
        silence.note(received.message)
        state.note(received, monotonic_ns())
    elif subscriber.undecodable == undecodable:
        silence.check()


def _screen(console: Console, screen: Screen) -> Live:
    return Live(
        screen,
        console=console,
        screen=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def _print(console: Console, state: LiveState) -> None:
    """Print the state below what the terminal showed before."""
    width = console.width if console.is_terminal else PLAIN_WIDTH
    for line in body_lines(state, monotonic_ns(), width):
        text = Text()
        for piece, style in line:
            is_ascii = console.options.ascii_only
            text.append(as_ascii(piece) if is_ascii else piece, style=style)
        text.rstrip()
        console.print(text, soft_wrap=True)


def as_ascii(text: str) -> str:
    """Return the text for a terminal without other characters."""
    return text.translate(_ASCII).encode("ascii", "replace").decode()


_ASCII = str.maketrans({"█": "#", "▌": "#", "▐": "#", "·": ".", "│": "|", "°": " "})


def _style(style: str) -> Style | None:
    return Style.parse(style) if style else None
