"""Options that several commands share, and how they are read."""

from collections.abc import Callable
from types import FrameType
from typing import Annotated

import typer

from edge.stop_signals import on_stop_signals

Endpoints = Annotated[
    list[str] | None,
    typer.Option(
        "--connect",
        help="Where a daemon publishes; may be repeated; default: tcp://127.0.0.1:5555.",
    ),
]
Services = Annotated[
    list[str] | None,
    typer.Option(
        help="Where these daemons answer requests, to fetch what was missed; may be repeated;"
        ' "" for none; default: tcp://127.0.0.1:5556 if --connect is not given.'
    ),
]


def endpoints_of(connect: list[str] | None) -> list[str]:
    """Return the addresses to subscribe to: those given, or that of a daemon by default."""
    return connect or ["tcp://127.0.0.1:5555"]


def stop_on_signals() -> Callable[[], bool]:
    """Install handlers for the stop signals; return a function that is true after a signal."""
    stopped = False

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    on_stop_signals(on_signal)
    return lambda: stopped
