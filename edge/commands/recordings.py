"""The command ``analyse``: its options, which load nothing else."""

from pathlib import Path
from typing import Annotated

import typer

from edge.commands.options import ConfigFile, End, Purpose, Settings, Start, TimeColumn
from edge.recordings.interruption import report_interruption


def analyse(
    recordings: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE|FOLDER...",
            help="Videos, folders of videos (each a recording), or folders of pictures.",
        ),
    ],
    *,
    out: Annotated[
        Path, typer.Option(help="Folder of the results; one folder in it for each recording.")
    ],
    participants: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Codes of tracks: a file with track,participant (and file); tracks.csv of the"
            " results, filled in, is one.",
        ),
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Summary per interval, such as 60s; default: between marks."
        ),
    ] = None,
    marks: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="Moments of the recordings: a file with time_s,mark (and file)."
        ),
    ] = None,
    joins: Annotated[
        list[Path] | None,
        typer.Option(
            "--join",
            metavar="CSV",
            help="Another sensor's samples, joined by time; may be repeated.",
        ),
    ] = None,
    time_column: TimeColumn = None,
    video: Annotated[
        bool, typer.Option("--video", help="Also an annotated video of each recording.")
    ] = False,
    start: Start = None,
    end: End = None,
    every: Annotated[
        int, typer.Option(metavar="N", help="Only every N-th picture.", show_default=False)
    ] = 1,
    purpose: Purpose = None,
    config: ConfigFile = None,
    settings: Settings = None,
    jobs: Annotated[
        int | None, typer.Option(help="Recordings at a time; default: the number of cores.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="tcp://HOST:8786", help="A Dask cluster that analyses; the folders are shared."
        ),
    ] = None,
    csv: Annotated[bool, typer.Option(help="--no-csv: tables as Parquet only.")] = True,
    again: Annotated[
        bool, typer.Option("--again", help="Replace results of other settings.")
    ] = False,
) -> int:
    """Make tables, summary and plots of recordings; nothing is dropped.

    The same command goes on where it was stopped, and does nothing twice.
    """
    with report_interruption("no further recording was analysed; the same command goes on"):
        from edge.recordings.analysis.analyse import AnalyseOptions, run_analyse  # noqa: PLC0415

        return run_analyse(
            AnalyseOptions(
                recordings=recordings,
                out=out,
                participants=participants,
                start=start,
                end=end,
                every=every,
                purpose=purpose,
                config=config,
                settings=settings or (),
                jobs=jobs,
                interval=interval,
                marks=marks,
                joins=joins or (),
                time_column=time_column,
                video=video,
                scheduler=scheduler,
                csv=csv,
                again=again,
            )
        )
