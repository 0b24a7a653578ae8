"""The command ``dashboard``: its options, which load nothing else."""

import re
from pathlib import Path
from typing import Annotated

import typer

from edge.commands.options import Endpoints, Services, endpoints_of, services_of
from edge.descriptors import report_line
from edge.errors import ConfigError

_HISTORY_MAX_S = 12 * 3600


def dashboard(
    *,
    connect: Endpoints = None,
    service: Services = None,
    bind: Annotated[
        str, typer.Option(help="Address of the page; beyond this machine with --token-file only.")
    ] = "127.0.0.1:8080",
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the token that browsers give.")
    ] = None,
    new_token: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a new token to FILE, and end.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Name by which browsers reach this machine; may be repeated."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate, PEM: the page speaks TLS.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its key, PEM, mode 0600.")
    ] = None,
    mark: Annotated[
        list[str] | None,
        typer.Option(help="Text of the keys 1 to 9, in order; may be repeated."),
    ] = None,
    history: Annotated[
        str, typer.Option(help="How much of the past to show at first: 30m, 2h, 0 to 12h.")
    ] = "1h",
    viewers: Annotated[int, typer.Option(min=1, max=48, help="Viewers at a time.")] = 16,
) -> None:
    """Serve the operator's page: everything at a glance, in a browser."""
    from edge.dashboard.server import DashboardOptions, run_dashboard  # noqa: PLC0415
    from edge.dashboard.tokens import new_token as write_token  # noqa: PLC0415

    if new_token is not None:
        write_token(new_token)
        return
    endpoints = endpoints_of(connect)
    services = services_of(endpoints, service)
    if services is None:
        report_line("without --service the page has no buttons and no history")
    run_dashboard(
        DashboardOptions(
            endpoints=endpoints,
            services=services or (),
            bind=bind,
            token_file=token_file,
            allow_host=allow_host or (),
            tls_cert=tls_cert,
            tls_key=tls_key,
            marks=_marks(mark or []),
            history_s=_seconds(history),
            viewers_max=viewers,
        )
    )


def _marks(texts: list[str]) -> list[str]:
    from pydantic import ValidationError  # noqa: PLC0415

    from edge.protocol.requests import MarkRequest, error_line  # noqa: PLC0415

    if len(texts) > 9:
        raise ConfigError(f"--mark: {len(texts)} texts; expected at most 9, for the keys 1 to 9")
    try:
        return [MarkRequest(text=text).text for text in texts]
    except ValidationError as error:
        raise ConfigError(f"--mark: {error_line(error)}") from error


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d{1,5})\s*(s|m|min|h)?", text.strip())
    if match:
        unit = {"s": 1, "m": 60, "min": 60, "h": 3600}.get(match[2] or "", 0)
        seconds = int(match[1]) * unit
        if (unit or int(match[1]) == 0) and seconds <= _HISTORY_MAX_S:
            return float(seconds)
    raise ConfigError(f"--history {text!r}: expected a time of at most 12h, such as 30m or 2h")
