"""Requests to a daemon's service socket, and the form of its replies.

One request, one reply, both one part with a JSON object. ``request`` names the request; unknown
fields are refused, so that a misspelt field is not silently ignored. A reply has ``ok``: true with
the requested data, or false with ``code``, a ``RefusalCode``, and ``error``, one line of text.

::

    {"request": "mark", "text": "pressure 2.8 bar"}
    {"request": "participant", "action": "assign", "track": 4, "participant": "P07"}
    {"request": "participant", "action": "assign", "seat": "left", "participant": "P07"}
    {"request": "participant", "action": "release", "participant": "P07"}
    {"request": "baseline", "action": "start", "participant": "P07"}
    {"request": "baseline", "action": "stop", "participant": "P07"}
    {"request": "session", "action": "begin", "name": "P07-first", "note": "mask 2"}
    {"request": "session", "action": "end"}
    {"request": "session", "action": "list"}
    {"request": "erase", "session": "P07-first"}
    {"request": "time"}
    {"request": "status"}
    {"request": "schema"}
    {"request": "fetch", "name": "log", "stream": "UUID", "epoch": 3, "seq": 1041, "max": 500}
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from edge.codes import Code, SeatName, SessionName
from edge.errors import RefusalCode, RequestRefused
from edge.validation import Invalid, first_error

_ERROR_MAX: Final = 300
"""Longest error text, characters."""


def _require_one_line(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("expected one line of printable text")
    return text.strip()


def _optional_line(text: str) -> str:
    return _require_one_line(text) if text else text


def _require_session(word: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", word):
        raise ValueError("expected the name or the id of a session")
    return word


def _require_consumer(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise ValueError(
            "expected 1 to 64 letters, digits, _, . and -, the first a letter or digit, such as"
            " log-1"
        )
    return name


def _require_instance(instance: str) -> str:
    if not re.fullmatch(r"[0-9a-f-]{1,36}", instance):
        raise ValueError("expected 1 to 36 hexadecimal digits and -, such as a UUID")
    return instance


MarkText = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_require_one_line)]


FETCH_MAX: Final = 500
"""Messages in one reply to ``fetch``, at most."""

FETCH_BYTES_MAX: Final = 512 << 10
"""Size of a reply to ``fetch``, bytes, at most; one message may exceed it."""

ConsumerName = Annotated[str, AfterValidator(_require_consumer)]
"""Name of a consumer, such as a logger: letters, digits, ``_``, ``.`` and ``-``."""


class Request(BaseModel):
    """A request: strict, unknown fields refused, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class MarkRequest(Request):
    """Publish the event ``mark`` with a text."""

    request: Literal["mark"] = "mark"
    text: MarkText


class AssignRequest(Request):
    """From the next frame on, the face on ``track`` belongs to the participant with this code.

    Or, with seats in ``[zones]``: whoever sits on ``seat``. Exactly one of the two is given.
    """

    request: Literal["participant"] = "participant"
    action: Literal["assign"] = "assign"
    track: Annotated[int, Field(ge=0, le=2**53)] | None = None
    seat: SeatName | None = None
    participant: Code

    @model_validator(mode="after")
    def _one_place(self) -> "AssignRequest":
        if (self.track is None) == (self.seat is None):
            raise ValueError("expected either track, a number, or seat, a name")
        return self


class ReleaseRequest(Request):
    """Forget the participant with this code, and its baseline."""

    request: Literal["participant"] = "participant"
    action: Literal["release"] = "release"
    participant: Code


class BaselineRequest(Request):
    """Start or stop learning the participant's neutral baseline."""

    request: Literal["baseline"] = "baseline"
    action: Literal["start", "stop"]
    participant: Code


class PreviewRequest(Request):
    """Open or close the preview, or return its newest picture: a small JPEG, base64.

    Only where ``[preview]`` allows it, and with keys only for operators.
    """

    request: Literal["preview"] = "preview"
    action: Literal["open", "picture", "close"]


class BeginSessionRequest(Request):
    """Begin a session: a named stretch of the record."""

    request: Literal["session"] = "session"
    action: Literal["begin"] = "begin"
    name: SessionName
    note: Annotated[str, Field(max_length=300), AfterValidator(_optional_line)] = ""


