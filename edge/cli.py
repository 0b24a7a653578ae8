"""The command line: maps commands to calls and errors to exit codes; holds no other logic.

Exit codes: 0 done, or stopped by a signal (run, tail, log, forward, lsl, aim, dashboard); 129, 130
or 143 another command was interrupted (SIGHUP, SIGINT, SIGTERM) before it was done; 78 a
configuration, model, key or argument is wrong (one line on standard error, no traceback; a service
manager must not restart); 1 a failure at run time; 75 the board needs a reboot.
"""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from pydantic import ValidationError

from edge import __version__
from edge.commands.aim import aim
from edge.commands.annotate import annotate
from edge.commands.dashboard import dashboard
from edge.commands.forward import forward
from edge.commands.key_options import takes_keys
from edge.commands.keys import keys_app
from edge.commands.log import export_log, log
from edge.commands.lsl import lsl
from edge.commands.operator import (
    ServiceEndpoint,
    baseline_app,
    erase,
    participant_app,
    session_app,
)
from edge.commands.options import ConfigFile, Settings
from edge.commands.recordings import analyse
from edge.commands.report import report
from edge.commands.tail import tail
from edge.config import Config, is_file, load_config, redact, source_settings
from edge.descriptors import (
    OPEN_FILES_MIN,
    discard,
    is_reader_gone,
    is_unwritable,
    printable,
    raise_open_files_limit,
    write_error_line,
)
from edge.errors import EXIT_CONFIG, EXIT_DONE, EXIT_FAILURE, AffectEdgeError, ConfigError
from edge.validation import first_error, refuse_empty
from edge.vocabulary import SERVICE_ENDPOINT as SERVICE

# Typer bundles its own Click since 0.2x and imports the installed one before. In both, this base
# class of Typer's only public error covers all errors of a wrong command line.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])

_MAY_BE_EMPTY = ("--service", "--note")  # none

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="Estimate facial affect from near-infrared video: faces in, expression, valence and"
    " arousal out.",
)
models_app = typer.Typer(no_args_is_help=True, help="List and verify the bundled models.")
app.add_typer(models_app, name="models")
app.add_typer(participant_app, name="participant")
app.add_typer(baseline_app, name="baseline")
app.add_typer(session_app, name="session")
app.add_typer(keys_app, name="keys")


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    code = EXIT_DONE
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except (OSError, SystemExit) as error:
        # Click and Rich turn a broken pipe into their own exit code.
        lost = _code_of_lost_output(error if isinstance(error, OSError) else error.__context__)
        if lost is None:
            raise
        discard(sys.stdout)
        code = code or lost
    return code


def _code_of_lost_output(error: BaseException | None) -> int | None:
    """Return the exit code if writing to standard output failed; None for another error."""
    if is_reader_gone(error):  # a pager, head or a terminal that was closed
        return EXIT_DONE
    if isinstance(error, OSError) and is_unwritable(error):
        return _print_error(f"standard output: {error.strerror}", EXIT_FAILURE)
    return None


def _run(arguments: Sequence[str]) -> int:
    try:
        refuse_empty(arguments, allowed=_MAY_BE_EMPTY)
        result = app(args=list(arguments), standalone_mode=False, prog_name="affect-edge")
    except typer.Abort:
        return EXIT_FAILURE
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help is no error
            sys.stdout.write(error.format_message())
            return EXIT_DONE
        text = f"{error.format_message().rstrip('.')}{_received(error)}{_hint(error)}"
        return _print_error(text, EXIT_CONFIG)
    except AffectEdgeError as error:
        return _print_error(str(error), error.exit_code)
    return result if isinstance(result, int) else EXIT_DONE


def _received(error: Exception) -> str:
    """Return the value of an option that is wrong, where the message of Typer lacks it."""
    cause = error.__cause__
    if not isinstance(cause, ValidationError):  # earlier versions of Typer: it is in the message
        return ""
    return f" (received {first_error(cause).received!r})"


def _hint(error: Exception) -> str:
    """Return where to read what is expected: the help of the command that was misused."""
    path = getattr(getattr(error, "ctx", None), "command_path", "")
    return f"; see {path} --help" if path else ""


def _print_error(text: str, code: int) -> int:
    write_error_line(f"affect-edge: error: {redact(' '.join(text.split()))}")
    return code


def _print_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


class _LineFormatter(logging.Formatter):
    """Gives each record one line: names of files and devices must not control the terminal.

    A traceback, which only a fault of the program causes, keeps its lines.
    """

    def format(self, record: logging.LogRecord) -> str:
        message, line_end, traceback = super().format(record), "", ""
        if record.exc_info or record.stack_info:
            message, line_end, traceback = message.partition("\n")
        return printable(message) + line_end + traceback


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LineFormatter("affect-edge: %(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    limit = raise_open_files_limit()
    if 0 <= limit < OPEN_FILES_MIN:
        raise ConfigError(
            f"this process may open {limit} files; expected {OPEN_FILES_MIN} or more: raise the"
            " limit with ulimit -n, or with LimitNOFILE= in a unit file"
        )


@app.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"affect-edge {__version__}\n")


