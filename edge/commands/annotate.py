"""The command ``annotate``: its options, which load nothing else."""

from pathlib import Path
from typing import Annotated

import typer

from edge.child import no_dumps
from edge.commands.options import ConfigFile, End, Purpose, Settings, Start
from edge.recordings.interruption import report_interruption


def annotate(
    recording: Annotated[
        Path,
        typer.Argument(
            metavar="IN", help="A video; with --still also a picture or a folder of pictures."
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="What to make: NAME.mp4; a still is a .png, a .jpg or a folder."
        ),
    ],
    *,
    still: Annotated[
        bool,
        typer.Option(
            "--still", help="Make a still picture: the dashboard of affect, a row per face."
        ),
    ] = False,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="With --still: the moment of a video.")
    ] = None,
    start: Start = None,
    end: End = None,
    participants: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Codes of tracks: a file with track,participant."),
    ] = None,
    purpose: Purpose = None,
    config: ConfigFile = None,
    settings: Settings = None,
    log: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="LOG",
            help="Draw what this log, or this folder of affect-edge analyse, holds, instead of a"
            " new analysis.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
) -> int:
    """Draw into a recording what is read from its faces: boxes, expressions, circumplex.

    Only this command and analyse --video write pictures of faces, and only of files that you have.
    """
    with report_interruption("nothing was written; the same command starts again"), no_dumps():
        from edge.recordings.annotation.annotate_command import AnnotateOptions, run_annotate  # noqa: PLC0415

        return run_annotate(
            AnnotateOptions(
                recording=recording,
                out=out,
                still=still,
                at=at,
                start=start,
                end=end,
                participants=participants,
                purpose=purpose,
                config=config,
                settings=tuple(settings or ()),
                log=log,
                force=force,
            )
        )
