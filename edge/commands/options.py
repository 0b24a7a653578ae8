"""Options that several commands share, and how they are read."""

from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from edge.stop_signals import on_stop_signals
from edge.vocabulary import PUBLISH_ENDPOINT, SERVICE_ENDPOINT

Endpoints = Annotated[
    list[str] | None,
    typer.Option(
        "--connect",
        help=f"Where a daemon publishes; may be repeated; default: {PUBLISH_ENDPOINT}.",
    ),
]
Services = Annotated[
    list[str] | None,
    typer.Option(
        help="Where these daemons answer requests, to fetch what was missed; may be repeated;"
        f' "" for none; default: {SERVICE_ENDPOINT} if --connect is not given.'
    ),
]

ConfigFile = Annotated[
    Path | None, typer.Option("-c", "--config", help="The TOML file; defaults without one.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one key; may be repeated."),
]
Purpose = Annotated[
    str | None, typer.Option(help="Declared purpose: research-consent, medical or safety.")
]
Start = Annotated[
    str | None, typer.Option(metavar="TIME", help="Begin here, such as 12.5s, 2min or 1:02:03.")
]
End = Annotated[str | None, typer.Option(metavar="TIME", help="End before this time.")]
TimeColumn = Annotated[
    str | None,
    typer.Option("--time-column", metavar="NAME", help="The column of its time, for --join."),
]


def endpoints_of(connect: list[str] | None) -> list[str]:
    """Return the addresses to subscribe to: those given, or that of a daemon by default."""
    return connect or [PUBLISH_ENDPOINT]


def services_of(endpoints: list[str], services: list[str] | None) -> list[str] | None:
    """Return the addresses that answer requests: those given, or that of a daemon by default.

    None if none is given, and ``endpoints`` are others than the default.
    """
    if services is None and set(endpoints) == {PUBLISH_ENDPOINT}:
        return [SERVICE_ENDPOINT]
    return None if services is None else [each for each in services if each]


def stop_on_signals() -> Callable[[], bool]:
    """Install handlers for the stop signals; return a function that is true after a signal."""
    stopped = False

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    on_stop_signals(on_signal)
    return lambda: stopped
