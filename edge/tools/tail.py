"""``affect-edge tail``: live rows in a terminal or pipe; a line per face, event and gap."""

import json
from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from edge.client import Gap, Subscriber
from edge.clock import time_of_day
from edge.descriptors import printable, report_line
from edge.protocol.messages import EventMessage, Face, FrameMessage, Message, StatusMessage
from edge.tools.live.eyes import closed_words, minute_words
from edge.tools.silence import SilenceNotice
from edge.vocabulary import picture_words

HEADER = (
    f"{'time (UTC)':<12}  {'frame':>7}  {'track':>5}  {'label':<8}  {'valence':>7}  {'arousal':>7}"
    f"  {'latency':>9}  quality"
)

_DETAIL_MAX = 240
"""Longest detail of an event that is shown, characters."""

_GRADES = {"excellent": "green", "fair": "yellow", "poor": "red", "unusable": "bold red"}


def run_tail(
    subscriber: Subscriber,
    console: Console,
    stop: Callable[[], bool],
    limit: int | None = None,
) -> int:
    """Print received messages until ``stop`` returns true; return the number of messages.

    Reports on standard error if nothing is received for three seconds, or no more of a device.

    Args:
        subscriber: already entered.
        console: where the rows go; plain text if it is no terminal.
        stop: called at least five times a second.
        limit: end after this many frames and events.
    """
    show(console, Text(HEADER, style="bold"))
    count = 0
    health: dict[str, tuple[object, ...]] = {}
    silence = SilenceNotice(subscriber.endpoints, report_line, subscriber.device)
    undecodable = 0
    while not stop() and (limit is None or count < limit):
        silence.turn()
        received = subscriber.receive(timeout_s=0.2)
        if received is None:
            if subscriber.undecodable == undecodable:
                silence.check()
            undecodable = subscriber.undecodable
            continue
        message = received.message
        silence.note(message)
        for gap in received.gaps:
            show(console, gap_row(gap, message.device))
        if isinstance(message, StatusMessage):
            # a status comes each second; only a change gets a line
            state = (
                *(message.health.grade, *message.health.reasons),
                *(message.source_state, message.picture_state),
            )
            if health.get(message.device) == state:
                continue
            health[message.device] = state
        else:
            count += 1
        show(console, row(message))
    return count


def show(console: Console, text: Text) -> None:
    """Print ``text`` on ``console`` without wrapping lines, however narrow it is."""
    console.print(text, soft_wrap=True)


def row(message: Message) -> Text:
    """Format a message as one line; a frame gives one line per face, at least one.

    Before the quality stand the participant and the seat, such as ``P07 on left: ok``; behind it
    what the face mesh knows of the eyes, such as ``ok; PERCLOS 3 %, blinks 14/min``.
    ``label`` is the stable label; valence and arousal are smoothed. Latency is the time from the
    picture in memory to publication.
    """
    match message:
        case FrameMessage():
            return _frame_row(message)
        case EventMessage():
            detail = json.dumps(message.detail) if message.detail else ""
            if len(detail) > _DETAIL_MAX:  # the configuration in epoch_started
                detail = detail[: _DETAIL_MAX - 3] + "..."
            text = (
                f"{time_of_day(message.time.unix_ns)}  {message.device}: {message.event} {detail}"
            )
            return Text(printable(text.rstrip()), style="cyan")
        case StatusMessage():
            health, rates = message.health, message.rates
            reasons = f" ({', '.join(health.reasons)})" if health.reasons else ""
            picture = picture_words(message.picture_state)
            text = (
                f"{time_of_day(message.time.unix_ns)}  {message.device}: {health.grade}{reasons},"
                f" source {message.source_state}{picture}, {rates.published_hz:.1f} frames/s"
            )
            return Text(printable(text), style=_GRADES[health.grade])


def gap_row(gap: Gap, device: str) -> Text:
    """Format a gap as one line."""
    text = f"{device}: {gap.describe()}"
    return Text(printable(text), style="bold magenta")


def _frame_row(message: FrameMessage) -> Text:
    head = f"{time_of_day(message.time.unix_ns)}  {message.frame.index:>7}  "
    tail = f"  {message.timing_ms.total:>6.1f} ms  "
    if not message.faces:
        return Text(f"{head}{'-':>5}  {'no face':<8}  {'':>7}  {'':>7}{tail.rstrip()}", style="dim")
    return Text("\n").join(_face_row(face, head, tail) for face in message.faces)


def _face_row(face: Face, head: str, tail: str) -> Text:
    line = f"{head}{face.track:>5}  "
    if face.expression is None:
        line += f"{'-':<8}"
    else:
        line += f"{face.expression.stable_label:<8}"
    if face.affect is None:
        line += f"  {'-':>7}  {'-':>7}"
    else:
        smoothed = face.affect.smoothed
        line += f"  {smoothed.valence:>+z7.2f}  {smoothed.arousal:>+z7.2f}"
    reasons = ", ".join(face.quality.reasons)
    who = " on ".join(each for each in (face.participant, face.seat) if each)
    line += tail + (f"{who}: " if who else "") + (reasons or "ok")
    if face.mesh is not None:
        lids = face.mesh.lids
        eyes = [each for each in (closed_words(lids), *minute_words(lids, reasons=False)) if each]
        line += f"; {', '.join(eyes)}" if eyes else ""
    return Text(printable(line), style="yellow" if reasons else "")
