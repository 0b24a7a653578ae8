"""What may be asked of a daemon on its service socket, and what a reply looks like.

One request, one reply, both JSON objects of one part. A request names itself in ``request``; what
it does not know is refused, so that a misspelt field is not silently left out. A reply has ``ok``:
true, and what the request asks for; or false, and ``error``, one line for a person.

::

    {"request": "mark", "text": "pressure 2.8 bar"}
    {"request": "participant", "action": "assign", "track": 4, "participant": "P07"}
    {"request": "participant", "action": "release", "participant": "P07"}
    {"request": "baseline", "action": "start", "participant": "P07"}
    {"request": "baseline", "action": "stop", "participant": "P07"}
    {"request": "time"}
    {"request": "status"}
    {"request": "schema"}
"""

from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from edge.validation import first_error

_LINE_MAX: Final = 300

CODE_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$"


def _of_one_line(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("expected one line of printable text")
    return text.strip()


Code = Annotated[str, Field(pattern=CODE_PATTERN)]
"""A pseudonym: letters, digits, - and _, at most 32 of them. No names: codes are recorded."""

MarkText = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_of_one_line)]


class Request(BaseModel):
    """What is asked; strict, unknown fields refused, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class MarkRequest(Request):
    """Record, and stamp, that something happened: the event ``mark``."""

    request: Literal["mark"] = "mark"
    text: MarkText


class AssignRequest(Request):
    """From the next frame on, the face on ``track`` is the person with this code."""

    request: Literal["participant"] = "participant"
    action: Literal["assign"] = "assign"
    track: Annotated[int, Field(ge=0, le=2**53)]
    participant: Code


class ReleaseRequest(Request):
    """The person with this code is on no track any more."""

    request: Literal["participant"] = "participant"
    action: Literal["release"] = "release"
    participant: Code


class BaselineRequest(Request):
    """Begin or end learning what this person's face reads at rest."""

    request: Literal["baseline"] = "baseline"
    action: Literal["start", "stop"]
    participant: Code


class TimeRequest(Request):
    """Tell the daemon's clocks, at receipt and at reply: four times give offset and its error."""

    request: Literal["time"] = "time"


class StatusRequest(Request):
    """Tell the newest status message, and who is known."""

    request: Literal["status"] = "status"


class SchemaRequest(Request):
    """Tell the JSON Schema of every message."""

    request: Literal["schema"] = "schema"


_Participant = Annotated[AssignRequest | ReleaseRequest, Field(discriminator="action")]
AnyRequest = (
    MarkRequest | _Participant | BaselineRequest | TimeRequest | StatusRequest | SchemaRequest
)
_ANY: TypeAdapter[AnyRequest] = TypeAdapter(Annotated[AnyRequest, Field(discriminator="request")])


def decode_request(part: bytes) -> AnyRequest:
    """Return the request in ``part``.

    Raises:
        ValueError: it is none; the text says in one line why.
    """
    try:
        return _ANY.validate_json(part)
    except ValidationError as error:
        raise ValueError(told(error, tagged=True)) from error


def told(error: ValidationError, *, tagged: bool = False) -> str:
    """Return in one line what is wrong with a request first.

    ``tagged``: the error is of a request of any kind; pydantic then puts the kind, and of a
    participant's request the action, before the field.
    """
    found = first_error(error)
    steps = list(found.location)
    if tagged and steps:
        del steps[: 2 if steps[0] == "participant" else 1]
    where = ".".join(map(str, steps))
    message = found.message
    received = repr(found.received)
    shown = received if len(received) <= 80 else received[:77] + "..."
    if found.kind == "string_pattern_mismatch":
        message = "expected a letter or digit, then letters, digits, - and _, 32 in all at most"
    text = f"{where or 'request'}: {message} (received {shown})"
    if found.kind == "extra_forbidden":
        text = f"{where}: unknown field"
    return "".join(sign if sign.isprintable() else "?" for sign in text)[:_LINE_MAX]
