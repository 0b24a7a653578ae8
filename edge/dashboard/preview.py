"""The daemon's preview, passed on to the one viewer of the page who opened it.

A picture is asked for when that viewer asks for one, is sent to it, and is not kept. The preview is
closed when the viewer closes it, has not asked for ``LEASE_S`` (a browser that crashed), or this
server ends; by itself the daemon closes it after ``preview.minutes``.
"""

import asyncio
import base64
import contextlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import JSONResponse, Response

from edge.clock import monotonic_ns
from edge.dashboard.commands import Refused, send
from edge.dashboard.state import State
from edge.protocol.requests import PreviewRequest, error_line

PERIOD_S: Final = 0.5
"""Shortest time between two pictures of a chamber; the daemon makes no more."""

LEASE_S: Final = 10.0
"""A viewer that has asked for no picture for so long is gone."""

_WATCH_S: Final = 0.5
_FETCHES_MAX: Final = 4  # at a time, of all chambers: each waits for a daemon in a thread
_CLOSE_S: Final = 1.0  # a daemon that does not answer closes it by itself
_BYTES_MAX: Final = 1 << 20
_JPEG: Final = b"\xff\xd8\xff"

_OFF: Final = (
    "the daemon's configuration does not allow pictures: set preview.enabled = true there, and"
    " start it anew"
)
_OTHER: Final = (
    "somebody else has opened the picture of this camera, and only one viewer can see it; try again"
    " when it is closed"
)
_CLOSED: Final = "the picture is closed: its time is over, or it was closed elsewhere"
_RIGHTS: Final = (
    "this page may not show the picture: its key is not in security.operators of the daemon's"
    " configuration"
)


