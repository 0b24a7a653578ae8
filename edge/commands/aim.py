"""The command ``aim``: its options, which load nothing else."""

from pathlib import Path
from typing import Annotated

import typer

from edge.commands.options import Endpoints, Services, endpoints_of, services_of, stop_on_signals
from edge.errors import ConfigError


def aim(
    connect: Endpoints = None,
    service: Services = None,
    *,
    source: Annotated[
        str | None,
        typer.Option(
            help="Run a daemon for this command alone, which stores nothing, on picamera,"
            " /dev/videoN, rtsp://..., a video file, a folder of images, or demo."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("-c", "--config", help="The same, with this file's source and settings."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.KEY=VALUE", help="With --source or -c: override one key."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Only this device.")] = None,
    once: Annotated[
        bool,
        typer.Option("--once", help="Print a verdict and end: 0 if it works, 1 if not."),
    ] = False,
    wait_s: Annotated[
        float,
        typer.Option("--wait-s", min=1, help="With --once: wait so long for pictures."),
    ] = 60.0,
) -> int:
    """Show what to change at camera and lamp: face size, focus, light. Stores nothing."""
    from rich.console import Console  # noqa: PLC0415

    from edge.client import Subscriber  # noqa: PLC0415
    from edge.tools.aim import run_aim  # noqa: PLC0415
    from edge.tools.own_daemon import own_daemon  # noqa: PLC0415

    console = Console(highlight=False)
    if source is None and config is None:
        if settings:
            raise ConfigError(
                f"--set {settings[0]}: changes a daemon of this command's own; expected --source or"
                " -c, too"
            )
        endpoints = endpoints_of(connect)
        services = services_of(endpoints, service) or ()
        # the first message of the run has the limits of this daemon; the view does not wait for it
        with Subscriber(
            endpoints, device=device, services=services, since="now", hold_s=2.0
        ) as subscriber:
            return run_aim(subscriber, console, stop_on_signals(), once=once, wait_s=wait_s)
    given = [name for name, value in (("--connect", connect), ("--service", service)) if value]
    if given:
        raise ConfigError(
            f"{given[0]}: another daemon than that of --source or -c; expected one of them"
        )
    arguments = [
        *(() if source is None else ("--source", source)),
        *(() if config is None else ("-c", str(config))),
        *(each for setting in settings or () for each in ("--set", setting)),
    ]
    stop = stop_on_signals()
    with (
        own_daemon(arguments) as own,
        Subscriber(
            [own.endpoint], device=device, services=[own.service], since="epoch"
        ) as subscriber,
    ):
        return run_aim(subscriber, console, stop, once=once, wait_s=wait_s, own=own)
