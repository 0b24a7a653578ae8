"""The command ``lsl``: its options, which load nothing else."""

from typing import Annotated

import typer

from edge.commands.options import Endpoints, endpoints_of, services_of, stop_on_signals
from edge.descriptors import report_line
from edge.vocabulary import SERVICE_ENDPOINT


def lsl(
    interface: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="The one network interface that recorders may use, by its IPv4 address or name,"
            " such as 127.0.0.1. Whoever reaches it may receive: LSL has no keys.",
        ),
    ],
    *,
    connect: Endpoints = None,
    service: Annotated[
        list[str] | None,
        typer.Option(
            help="Where these daemons answer requests, to measure their clocks and learn their"
            f" seats; may be repeated; default: {SERVICE_ENDPOINT} if --connect is not given."
        ),
    ] = None,
    faces: Annotated[
        int,
        typer.Option(min=1, max=48, help="Affect streams of a device; with seats one per seat."),
    ] = 4,
    device: Annotated[str | None, typer.Option(help="Only this device.")] = None,
) -> None:
    """Offer the live values as streams of the Lab Streaming Layer, for LabRecorder."""
    from edge.lsl.interface import find_interface  # noqa: PLC0415
    from edge.lsl.library import load  # noqa: PLC0415
    from edge.lsl.relay import check_services, run_lsl  # noqa: PLC0415

    endpoints = endpoints_of(connect)
    services = services_of(endpoints, service) or []
    check_services(endpoints, services)
    chosen = find_interface(interface)
    run_lsl(
        load(chosen),
        chosen,
        endpoints,
        services,
        faces=faces,
        device=device,
        stop=stop_on_signals(),
        report=report_line,
    )
