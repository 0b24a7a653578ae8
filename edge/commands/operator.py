"""The commands of an operator: participants, baselines, sessions, erasing.

Each asks a running daemon, or, with ``--log``, changes a log afterwards.
"""

from pathlib import Path
from typing import Annotated

import typer

from edge.commands.key_options import takes_keys
from edge.errors import ConfigError
from edge.vocabulary import SERVICE_ENDPOINT as SERVICE

participant_app = typer.Typer(
    no_args_is_help=True, help="Say whose face it is, by codes, never by names."
)
baseline_app = typer.Typer(
    no_args_is_help=True,
    help="Learn a participant's baseline: the values of a relaxed face.",
)
session_app = typer.Typer(
    no_args_is_help=True, help="Begin, end and list sessions: named stretches."
)

ServiceEndpoint = Annotated[str, typer.Option(help="Where a daemon answers requests.")]
Code = Annotated[str, typer.Argument(help="The participant's code, such as P07.")]
LogFile = Annotated[
    Path | None,
    typer.Option("--log", help="A log (.sqlite) to act on afterwards, not a running daemon."),
]


@participant_app.command("assign")
@takes_keys
def participant_assign(
    place: Annotated[
        str,
        typer.Argument(
            metavar="TRACK|SEAT",
            help="The track, as `tail` shows it, or a seat of [zones]; with --log also a code.",
        ),
    ],
    code: Code,
    service: ServiceEndpoint = SERVICE,
    *,
    log: LogFile = None,
    epoch: Annotated[
        int | None,
        typer.Option(min=1, help="With --log: the track's epoch, if several have it."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="With --log: the track's device, if several have it."),
    ] = None,
) -> None:
    """Give a code to the face on a track, or to whoever sits on a seat, from the next frame on.

    With --log, to a track of a log, or to all faces with another code: this renames a participant,
    and merges two. The rows stay as they are; `undo` takes it back.
    """
    from edge.tools import log_edits, operator  # noqa: PLC0415

    if log is not None:
        log_edits.assign(log, place, code, epoch=epoch, device=device)
        return
    for option, value in (("--epoch", epoch), ("--device", device)):
        if value is not None:
            raise ConfigError(
                f"{option} {value}: expected --log LOG beside it; a running daemon knows only the"
                " present tracks"
            )
    operator.assign(service, place, code)


@participant_app.command("undo")
def participant_undo(
    log: Annotated[Path, typer.Option("--log", help="The log (.sqlite).")],
) -> None:
    """Take back the newest assignment that was made in a log afterwards."""
    from edge.tools import log_edits  # noqa: PLC0415

    log_edits.undo(log)


@participant_app.command("release")
@takes_keys
def participant_release(code: Code, service: ServiceEndpoint = SERVICE) -> None:
    """Forget a participant's code and baseline."""
    from edge.tools import operator  # noqa: PLC0415

    operator.release(service, code)


@participant_app.command("list")
@takes_keys
def participant_list(service: ServiceEndpoint = SERVICE, *, log: LogFile = None) -> None:
    """Print every participant with track and state of the baseline."""
    from edge.tools import log_edits, operator  # noqa: PLC0415

    if log is not None:
        log_edits.participants(log)
    else:
        operator.participants(service)


@baseline_app.command("start")
@takes_keys
def baseline_start(code: Code, service: ServiceEndpoint = SERVICE) -> None:
    """Begin to learn the baseline: from now on the participant has a relaxed face."""
    from edge.tools import operator  # noqa: PLC0415

    operator.start_baseline(service, code)


@baseline_app.command("stop")
@takes_keys
def baseline_stop(code: Code, service: ServiceEndpoint = SERVICE) -> int:
    """End learning and print the baseline; exit 1 if there is none, with the reason."""
    from edge.tools import operator  # noqa: PLC0415

    return operator.stop_baseline(service, code)


@session_app.command("begin")
@takes_keys
def session_begin(
    name: Annotated[str, typer.Argument(help="Such as P07-first; never the name of a person.")],
    service: ServiceEndpoint = SERVICE,
    *,
    note: Annotated[str, typer.Option(help="One line of text for the record.")] = "",
) -> None:
    """Begin a session: the messages from now on belong to it."""
    from edge.tools import operator  # noqa: PLC0415

    operator.begin_session(service, name, note)


@session_app.command("end")
@takes_keys
def session_end(service: ServiceEndpoint = SERVICE) -> None:
    """End the session, and with it the codes that were assigned to seats."""
    from edge.tools import operator  # noqa: PLC0415

    operator.end_session(service)


@session_app.command("list")
@takes_keys
def session_list(service: ServiceEndpoint = SERVICE) -> None:
    """Print every session, the oldest first."""
    from edge.tools import operator  # noqa: PLC0415

    operator.sessions(service)


@takes_keys
def erase(
    session: Annotated[str, typer.Option(help="Its name, or its id, which `session list` shows.")],
    service: ServiceEndpoint = SERVICE,
    *,
    log: Annotated[
        str | None,
        typer.Option(
            help="A log to erase it from, with its rotated files, as `log --out` names it; not a"
            " running daemon."
        ),
    ] = None,
) -> int:
    """Erase a session from a daemon's journal, or from a log, and prove that nothing is left."""
    from edge.tools import session_erase  # noqa: PLC0415

    if log is not None:
        return session_erase.erase_log(log, session)
    return session_erase.erase(service, session)