class _Asked(BaseModel):
    """The body of a request: what a viewer wants; ``viewer`` is the word that ``open`` gave it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    chamber: Annotated[str, Field(max_length=16)]
    action: Literal["open", "picture", "close"]
    viewer: Annotated[str, Field(max_length=64)] = ""


@dataclass(slots=True)
class _Opened:
    viewer: str
    service: str
    until_ns: int
    asked_ns: int
    fetched_ns: int = 0
    is_fetching: bool = False


class Previews:
    """Who sees which chamber's pictures. Only for the event loop.

    Args:
        state: knows the chambers' services.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._opened: dict[str, _Opened] = {}  # by chamber
        self._fetches = 0
        self._is_stopping = asyncio.Event()

    async def answer(self, body: bytes) -> Response:
        """Answer a viewer's request: ``{"chamber", "action", "viewer"}``.

        ``open`` gives ``viewer``, a word for the requests that follow, and ``left_s``; ``picture``
        a JPEG with the headers ``x-left-s`` and ``x-age-s`` (204: none has come yet). A refusal has
        ``error``, one line for the viewer; after 403, 409 and 410 the viewer has to open it again.
        """
        try:
            asked = _Asked.model_validate_json(body)
        except ValidationError as error:
            return JSONResponse({"error": error_line(error)}, status_code=422)
        try:
            if asked.action == "open":
                return JSONResponse(await self._open(asked.chamber))
            opened = self._opened.get(asked.chamber)
            is_viewer = opened is not None and hmac.compare_digest(
                opened.viewer.encode(), asked.viewer.encode()
            )
            if asked.action == "close":
                if opened is not None and is_viewer:
                    await self._close(asked.chamber, opened)
                return JSONResponse({"ok": True})
            if opened is None or not is_viewer:
                raise Refused(410, _CLOSED)
            return await self._picture(asked.chamber, opened)
        except Refused as refusal:
            return JSONResponse({"error": str(refusal)}, status_code=refusal.status)

    def stop(self) -> None:
        """Let ``watch`` end."""
        self._is_stopping.set()

    async def watch(self) -> None:
        """Close what nobody looks at any more, until ``stop``; then all."""
        while not self._is_stopping.is_set():
            now_ns = monotonic_ns()
            await self._close_all(
                {
                    name: each for name, each in self._opened.items()
                    if now_ns - each.asked_ns > LEASE_S * 1e9 and not each.is_fetching
                }
            )  # fmt: skip
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_stopping.wait(), _WATCH_S)
        await self._close_all(self._opened)

    async def _close_all(self, opened: dict[str, _Opened]) -> None:
        await asyncio.gather(*(self._close(name, each) for name, each in [*opened.items()]))

    async def _open(self, chamber: str) -> dict[str, Any]:
        held = self._opened.get(chamber)
        if self._is_stopping.is_set():
            raise Refused(503, "the page's server ends")
        if held is not None and monotonic_ns() < held.until_ns:
            raise Refused(409, _OTHER)
        service = self._state.service_of(chamber)
        reply = await self._ask(service, "open")
        now_ns = monotonic_ns()
        left_s = float(reply.get("left_s") or 0.0)
        opened = _Opened(
            viewer=secrets.token_urlsafe(24),
            service=service or "",
            until_ns=now_ns + round(left_s * 1e9),
            asked_ns=now_ns,
        )
        self._opened[chamber] = opened
        if self._is_stopping.is_set():  # meanwhile; nobody would close it
            await self._close(chamber, opened)
        return {"viewer": opened.viewer, "left_s": left_s}

    async def _picture(self, chamber: str, opened: _Opened) -> Response:
        opened.asked_ns = monotonic_ns()
        if opened.is_fetching or self._fetches >= _FETCHES_MAX:
            raise Refused(429, "a picture is being fetched; ask again")
        opened.is_fetching = True
        self._fetches += 1
        try:
            wait_s = PERIOD_S - (monotonic_ns() - opened.fetched_ns) / 1e9
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            opened.fetched_ns = monotonic_ns()
            reply = await self._ask(opened.service, "picture")
        except Refused as refusal:
            if refusal.status == 425:
                return Response(status_code=204)
            if refusal.status in (403, 409, 410):
                self._forget(chamber, opened)
            raise
        finally:
            opened.is_fetching = False
            self._fetches -= 1
        left_s = float(reply.get("left_s") or 0.0)
        # it was closed meanwhile, or another program has closed it and opened it for itself
        is_other = left_s > (opened.until_ns - monotonic_ns()) / 1e9 + 1.0
        if is_other or self._opened.get(chamber) is not opened:
            self._forget(chamber, opened)
            raise Refused(410, _CLOSED)
        headers = {"x-left-s": f"{left_s:.1f}", "x-age-s": f"{float(reply.get('age_s') or 0):.1f}"}
        return Response(_jpeg(reply), media_type="image/jpeg", headers=headers)

    async def _close(self, chamber: str, opened: _Opened) -> None:
        self._forget(chamber, opened)
        if monotonic_ns() < opened.until_ns:
            with contextlib.suppress(Refused):  # the daemon has closed it, or will
                await self._ask(opened.service, "close", _CLOSE_S)

    def _forget(self, chamber: str, opened: _Opened) -> None:
        if self._opened.get(chamber) is opened:
            del self._opened[chamber]

    async def _ask(
        self,
        service: str | None,
        action: Literal["open", "picture", "close"],
        timeout_s: float = 3.0,
    ) -> dict[str, Any]:
        try:
            return await asyncio.to_thread(send, service, PreviewRequest(action=action), timeout_s)
        except Refused as refusal:
            raise _in_words(refusal) from refusal


def _in_words(refusal: Refused) -> Refused:
    """Return a daemon's refusal as it concerns a viewer of the page."""
    match refusal.code:
        case "read_only":
            return Refused(403, _RIGHTS)
        case "preview_off":
            return Refused(409, _OFF)
        case "preview_open":
            return Refused(409, _OTHER)
        case "preview_closed":
            return Refused(410, _CLOSED)
        case "no_picture":
            return Refused(425, "no picture has come yet")
    return refusal


def _jpeg(reply: dict[str, Any]) -> bytes:
    try:
        jpeg = base64.b64decode(reply["jpeg"], validate=True)
    except (LookupError, TypeError, ValueError) as error:
        raise Refused(502, "the daemon's reply has no picture") from error
    if not jpeg.startswith(_JPEG) or len(jpeg) > _BYTES_MAX:
        raise Refused(502, "the daemon's reply has no picture")
    return jpeg
