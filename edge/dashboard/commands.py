"""The page's buttons: requests that change a daemon's record."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.client.ask import TIMEOUT_S, ask
from edge.errors import AffectEdgeError, RefusalCode, RequestRefused, ServiceUnavailable
from edge.protocol.requests import (
    AssignRequest,
    BaselineRequest,
    BeginSessionRequest,
    EndSessionRequest,
    MarkRequest,
    ReleaseRequest,
    Request,
    error_line,
)
from edge.validation import first_error

_Operators = (
    MarkRequest
    | Annotated[AssignRequest | ReleaseRequest, Field(discriminator="action")]
    | BaselineRequest
    | Annotated[BeginSessionRequest | EndSessionRequest, Field(discriminator="action")]
)


class Command(BaseModel):
    """What a button sends: a request, and the chamber whose daemon it is for."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    chamber: Annotated[str, Field(max_length=16)]
    request: Annotated[_Operators, Field(discriminator="request")]


class Refused(Exception):
    """A command that was not done; the text says why, for the operator.

    Attributes:
        status: of the HTTP response.
        code: of the daemon's refusal; None: it gave none, or it is not the daemon's.
    """

    def __init__(self, status: int, text: str, code: RefusalCode | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


def parse(body: bytes) -> Command:
    """Return the command in a body.

    Raises:
        Refused: it is none.
    """
    try:
        return Command.model_validate_json(body)
    except ValidationError as error:
        location = first_error(error).location
        tagged = "request" in location[:1] and len(location) > 1
        text = error_line(error).removeprefix("request.")
        for tag in location[1:3] if tagged else ():
            text = text.removeprefix(f"{tag}.")
        raise Refused(422, text) from error


def send(service: str | None, request: Request, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Send a request; return the daemon's reply. Waits: not for the event loop.

    Raises:
        Refused: the daemon refuses, or does not answer.
    """
    if service is None:
        raise Refused(503, "the daemon's service is not connected: start the page with --service")
    try:
        return ask(service, request, timeout_s)
    except RequestRefused as error:
        raise Refused(409, str(error), error.code) from error
    except ServiceUnavailable as error:
        raise Refused(504, str(error)) from error
    except AffectEdgeError as error:
        raise Refused(502, str(error)) from error