class EndSessionRequest(Request):
    """End the running session, and with it the codes that were assigned to seats."""

    request: Literal["session"] = "session"
    action: Literal["end"] = "end"


class ListSessionsRequest(Request):
    """Return the sessions, the oldest first."""

    request: Literal["session"] = "session"
    action: Literal["list"] = "list"


class EraseRequest(Request):
    """Erase all messages of an ended session, given by its name or its id, from the journal.

    Erasing takes a while: ask again until the reply's ``state`` is ``erased``.
    """

    request: Literal["erase"] = "erase"
    session: Annotated[str, AfterValidator(_require_session)]


class TimeRequest(Request):
    """Return the daemon's clocks at receipt and at reply.

    With the client's own two times, they give the clock offset and its error bound.
    """

    request: Literal["time"] = "time"


class StatusRequest(Request):
    """Return the newest status message, and the known participants."""

    request: Literal["status"] = "status"


class SchemaRequest(Request):
    """Return the JSON Schema of every message."""

    request: Literal["schema"] = "schema"


class FetchRequest(Request):
    """Return the stored messages after a cursor, and acknowledge all messages up to it.

    The request changes nothing but the acknowledgement, so it may be repeated. The reply has

    - ``stream``: the daemon's stream, ``epoch`` and ``last_seq``: of the newest message;
    - ``oldest``: ``{epoch, seq}`` of the oldest stored message, null if there is none;
    - ``gap``: null, or ``{epoch, first_missing, last_missing, reason}``: messages after the cursor
      that are not stored any more; ``last_missing`` is null where their number is not known;
    - ``next``: ``{epoch, seq}``, the cursor after this reply;
    - ``caught_up``: whether ``next`` is the newest message;
    - ``messages``: frames and events as published, in order, all of one epoch and after ``gap``.
      Each is on a line of its own, so that its bytes can be kept as they are.

    Attributes:
        name: of the consumer, for its acknowledgement; None: acknowledge nothing.
        instance: changes with each process of the consumer, so that two with one name are noticed.
        stream: of the cursor; None, or another than the daemon's: start at the oldest message.
        epoch: of the cursor.
        seq: of the cursor; -1: before the first message of ``epoch``.
        max: number of messages to return at most; 0: only acknowledge.
        wait_s: if there is no newer message, wait up to this long for one.
    """

    request: Literal["fetch"] = "fetch"
    name: ConsumerName | None = None
    instance: Annotated[str, AfterValidator(_require_instance)] | None = None
    stream: Annotated[str, Field(max_length=36)] | None = None
    epoch: Annotated[int, Field(ge=0, le=2**53)] = 0
    seq: Annotated[int, Field(ge=-1, le=2**53)] = -1
    max: Annotated[int, Field(ge=0, le=FETCH_MAX)] = FETCH_MAX
    wait_s: Annotated[float, Field(ge=0, le=1, strict=False)] = 0.0


_Participant = Annotated[AssignRequest | ReleaseRequest, Field(discriminator="action")]
_Session = Annotated[
    BeginSessionRequest | EndSessionRequest | ListSessionsRequest, Field(discriminator="action")
]
AnyRequest = (
    MarkRequest
    | _Participant
    | BaselineRequest
    | PreviewRequest
    | _Session
    | EraseRequest
    | TimeRequest
    | StatusRequest
    | SchemaRequest
    | FetchRequest
)
READING: Final = (TimeRequest, StatusRequest, SchemaRequest, FetchRequest, ListSessionsRequest)
"""Requests that change nothing in the record; the others are an operator's."""

_ANY: TypeAdapter[AnyRequest] = TypeAdapter(Annotated[AnyRequest, Field(discriminator="request")])


