"""The command ``forward``: its options, which load nothing else."""

from pathlib import Path
from typing import Annotated

import typer

from edge.commands.options import Endpoints, Services, endpoints_of, services_of, stop_on_signals


def forward(
    to: Annotated[
        str, typer.Option(help="The broker: mqtt://USER@HOST:1883/PREFIX, or mqtts:// for TLS.")
    ],
    state: Annotated[Path, typer.Option(help="File that keeps how far the broker has got.")],
    *,
    connect: Endpoints = None,
    service: Services = None,
    name: Annotated[
        str, typer.Option(help="Under which the daemons note what the broker has.")
    ] = "forward",
    device: Annotated[str | None, typer.Option(help="Only this device.")] = None,
    ca: Annotated[
        Path | None, typer.Option(help="Certificate authority of the broker, PEM.")
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(help="File with the password; default: AFFECT_EDGE_MQTT_PASSWORD."),
    ] = None,
    ignore_drops: Annotated[
        bool,
        typer.Option(
            "--ignore-drops", help="Do not publish again what the broker reports as dropped."
        ),
    ] = False,
) -> None:
    """Publish every frame and event to an MQTT 5 broker, without gaps."""
    from edge.tools.forward import run_forward  # noqa: PLC0415

    endpoints = endpoints_of(connect)
    run_forward(
        endpoints,
        services_of(endpoints, service) or (),
        to,
        state,
        stop=stop_on_signals(),
        name=name,
        device=device,
        ca=ca,
        password_file=password_file,
        watches_drops=not ignore_drops,
    )