@app.command()
def run(
    config: ConfigFile = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="picamera, /dev/videoN, rtsp://..., a video file, a folder of images, or demo."
        ),
    ] = None,
    settings: Settings = None,
    pace: Annotated[
        bool,
        typer.Option(help="--no-pace: read a file as fast as possible, with nothing dropped."),
    ] = True,
    wait_for_subscriber: Annotated[
        bool, typer.Option(help="Hold the first frame until somebody subscribed.")
    ] = False,
    *,
    recorded_at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="When a file's first frame was recorded, such as 2026-11-03T09:30:00+01:00.",
        ),
    ] = None,
) -> int:
    """Run the daemon."""
    from edge.hub.daemon import Daemon  # noqa: PLC0415

    loaded = _load(config, settings, source)
    if recorded_at is not None:
        if not hasattr(loaded.source, "recorded_at"):
            raise ConfigError(
                f"--recorded-at: source.kind {loaded.source.kind!r} is no recording of yours;"
                " expected a video file or a folder of images"
            )
        loaded = _load(config, [*(settings or ()), f"source.recorded_at={recorded_at}"], source)
    if not pace and not is_file(loaded.source):
        raise ConfigError(
            f"--no-pace: source.kind {loaded.source.kind!r} is live; expected a video file, a"
            " folder of images, or demo"
        )
    lossless = is_file(loaded.source) and not (pace and loaded.source.paced)
    return Daemon(loaded, lossless=lossless, wait_for_subscriber=wait_for_subscriber).run()


@app.command()
def demo(settings: Settings = None) -> int:
    """Run the whole system on the bundled clip and show what it publishes."""
    from edge.tools.demo import run_demo  # noqa: PLC0415

    _load(None, settings, "demo")  # a wrong key is refused before anything is shown
    return run_demo(settings or ())


@app.command()
def check(
    config: ConfigFile = None,
    settings: Settings = None,
    unit: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Also with the environment of this systemd service, such as affect-edge; as root.",
        ),
    ] = None,
) -> int:
    """Check configuration, machine, addresses and models; open no camera."""
    from edge.check.check import run_check  # noqa: PLC0415
    from edge.check.unit import unit_environment  # noqa: PLC0415

    environment = {**(unit_environment(unit) if unit is not None else {}), **os.environ}
    return run_check(
        load_config(config, settings=settings or (), environment=environment), file=config
    )


app.command()(takes_keys(tail))
app.command()(takes_keys(log))
app.command()(takes_keys(forward))
app.command()(annotate)
app.command()(analyse)
app.command()(report)
app.command()(takes_keys(dashboard))
app.command()(takes_keys(lsl))
app.command()(takes_keys(aim))
app.command()(export_log)


@app.command(context_settings={"ignore_unknown_options": True})  # "-5 bar" is a text
@takes_keys
def mark(
    text: Annotated[str, typer.Argument(help='What happened: "pressure 2.8 bar".')],
    service: ServiceEndpoint = SERVICE,
) -> None:
    """Record a mark, with the daemon's time stamp."""
    from edge.tools import operator  # noqa: PLC0415

    operator.mark(service, text)


app.command("erase")(erase)


@models_app.command("list")
def models_list(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help="Bundled models or model folders; default: bundled."),
    ] = None,
) -> None:
    """Print every artifact, its size and its agreement with the original."""
    from edge.check.models import print_models  # noqa: PLC0415

    print_models(models or ())


@models_app.command("verify")
def models_verify() -> int:
    """Hash every bundled artifact; exit 78 when one is not what its manifest says."""
    from edge.check.models import verify_models  # noqa: PLC0415

    return verify_models()


@app.command()
def schema() -> None:
    """Print the JSON Schema of every message."""
    from edge.protocol.json_schema import json_schema  # noqa: PLC0415

    sys.stdout.write(json_schema())


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def bench(context: typer.Context) -> int:
    """Measure speed: python -m benchmarks fps; with suite or cost first, that command."""
    from benchmarks.cli import main  # noqa: PLC0415

    named = context.args[:1] in (["suite"], ["cost"])
    return main(context.args if named else ["fps", *context.args])


def _load(config: Path | None, settings: list[str] | None, source: str | None) -> Config:
    overrides: Mapping[str, Mapping[str, Any]] = (
        {} if source is None else {"source": source_settings(source)}
    )
    return load_config(config, settings=settings or (), overrides=overrides)
