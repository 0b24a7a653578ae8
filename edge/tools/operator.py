"""What an operator tells a daemon: a request, and a line that says what became of it."""

import sys
from typing import Any

from pydantic import ValidationError

from edge.client.ask import ask
from edge.clock import time_of_day
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
    """Record that something happened.

    This and the other functions here print what became of it, one line.

    Raises:
        ConfigError: what was typed is no text or code.
        RequestRefused, ServiceUnavailable: as ``edge.client.ask.ask``.
    """
    reply = _asked(service, MarkRequest, text=text)
    _say(f"marked {reply['text']!r}{_when(reply)}")


def assign(service: str, track: int, code: str) -> None:
    """Give a participant's code to a track."""
    reply = _asked(service, AssignRequest, track=track, participant=code)
    _say(f"track {track} is {code}{_when(reply)}")


def release(service: str, code: str) -> None:
    """Forget a participant and the baseline."""
    _say(f"{code} is released{_when(_asked(service, ReleaseRequest, participant=code))}")


def participants(service: str) -> None:
    """Print a line for each participant that the daemon knows."""
    known = _asked(service, StatusRequest)["participants"]
    for each in known:
        on = "on no track" if each["track"] is None else f"track {each['track']}"
        where = "in view" if each["in_view"] else "not in view"
        _say(f"{each['participant']}  {on}, {where}, baseline {each['baseline']}")
    if not known:
        _say("no participants; affect-edge participant assign TRACK CODE")


def start_baseline(service: str, code: str) -> None:
    """Begin to learn what a participant's face reads at rest."""
    reply = _asked(service, BaselineRequest, action="start", participant=code)
    _say(
        f"learning {code} at rest{_when(reply)}; end it with: affect-edge baseline stop {code}",
    )


def stop_baseline(service: str, code: str) -> int:
    """End learning; return 0 where there is a baseline now, 1 where the face was not at rest."""
    reply = _asked(service, BaselineRequest, action="stop", participant=code)
    figures = (
        f"valence {reply['valence']:+.2f}, arousal {reply['arousal']:+.2f};"
        f" {reply['readings']} readings, {reply['read_s']:.1f} s"
    )
    if reply["baseline"] == "ready":
        _say(f"{code} at rest: {figures}{_when(reply)}")
        return EXIT_DONE
    _say(f"no baseline of {code}: {reply['reason']} ({figures}); start again")
    return EXIT_FAILURE


def _asked(service: str, kind: type[Request], **fields: object) -> dict[str, Any]:
    try:
        request = kind.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(error_line(error)) from error
    return ask(service, request)


def _when(reply: dict[str, Any]) -> str:
    return f" at {time_of_day(reply['unix_ns'])} UTC (message {reply['seq']})"


def _say(text: str) -> None:
    # what was done must not end in a traceback because a terminal cannot show how it is called
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
