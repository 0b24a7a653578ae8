"""The web application: the page's files, its updates, and its buttons."""

import asyncio
import json
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from edge import __version__
from edge.dashboard.commands import Refused, parse, send
from edge.dashboard.state import State
from edge.dashboard.tokens import Sessions, Tries
from edge.dashboard.viewers import Viewers
from edge.dashboard.web_guard import HostCheck, WebGuard

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PUBLIC: Final = ("style.css", "login.js", "api.js", "theme.js", "icon.svg")  # of the login page
_COMMANDS_MAX: Final = 8  # at a time: each waits for a daemon in a thread

_BODY_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class PageSettings:
    """What the operator's command line says about the page.

    Attributes:
        marks: texts of the keys 1 to 9.
        is_tls: the server speaks TLS, so cookies are for TLS only.
        viewers_max: at a time.
    """

    marks: tuple[str, ...] = ()
    is_tls: bool = False
    viewers_max: int = 16


@dataclass(slots=True)
class _Page:
    state: State
    sessions: Sessions
    viewers: Viewers
    settings: PageSettings
    cookie: str
    static: dict[str, tuple[bytes, str]]
    tries: Tries = field(default_factory=Tries)
    commands: int = 0

    async def index(self, request: Request) -> Response:
        name = "index.html" if request.state.is_open else "login.html"
        return Response(self.static[name][0], media_type="text/html")

    async def file(self, request: Request) -> Response:
        found = self.static.get(request.path_params["path"])
        if found is None:
            return JSONResponse({"error": "no such file"}, status_code=404)
        body, kind = found
        return Response(body, headers={"content-type": kind, "cache-control": "no-cache"})

    async def stream(self, request: Request) -> Any:
        if self.viewers.is_full:
            text = f"{self.settings.viewers_max} viewers are connected already; close one of them"
            return JSONResponse({"error": text}, status_code=503)
        secret = request.state.session
        last_id = request.headers.get("last-event-id", "")
        return self.viewers.response(last_id, lambda: self.sessions.is_open(secret))

    async def history(self, request: Request) -> Response:
        query = request.query_params
        points = self.state.history(query.get("chamber", ""), query.get("card", ""))
        if points is None:
            return JSONResponse({"error": "no such card"}, status_code=404)
        columns = [list(column) for column in zip(*points, strict=True)] or [[], [], []]
        return JSONResponse(columns)

    async def aim(self, request: Request) -> Response:
        advice = self.state.advice(request.query_params.get("chamber", ""))
        if advice is None:
            return JSONResponse({"error": "no such chamber"}, status_code=404)
        return JSONResponse({"advice": advice})

    async def about(self, _request: Request) -> Response:
        return JSONResponse(
            {
                "version": __version__,
                "marks": self.settings.marks,
                "token": self.sessions.needs_token,
            }
        )

    async def command(self, request: Request) -> Response:
        try:
            command = parse(await _body(request))
            if self.commands >= _COMMANDS_MAX:
                raise Refused(503, "too many requests wait for daemons; try again")
            self.commands += 1
            try:
                service = self.state.service_of(command.chamber)
                reply = await asyncio.to_thread(send, service, command.request)
            finally:
                self.commands -= 1
        except Refused as refusal:
            return JSONResponse({"error": str(refusal)}, status_code=refusal.status)
        return JSONResponse(reply)

    async def preview(self, request: Request) -> Response:
        return await self.viewers.previews.answer(await _body(request))

    async def login(self, request: Request) -> Response:
        address = request.client.host if request.client else ""
        if (wait_s := self.tries.wait_s(address)) > 0:
            return JSONResponse(
                {"error": f"too many wrong tokens; try again in {wait_s:.0f} s"},
                status_code=429,
                headers={"retry-after": str(max(1, round(wait_s)))},
            )
        try:
            given = json.loads(await _body(request))
            secret = self.sessions.begin(given["token"])
        except (ValueError, LookupError, TypeError, AttributeError):
            secret = None
        if secret is None:
            self.tries.note_wrong(address)
            return JSONResponse({"error": "that is not the token"}, status_code=401)
        self.tries.note_right(address)
        response = JSONResponse({"ok": True})
        response.set_cookie(
            self.cookie,
            secret,
            path="/",
            httponly=True,
            samesite="strict",
            secure=self.settings.is_tls,
        )
        return response

    async def logout(self, request: Request) -> Response:
        self.sessions.end(request.state.session)
        response = JSONResponse({"ok": True})
        response.delete_cookie(
            self.cookie, path="/", httponly=True, samesite="strict", secure=self.settings.is_tls
        )
        return response


def make_app(
    state: State, sessions: Sessions, viewers: Viewers, hosts: HostCheck, settings: PageSettings
) -> ASGIApp:
    """Return the ASGI application."""
    # the prefix makes browsers refuse a cookie that another host or a path set
    cookie = "__Host-affect-edge" if settings.is_tls else "affect-edge"
    page = _Page(state, sessions, viewers, settings, cookie, _static_files())
    routes = [
        Route("/", page.index),
        Route("/static/{path:path}", page.file),
        Route("/api/stream", page.stream),
        Route("/api/history", page.history),
        Route("/api/aim", page.aim),
        Route("/api/about", page.about),
        Route("/api/command", page.command, methods=["POST"]),
        Route("/api/preview", page.preview, methods=["POST"]),
        Route("/api/login", page.login, methods=["POST"]),
        Route("/api/logout", page.logout, methods=["POST"]),
    ]
    app = Starlette(routes=routes, exception_handlers={ClientDisconnect: _no_answer})
    public = frozenset({"/", "/api/login", *(f"/static/{name}" for name in _PUBLIC)})
    return WebGuard(app, hosts, sessions.is_open, public, cookie)


async def _body(request: Request) -> bytes:
    try:
        return await asyncio.wait_for(request.body(), _BODY_S)
    except TimeoutError as error:
        raise ClientDisconnect from error


async def _no_answer(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


def _static_files() -> dict[str, tuple[bytes, str]]:
    """Return the files of the page with their types, by path: some 300 KB."""
    found: dict[str, tuple[bytes, str]] = {}
    folders = [("", files("edge.dashboard") / "static")]
    while folders:
        prefix, folder = folders.pop()
        for each in folder.iterdir():
            kind = _TYPES.get(f".{each.name.rpartition('.')[2]}")
            if each.is_dir():
                folders.append((f"{prefix}{each.name}/", each))
            elif kind is not None:
                found[prefix + each.name] = (each.read_bytes(), kind)
    return found
