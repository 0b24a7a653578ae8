"""The operator's commands: each sends a request to the daemon and prints the outcome."""

import sys
from typing import Any

from pydantic import ValidationError

from edge.client.ask import ask
from edge.clock import day, time_of_day
from edge.errors import EXIT_DONE, EXIT_FAILURE, ConfigError
from edge.protocol.requests import (
    AssignRequest,
    BaselineRequest,
    MarkRequest,
    ReleaseRequest,
    Request,
    StatusRequest,
    error_line,
)


def mark(service: str, text: str) -> None:
    """Record an event with a text.

    This and the other functions here print the outcome in one line.

    Raises:
        ConfigError: an argument is not a valid text or code.
        RequestRefused, ServiceUnavailable: as ``edge.client.ask.ask``.
    """
    if text.startswith("--"):
        option = text.split(maxsplit=1)[0]
        raise ConfigError(f"no such option: {option}; expected a text that begins otherwise")
    reply = _ask(service, MarkRequest, text=text)
    _print(f"marked {reply['text']!r}{_when(reply)}")


def assign(service: str, track: int, code: str) -> None:
    """Give a participant's code to a track."""
    reply = _ask(service, AssignRequest, track=track, participant=code)
    _print(f"track {track} is {code}{_when(reply)}")


def release(service: str, code: str) -> None:
    """Forget a participant and the baseline."""
    _print(f"{code} is released{_when(_ask(service, ReleaseRequest, participant=code))}")


def participants(service: str) -> None:
    """Print a line for each participant that the daemon knows."""
    known = _ask(service, StatusRequest)["participants"]
    for participant in known:
        track = participant["track"]
        on = "on no track" if track is None else f"track {track}"
        where = "in view" if participant["in_view"] else "not in view"
        since_ns = participant["since_unix_ns"]
        since = f"{day(since_ns)} {time_of_day(since_ns).partition('.')[0]} UTC"
        _print(
            f"{participant['participant']}  {on}, {where} since {since},"
            f" baseline {participant['baseline']}"
        )
    if not known:
        _print("no participants; affect-edge participant assign TRACK CODE")


def start_baseline(service: str, code: str) -> None:
    """Start learning a participant's neutral baseline."""
    reply = _ask(service, BaselineRequest, action="start", participant=code)
    _print(
        f"learning the baseline of {code}{_when(reply)}; end it with: affect-edge baseline stop"
        f" {code}"
    )


def stop_baseline(service: str, code: str) -> int:
    """Stop learning; return 0 if the baseline is ready, 1 if it is invalid."""
    reply = _ask(service, BaselineRequest, action="stop", participant=code)
    figures = (
        f"valence {reply['valence']:+.2f}, arousal {reply['arousal']:+.2f};"
        f" {reply['readings']} readings, {reply['read_s']:.1f} s"
    )
    if reply["baseline"] == "ready":
        _print(f"baseline of {code}: {figures}{_when(reply)}")
        return EXIT_DONE
    _print(f"no baseline of {code}: {reply['reason']} ({figures}); start again")
    return EXIT_FAILURE


def _ask(service: str, kind: type[Request], **fields: object) -> dict[str, Any]:
    try:
        request = kind.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(error_line(error)) from error
    return ask(service, request)


def _when(reply: dict[str, Any]) -> str:
    return f" at {time_of_day(reply['unix_ns'])} UTC (message {reply['seq']})"


def _print(text: str) -> None:
    # a terminal that cannot show a character must not turn a successful request into a traceback
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
