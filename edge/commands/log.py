"""The commands ``log`` and ``export-log``: their options, which load nothing else."""

from pathlib import Path
from typing import Annotated

import typer

from edge.commands.options import Endpoints, Services, endpoints_of, services_of
from edge.descriptors import report_line
from edge.errors import EXIT_DONE, EXIT_FAILURE, ConfigError


def log(
    out: Annotated[
        str,
        typer.Option(
            help="The log to write or to continue: NAME.sqlite, .csv, .jsonl, a folder"
            " .parquet, or postgresql://USER@HOST/DATABASE."
        ),
    ],
    *,
    connect: Endpoints = None,
    service: Services = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Name under which the daemons note what this logger has stored; default: made of"
            " OUT and of this machine's name."
        ),
    ] = None,
    since: Annotated[
        str,
        typer.Option(
            help="Where a new log begins: oldest (stored message), epoch (present run of a daemon),"
            " or now."
        ),
    ] = "oldest",
    once: Annotated[
        bool,
        typer.Option("--once", help="End when the log has all messages that are stored."),
    ] = False,
    rotate: Annotated[
        str | None,
        typer.Option(help="Begin new files each day (UTC), or at a size: day, 500MB, 2GB."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Only this device.")] = None,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="End when the daemon's run ends.")
    ] = False,
    give_up_s: Annotated[
        float | None,
        typer.Option(
            "--give-up-s",
            "--timeout-s",
            min=0,
            help="With --until-end (60) or --once (10): end with exit code 1 after so many seconds"
            " without a message or, with --once, a reply; 0: never.",
        ),
    ] = None,
) -> int:
    """Write every message to a log, also those sent before it started; report every gap."""
    from edge.client.logs import is_database  # noqa: PLC0415
    from edge.client.logs.rotation import parse_rotation  # noqa: PLC0415
    from edge.tools.log import check_since, run_log  # noqa: PLC0415
    from edge.tools.log_signals import LogSignals  # noqa: PLC0415

    if rotate is not None and is_database(out):
        raise ConfigError(f"--rotate {rotate}: a database has no files to rotate; leave it out")
    endpoints, signals = endpoints_of(connect), LogSignals()
    services = services_of(endpoints, service)
    if once and not services:
        raise ConfigError("--once: expected --service, the address to fetch the stored messages")
    summary = run_log(
        endpoints,
        out,
        stop=signals.is_stopped,
        rotation=parse_rotation(rotate),
        rotate_now=signals.take_rotation,
        services=services,
        since=check_since(since),
        once=once,
        name=name,
        device=device,
        until_end=until_end,
        give_up_s=(10.0 if once else 60.0) if give_up_s is None else give_up_s,
    )
    deleted = f", {summary.deleted_rows} rows deleted with their file"
    report_line(
        f"{summary.messages} messages, {summary.rows} rows, {summary.gaps} gaps,"
        f" {summary.missing} missing{deleted if summary.deleted_rows else ''}"
    )
    return EXIT_FAILURE if summary.gave_up else EXIT_DONE


def export_log(
    log: Annotated[Path, typer.Argument(help="A log, NAME.sqlite; it may be written meanwhile.")],
    *,
    to: Annotated[Path, typer.Option(help="The file to make: .parquet, .csv or .jsonl.")],
    session: Annotated[str | None, typer.Option(help="Only the messages of this session.")] = None,
) -> None:
    """Make tables of a log: a row per face and frame, and a table of events."""
    from edge.tools.export_log import run_export  # noqa: PLC0415

    done = run_export(log, to, session=session, report=report_line)
    made = " and ".join(map(str, done.files))
    events = f" and {done.events} of events" if len(done.files) > 1 else ""
    report_line(f"{done.messages} messages: {done.rows} rows{events} in {made}")
