"""``affect-edge aim``: what to change at camera and lamp, redrawn while it is changed."""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge.client import Subscriber
from edge.client.advice import Advice, Level, worst
from edge.client.view import WINDOW_S, View
from edge.clock import elapsed_ms, monotonic_ns, time_of_day, wall_ns
from edge.descriptors import printable, report_line
from edge.errors import EXIT_DONE, EXIT_FAILURE, AffectEdgeError
from edge.tools.own_daemon import OwnDaemon
from edge.tools.silence import SilenceNotice

REDRAW_MS: Final = 500.0
_STYLES: Final[dict[Level, str]] = {
    "ok": "green", "unknown": "dim", "WARN": "yellow", "WRONG": "bold red",
}  # fmt: skip
_VERDICTS: Final[dict[Level, str]] = {
    "ok": "everything is as it should be",
    "unknown": "there is nothing to judge yet",
    "WARN": "it works, with little margin",
    "WRONG": "it does not work like this",
}
_NUMBER: Final = re.compile(r"\d+")
_SETTLED: Final = ("stalled", "absent", "ended")
"""States of the source that say enough: no frame will come by waiting."""


class _DaemonEnded(AffectEdgeError):
    """The daemon of this command ended by itself."""


def run_aim(
    subscriber: Subscriber,
    console: Console,
    stop: Callable[[], bool],
    *,
    once: bool,
    wait_s: float,
    own: OwnDaemon | None = None,
) -> int:
    """Show what to change until ``stop`` returns true; return the exit code.

    Args:
        subscriber: already entered.
        console: redrawn if it is a terminal; else each change is a line.
        stop: called at least five times a second.
        once: show it one time, after ``WINDOW_S`` of frames.
        wait_s: with ``once``, wait so long for them.
        own: the daemon that this command has started; None: it is another's.

    Returns:
        0, or with ``once`` 1 if something is ``WRONG`` or nothing was received.

    Raises:
        AffectEdgeError: the daemon of this command ended, with its exit code.
    """
    views: dict[str, View] = {}
    silence = SilenceNotice(subscriber.endpoints, report_line, subscriber.device)
    begin_ns = monotonic_ns()
    with _screen(console, once=once) as show:
        drawn_ns = begin_ns
        while not stop():
            silence.turn()
            # before the wait: what it sent at its end is read first
            has_ended = own is not None and own.process.poll() is not None
            received = subscriber.receive(timeout_s=0.2)
            if received is not None:
                message = received.message
                silence.note(message)
                if once and message.device not in views:
                    report_line(f"{message.device}: watching its frames for some seconds")
                views.setdefault(message.device, View()).note(message)
            elif own is None:
                silence.check(held=subscriber.held)
            if once and views and all(map(_is_settled, views.values())):
                break
            if once and elapsed_ms(begin_ns) >= wait_s * 1e3:
                break
            if own is not None and has_ended and received is None:
                _require_end(own)
                if once:
                    break
                show(views)
                if not any(view.status for view in views.values()):
                    report_line("the source has ended before anything was received of it")
                return EXIT_DONE
            if elapsed_ms(drawn_ns) >= REDRAW_MS:
                drawn_ns = monotonic_ns()
                show(views)
        else:
            return EXIT_FAILURE if once else EXIT_DONE
    return _verdict(views, console, wait_s=wait_s)


def _require_end(own: OwnDaemon) -> None:
    code = own.process.wait()
    if code != EXIT_DONE:
        error = _DaemonEnded(own.last_line() or f"the daemon ended with exit code {code}")
        error.exit_code = code if code > 0 else EXIT_FAILURE
        raise error


def _is_settled(view: View) -> bool:
    """Return whether enough was seen of a device for a verdict."""
    status = view.status
    if status is None:
        return False
    if status.source_state in _SETTLED:
        return True
    # a slow source shows one frame in the time
    period_s = 1 / status.rates.expected_hz if status.rates.expected_hz else 0.0
    # that the picture shows nothing is known after 3 s of it
    needed_s = 0.9 * WINDOW_S if view.faces() else 2 * WINDOW_S
    return status.source_state == "running" and view.watched_s + period_s >= needed_s


