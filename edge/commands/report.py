"""The command ``report``: its options, which load nothing else."""

from pathlib import Path
from typing import Annotated

import typer

from edge.descriptors import write_error_line


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
            help="CSV with the columns time_s (seconds from the start) and mark; default: the marks"
            " in the record."
        ),
    ] = None,
    join: Annotated[
        list[Path] | None,
        typer.Option(help="CSV of another sensor, drawn below the timeline; may be repeated."),
    ] = None,
    time_column: Annotated[
        str | None, typer.Option(help="Which column of these files is the time.")
    ] = None,
) -> None:
    """Write a session on one page: who, when, how much was classified, figures, methods."""
    from edge.results.report import write_report  # noqa: PLC0415

    write_report(
        record,
        out,
        session=session,
        device=device,
        participant=participant,
        marks=marks,
        joins=join or (),
        time_column=time_column,
        report=lambda line: write_error_line(f"affect-edge: {line}"),
    )