_REQUESTS: Final = (
    *("mark", "participant", "baseline", "session", "erase", "preview"),
    *("time", "status", "schema", "fetch"),
)
_ACTIONS: Final = {"participant": ("assign", "release"), "session": ("begin", "end", "list")}
_FIELDS: Final = {
    ("mark",): MarkRequest.model_fields,
    ("participant", "assign"): AssignRequest.model_fields,
    ("participant", "release"): ReleaseRequest.model_fields,
    ("baseline",): BaselineRequest.model_fields,
    ("preview",): PreviewRequest.model_fields,
    ("session", "begin"): BeginSessionRequest.model_fields,
    ("session", "end"): EndSessionRequest.model_fields,
    ("session", "list"): ListSessionsRequest.model_fields,
    ("erase",): EraseRequest.model_fields,
    ("time",): TimeRequest.model_fields,
    ("status",): StatusRequest.model_fields,
    ("schema",): SchemaRequest.model_fields,
    ("fetch",): FetchRequest.model_fields,
}
_CODE_OF_TEXT: Final[Mapping[str, RefusalCode]] = {
    "request: expected one of": "unknown_request",
    "the cursor is ahead of the stream": "cursor_ahead",
    "another process fetches as": "name_taken",
}
_MESSAGES: Final = {
    "missing": "required, and not there",
    "string_type": "expected a string",
    "string_too_short": "expected text that is not empty",
    "string_too_long": "expected at most {max_length} characters",
    "int_type": "expected a whole number",
    "greater_than_equal": "expected {ge} or more",
    "less_than_equal": "expected {le} or less",
    "json_invalid": "expected a JSON object: {error}",
    "model_attributes_type": "expected a JSON object",
    "dict_type": "expected a JSON object",
}
"""Type of a pydantic error -> what is expected instead."""


def decode_request(part: bytes) -> AnyRequest:
    """Return the request in ``part``.

    Raises:
        RequestRefused: ``part`` is not a request; the text says why in one line.
    """
    try:
        return _ANY.validate_json(part)
    except ValidationError as error:
        is_unknown = first_error(error).kind == "union_tag_invalid"
        code: RefusalCode = "unknown_request" if is_unknown else "bad_request"
        raise RequestRefused(error_line(error, tagged=True), code=code) from error


def refusal_of(reply: Mapping[str, Any]) -> RequestRefused:
    """Return the refusal in a reply whose ``ok`` is false.

    Raises:
        LookupError: it has no ``error``.
    """
    text, code = str(reply["error"]), reply.get("code")
    if code is None:  # of a daemon that gives no codes
        found = (each for begin, each in _CODE_OF_TEXT.items() if text.startswith(begin))
        code = next(found, None)
    return RequestRefused(text, code=code if code in get_args(RefusalCode) else None)


def error_line(error: ValidationError, *, tagged: bool = False) -> str:
    """Return the first error of a request in one line.

    Args:
        error: from validating a request.
        tagged: it was validated as ``AnyRequest``. Pydantic then puts the kind of request before
            the field, and also the action if the request has several.
    """
    found = first_error(error)
    location = list(found.location)
    tags: tuple[str, ...] = ()
    if tagged and location:
        count = 2 if location[0] in _ACTIONS else 1
        tags, location = tuple(map(str, location[:count])), location[count:]
    if found.kind.startswith("union_tag"):
        location = [found.context["discriminator"].strip("'")]
    where = ".".join(map(str, location)) or "request"
    text = f"{where}: {_expected(found, tags)}"
    received = found.context.get("tag", found.received)
    if found.kind not in ("extra_forbidden", "missing", "union_tag_not_found"):
        shown = repr(received)
        text += f" (received {shown if len(shown) <= 80 else shown[:77] + '...'})"
    return "".join(each if each.isprintable() else "?" for each in text)[:_ERROR_MAX]


def _expected(found: Invalid, tags: tuple[str, ...]) -> str:
    kind, context = found.kind, found.context
    if kind == "extra_forbidden":
        return f"unknown field; expected {', '.join(_FIELDS[tags])}" if tags else found.message
    if kind == "literal_error" or kind.startswith("union_tag"):
        words = re.findall(
            r"'([^']*)'", context.get("expected") or context.get("expected_tags", "")
        )
        if not words:  # pydantic does not list the tags where there is none
            words = [*_ACTIONS.get(tags[0] if tags else "", _REQUESTS)]
        return f"expected one of {', '.join(words)}"
    return _MESSAGES[kind].format(**context) if kind in _MESSAGES else found.message