def _verdict(views: dict[str, View], console: Console, *, wait_s: float) -> int:
    if not views:
        report_line(
            f"nothing received within {wait_s:g} s; is a daemon running, and is that its"
            " publish.endpoint?"
        )
        return EXIT_FAILURE
    works = True
    for name, view in sorted(views.items()):
        advice = view.advice()
        for each in advice:
            console.print(_line(name, each), soft_wrap=True)
        level = worst(advice)
        changes = sum(each.level in ("WARN", "WRONG") for each in advice)
        count = f"; {changes} to change" if changes else ""
        line = printable(f"{level:<7}  {name}: {_VERDICTS[level]}{count}")
        console.print(Text(line, style=_STYLES[level]), soft_wrap=True)
        works = works and level in ("ok", "WARN")
    return EXIT_DONE if works else EXIT_FAILURE


@contextlib.contextmanager
def _screen(console: Console, *, once: bool) -> Iterator[Callable[[dict[str, View]], None]]:
    """Yield a function that shows the present state: it redraws, or prints what has changed."""
    if once:
        yield lambda _: None
    elif console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda views: live.update(_tables(views, console.height), refresh=True)
    else:
        printed: dict[tuple[str, str, str], tuple[Level, str]] = {}
        yield lambda views: _print_changes(views, console, printed)


def _tables(views: dict[str, View], height: int) -> Group:
    """Return a table of each device; of what is ``ok`` only the faces, where lines are few."""
    if not any(view.status for view in views.values()):
        return Group(Text("waiting for a daemon ...", style="dim"))
    advice = {name: view.advice() for name, view in sorted(views.items())}
    # a text may need two lines, a face one for its name and one above it
    lines = sum(6 + 2 * len({each.subject for each in found}) for found in advice.values())
    lines += sum(1 + bool(each.text) for found in advice.values() for each in found)
    is_short = lines > height
    tables = [_table(name, found, is_short=is_short) for name, found in advice.items()]
    hidden = "What is ok is hidden: make the window higher to see it. " if is_short else ""
    return Group(*tables, Text(f"{hidden}Nothing is stored. Ctrl-C ends it.", style="dim"))


def _table(device: str, advice: Sequence[Advice], *, is_short: bool) -> Table:
    table = Table(title=printable(device), title_justify="left", expand=True)
    for column in ("", "what", "value", "needed"):
        table.add_column(column, no_wrap=True)
    table.add_column("what to change", ratio=1)
    for subject in dict.fromkeys(each.subject for each in advice):
        own = [each for each in advice if each.subject == subject]
        if subject:
            table.add_section()
            level = worst(own)
            table.add_row(
                Text(level if is_short else "", style=_STYLES[level]),
                Text(printable(subject), style="bold"),
            )
        for each in own:
            if is_short and each.level == "ok":
                continue
            style = _STYLES[each.level]
            table.add_row(
                Text(each.level, style=style),
                each.measure,
                Text(printable(each.value), style=style),
                each.needed,
                Text(printable(each.text), style=style),
            )
    return table


def _print_changes(
    views: dict[str, View],
    console: Console,
    printed: dict[tuple[str, str, str], tuple[Level, str]],
) -> None:
    """Print what has another level or advice than when it was printed last."""
    present = {
        (name, each.subject, each.measure): each
        for name, view in sorted(views.items())
        for each in view.advice()
    }
    for key, each in present.items():
        advised = (each.level, _NUMBER.sub("", each.text))  # a number alone is no change
        if printed.get(key) != advised:
            printed[key] = advised
            _print_stamped(console, _line(key[0], each))
    for key in [key for key in printed if key not in present]:
        del printed[key]
        if not any(other[:2] == key[:2] for other in (*present, *printed)):
            _print_stamped(console, Text(printable(f"gone     {key[0]} {key[1]}"), style="dim"))


def _print_stamped(console: Console, line: Text) -> None:
    console.print(Text(f"{time_of_day(wall_ns())}  ") + line, soft_wrap=True)


def _line(device: str, each: Advice) -> Text:
    """Return one line, such as ``WARN     chamber-1 face 4: face size 41 px, needed 92: ...``."""
    subject = f"{device} {each.subject}".rstrip()
    is_shown = each.needed and each.level != "ok"
    needed = f", needed {each.needed}" if is_shown else ""
    text = f": {each.text}" if each.text else ""
    line = f"{each.level:<7}  {subject}: {each.measure} {each.value}{needed}{text}"
    return Text(printable(line), style=_STYLES[each.level])
