"""The command ``tail``: its options, which load nothing else."""

from typing import Annotated

import typer

from edge.commands.options import Endpoints, endpoints_of, services_of, stop_on_signals
from edge.errors import ConfigError
from edge.vocabulary import SERVICE_ENDPOINT


def tail(
    connect: Endpoints = None,
    *,
    device: Annotated[str | None, typer.Option(help="Only this device.")] = None,
    rows: Annotated[
        bool, typer.Option("--rows", help="A row per message also in a terminal.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Print the present state of each device, and end.")
    ] = False,
    service: Annotated[
        list[str] | None,
        typer.Option(
            help="With --once: where these daemons answer requests, to list participants who are"
            ' not in view; may be repeated; "" for none; default:'
            f" {SERVICE_ENDPOINT} if --connect is not given."
        ),
    ] = None,
    timeout_s: Annotated[
        float,
        typer.Option(
            "--timeout-s",
            min=0.1,
            help="With --once: end with exit code 1 after so many seconds without a message.",
        ),
    ] = 10.0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="End after so many frames and events.")
    ] = None,
) -> None:
    """Show live in the terminal what each face looks like; rows where it is no terminal.

    Keys: q ends, arrows scroll.
    """
    from rich.console import Console  # noqa: PLC0415

    from edge.client import Subscriber  # noqa: PLC0415
    from edge.tools.live import run_live, run_once  # noqa: PLC0415
    from edge.tools.tail import run_tail  # noqa: PLC0415

    if once and (rows or limit is not None):
        other = "--rows" if rows else "--limit"
        raise ConfigError(f"--once prints the present state only; expected it without {other}")
    if service and not once:
        raise ConfigError(f"--service {service[0]}: is asked with --once only; leave it out")
    console, endpoints = Console(), endpoints_of(connect)
    with Subscriber(endpoints, device=device) as subscriber:
        stop = stop_on_signals()
        if once:
            services = services_of(endpoints, service) or ()
            run_once(subscriber, console, stop, timeout_s, services)
        elif rows or not console.is_terminal or console.is_dumb_terminal:
            run_tail(subscriber, console, stop, limit)
        else:
            run_live(subscriber, console, stop, limit)
