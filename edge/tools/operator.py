"""The operator's commands: each sends a request to the daemon and prints the outcome."""

from typing import Any

from pydantic import ValidationError

from edge.client.ask import ask
from edge.clock import day, time_of_day
from edge.errors import EXIT_DONE, EXIT_FAILURE, ConfigError
from edge.protocol.requests import (
    AssignRequest,
    BaselineRequest,
    BeginSessionRequest,
    EndSessionRequest,
    ListSessionsRequest,
    MarkRequest,
    ReleaseRequest,
    Request,
    StatusRequest,
    error_line,
)
from edge.tools.output import print_line


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
    print_line(f"marked {reply['text']!r}{_when(reply)}")


def assign(service: str, place: str, code: str) -> None:
    """Give a participant's code to a track (a number) or to a seat (a name)."""
    if place.isascii() and place.isdigit():
        reply = _ask(service, AssignRequest, track=int(place), participant=code)
        print_line(f"track {place} is {code}{_when(reply)}")
    else:
        reply = _ask(service, AssignRequest, seat=place, participant=code)
        print_line(f"whoever sits on {place} is {code}{_when(reply)}")


def release(service: str, code: str) -> None:
    """Forget a participant and the baseline."""
    print_line(f"{code} is released{_when(_ask(service, ReleaseRequest, participant=code))}")


def participants(service: str) -> None:
    """Print a line for each participant that the daemon knows."""
    reply = _ask(service, StatusRequest)
    known = reply["participants"]
    for participant in known:
        track, seat = participant["track"], participant["seat"]
        on = "on no track" if track is None else f"track {track}"
        if seat is not None:
            on = f"seat {seat}, {on}"
        where = "in view" if participant["in_view"] else "not in view"
        since_ns = participant["since_unix_ns"]
        where += f" since {_moment(since_ns)}" if since_ns is not None else " yet"
        baseline = participant["baseline"]
        print_line(f"{participant['participant']}  {on}, {where}, baseline {baseline}")
    for seat in [seat for seat, code in reply["seats"].items() if code is None]:
        print_line(f"seat {seat} has no participant; affect-edge participant assign {seat} CODE")
    if not known and not reply["seats"]:
        print_line("no participants; assign a code: affect-edge participant assign TRACK CODE")


def start_baseline(service: str, code: str) -> None:
    """Start learning a participant's neutral baseline."""
    reply = _ask(service, BaselineRequest, action="start", participant=code)
    print_line(
        f"learning the baseline of {code}{_when(reply)}; end it with: affect-edge baseline stop"
        f" {code}"
    )


def stop_baseline(service: str, code: str) -> int:
    """Stop learning; return 0 if the baseline is ready, 1 if it is invalid."""
    reply = _ask(service, BaselineRequest, action="stop", participant=code)
    figures = (
        f"valence {reply['valence']:+z.2f}, arousal {reply['arousal']:+z.2f};"
        f" {reply['readings']} readings, {reply['read_s']:.1f} s"
    )
    if reply["baseline"] == "ready":
        print_line(f"baseline of {code}: {figures}{_when(reply)}")
        return EXIT_DONE
    print_line(f"no baseline of {code}: {reply['reason']} ({figures}); start again")
    return EXIT_FAILURE


def begin_session(service: str, name: str, note: str) -> None:
    """Begin a session."""
    reply = _ask(service, BeginSessionRequest, name=name, note=note)
    print_line(f"session {name} began{_when(reply)}; end it with: affect-edge session end")


def end_session(service: str) -> None:
    """End the running session."""
    reply = _ask(service, EndSessionRequest)
    codes = ", ".join(reply["participants"]) or "no participants"
    print_line(f"session {reply['name']} ended{_when(reply)}: {reply['frames']} frames, {codes}")
    for seat, code in reply["seats"].items():
        print_line(f"seat {seat} is not {code} any more")


def sessions(service: str) -> None:
    """Print a line for each session."""
    known = _ask(service, ListSessionsRequest)["sessions"]
    for each in known:
        ended_ns = each["ended_unix_ns"]
        until = "running" if ended_ns is None else f"to {_moment(ended_ns)}"
        codes = ", ".join(each["participants"]) or "no participants"
        note = f"; {each['note']}" if each["note"] else ""
        print_line(
            f"{each['name']}  {each['session']}, from {_moment(each['began_unix_ns'])}, {until},"
            f" {each['frames']} frames, {codes}{note}"
        )
    if not known:
        print_line("no sessions; affect-edge session begin NAME")


def _moment(unix_ns: int) -> str:
    return f"{day(unix_ns)} {time_of_day(unix_ns).partition('.')[0]} UTC"


def _ask(service: str, kind: type[Request], **fields: object) -> dict[str, Any]:
    try:
        request = kind.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(error_line(error)) from error
    return ask(service, request)


def _when(reply: dict[str, Any]) -> str:
    return f" at {time_of_day(reply['unix_ns'])} UTC (message {reply['seq']})"
