"""The command ``report``: its options, which load nothing else."""

from pathlib import Path
from typing import Annotated

import typer

from edge.commands.options import TimeColumn
from edge.descriptors import report_line
from edge.errors import ConfigError


def report(
    record: Annotated[
        Path,
        typer.Argument(
            metavar="LOG|DIR", help="A log of any format, or the folder of one analysed recording."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The page to write: NAME.html or NAME.pdf.")],
    *,
    session: Annotated[
        str | None, typer.Option(help="Name or id of the session, where the log holds several.")
    ] = None,
    participant: Annotated[
        str | None, typer.Option(metavar="CODE", help="Only this participant; default: all.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Name of the device, where the log holds several.")
    ] = None,
    marks: Annotated[
        Path | None,
        typer.Option(
            help="CSV with the columns time_s (seconds from the start), mark (and file); default:"
            " the marks in the record."
        ),
    ] = None,
    join: Annotated[
        list[Path] | None,
        typer.Option(help="CSV of another sensor, drawn below the timeline; may be repeated."),
    ] = None,
    time_column: TimeColumn = None,
    summary: Annotated[
        Path | None, typer.Option(help="Write the summary by face and interval, too: NAME.csv.")
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Length of its intervals, such as 60s; default: between marks."
        ),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the plots, too, as PNG and SVG, into this folder."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the page if it exists.")] = False,
) -> None:
    """Write a session on one page: who, when, how much was classified, figures, methods."""
    from edge.recordings.times import interval_of  # noqa: PLC0415
    from edge.results.report import write_report  # noqa: PLC0415

    interval_s = interval_of(interval)
    if interval_s is not None and summary is None:
        raise ConfigError("--interval: is that of the summary; name it with --summary NAME.csv")
    write_report(
        record,
        out,
        session=session,
        device=device,
        participant=participant,
        marks=marks,
        joins=join or (),
        time_column=time_column,
        summary=summary,
        interval_s=interval_s,
        plots=plots,
        force=force,
        report=report_line,
    )
