"""``affect-edge demo``: runs the daemon on the bundled clip and subscribes to it."""

import subprocess
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from edge import clock
from edge.client import Subscriber
from edge.errors import EXIT_DONE, EXIT_FAILURE
from edge.protocol.messages import EventMessage, FrameMessage
from edge.tools.own_daemon import own_daemon
from edge.tools.tail import HEADER, row, show

SILENCE_S = 20.0  # without a message for so long the daemon has failed: it sends one each second
ROW_PERIOD_NS = 250_000_000


def run_demo(settings: Sequence[str] = ()) -> int:
    """Print live rows and a summary; return 0 if every message came and a face was classified.

    Args:
        settings: of the daemon, ``SECTION.KEY=VALUE``.

    Returns:
        1 if something is missing; 78 if the daemon refused its configuration or a model.
    """
    console = Console()
    arguments = ["--source", "demo", "--wait-for-subscriber"]
    for setting in settings:
        arguments += ["--set", setting]
    with own_daemon(arguments, shows_log=True) as own:
        code = watch(console, own.endpoint, own.process)
        return code or own.process.wait()


def watch(console: Console, endpoint: str, daemon: "subprocess.Popen[bytes]") -> int:
    """Print rows of a daemon's messages until its clip ends, then a summary.

    Args:
        console: the rows go there.
        endpoint: where the daemon publishes.
        daemon: its process.

    Returns:
        0 if every message came and a face was classified; the daemon's exit code if it ended
        before the end of the clip; else 1.
    """
    console.print(
        "The bundled clip through the bundled models, published over ZeroMQ: a face, a second one"
        " behind it, nobody, the first face again, the lamp off for a second."
    )
    show(console, Text(HEADER, style="bold"))
    frames: list[FrameMessage] = []
    count = 0
    next_row_ns = 0
    ended: EventMessage | None = None
    with Subscriber([endpoint]) as subscriber:
        last_ns = clock.monotonic_ns()
        while ended is None:
            code = daemon.poll()  # before the wait: what it sent at its end is read first
            received = subscriber.receive(timeout_s=0.2)
            if received is None:
                if code is not None or clock.elapsed_ms(last_ns) > SILENCE_S * 1e3:
                    console.print("The daemon stopped before the end of the clip.", style="red")
                    return code if code and code > 0 else EXIT_FAILURE
                continue
            last_ns = clock.monotonic_ns()
            message = received.message
            if isinstance(message, FrameMessage):
                count += 1
                frames.append(message)
                if message.time.sensor_ns >= next_row_ns:
                    next_row_ns = message.time.sensor_ns + ROW_PERIOD_NS
                    show(console, row(message))
            elif isinstance(message, EventMessage):
                count += 1
                if message.event == "epoch_ended":
                    ended = message
    if not frames:  # its log says why
        return daemon.wait() or EXIT_FAILURE
    return _summary(console, frames, count, ended)


def _summary(
    console: Console, frames: list[FrameMessage], received: int, ended: EventMessage
) -> int:
    published = ended.detail["messages"]
    faces = sum(len(frame.faces) for frame in frames)
    classified = sum(face.expression is not None for frame in frames for face in frame.faces)
    tracks = {face.track for frame in frames for face in frame.faces}
    latency = sorted(frame.timing_ms.total for frame in frames)
    span_s = (frames[-1].time.published_ns - frames[0].time.published_ns) / 1e9 if frames else 0.0
    dropped = sum(frame.frame.dropped for frame in frames)
    console.print()
    for name, value in (
        ("frames", f"{len(frames)} ({dropped} dropped)"),
        ("faces", f"{faces} in {len(tracks)} tracks, {classified} classified"),
        ("FPS", f"{(len(frames) - 1) / span_s:.1f}" if span_s else "-"),
        (
            "capture to publish",
            f"p50 {_quantile(latency, 0.5):.1f} ms, p99 {_quantile(latency, 0.99):.1f} ms",
        ),
        ("messages", f"{received} received, {published} published (frames + events)"),
    ):
        console.print(f"{name:>19}: {value}", highlight=False)
    return EXIT_DONE if received == published and classified else EXIT_FAILURE


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
