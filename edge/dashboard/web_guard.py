"""What every request has to pass, and the headers of every response.

- ``Host`` must name this server: else a foreign page could reach it by a name of its own that it
  lets point here (DNS rebinding).
- A request that changes something must come from a page of this server (``Origin``,
  ``Sec-Fetch-Site``), and be JSON, which no form can send.
- Beyond this machine, a session is needed for everything but the files of the login page.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge import config
from edge.errors import ConfigError

BODY_MAX: Final = 8192
"""Largest body of a request, bytes."""

_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")
_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none';"
    " form-action 'self'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), interest-cohort=()",
    "cache-control": "no-store",
}
_SAFE: Final = ("GET", "HEAD")


class HostCheck:
    """Decides which ``Host`` headers are accepted.

    Args:
        bound: the host part of ``--bind``, without brackets.
        allowed: further names, of ``--allow-host``.

    Raises:
        ConfigError: a name is none.
    """

    def __init__(self, bound: str, allowed: Sequence[str]) -> None:
        for name in allowed:
            if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
                raise ConfigError(
                    f"--allow-host {name!r}: expected the name by which browsers reach this"
                    " machine, such as lab-pc.example.org, without scheme and port"
                )
        self.is_loopback = is_loopback(bound)
        names = {*_LOOPBACK_NAMES, *(each.lower() for each in allowed)}
        if self._is_address(bound):
            names.add(f"[{bound}]" if ":" in bound else bound)
        self._names = frozenset(names)

    def accepts(self, host: str) -> bool:
        """Return whether a ``Host`` header names this server.

        A literal address is accepted where every address is bound: a page of another site has a
        name of its own, not our address.
        """
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].lower().rstrip(".")
        if name in self._names:
            return True
        return not self.is_loopback and self._is_address(name.strip("[]"))

    @staticmethod
    def _is_address(text: str) -> bool:
        try:
            ipaddress.ip_address(text)
        except ValueError:
            return False
        return True


def is_loopback(host: str) -> bool:
    """Return whether only this machine can connect to an address that is bound."""
    return config.is_loopback(f"[{host}]:1" if ":" in host else f"{host}:1")


class WebGuard:
    """ASGI middleware with all these checks.

    Args:
        app: the application.
        hosts: checks the ``Host`` header.
        is_open: whether a session secret (None: none was sent) may see the page.
        public: paths of files that are served without a session.
        cookie: name of the cookie with the secret.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: HostCheck,
        is_open: Callable[[str | None], bool],
        public: frozenset[str],
        cookie: str,
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._is_open = is_open
        self._public = public
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        secret = cookie_of(headers, self._cookie)
        scope["state"] = {"session": secret, "is_open": self._is_open(secret)}
        refusal = self._refusal(scope, headers)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (k.encode(), v.encode())
                        for k, v in _HEADERS.items()
                        if k.encode() not in given
                    ),
                ]
            await send(message)

        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        if len(headers.getlist("host")) != 1 or not self._hosts.accepts(headers["host"]):
            return _refuse(421, "this server does not answer to that host name; see --allow-host")
        if scope["method"] not in _SAFE and (refusal := _cross_site(scope, headers)):
            return refusal
        if not scope["state"]["is_open"] and scope["path"] not in self._public:
            return _refuse(401, "a token is needed; load the page anew")
        return None


def _cross_site(scope: Scope, headers: Headers) -> Response | None:
    """Return the refusal of a request that changes something, but is not from our page."""
    if scope["method"] != "POST":
        return _refuse(405, "expected GET or POST")
    site = headers.get("sec-fetch-site")
    if site not in (None, "same-origin"):
        return _refuse(403, "a page of another site may not do this")
    # the scheme is the browser's: a proxy may end TLS before this server
    if headers.get("origin", "").lower() not in (
        f"{scheme}://{headers['host']}".lower() for scheme in ("http", "https")
    ):
        return _refuse(403, "a page of another origin may not do this")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return _refuse(415, "expected application/json")
    length = headers.get("content-length", "")
    if not length.isdigit() or int(length) > BODY_MAX:
        return _refuse(413, f"expected a body of at most {BODY_MAX} bytes, with its length")
    return None


def cookie_of(headers: Headers, name: str) -> str | None:
    """Return the value of a cookie; None without it."""
    # not by SimpleCookie: a name or value that it does not accept, of another application on this
    # machine, hides all cookies after it
    for each in headers.get("cookie", "").split(";"):
        found, _, value = each.strip().partition("=")
        if found.rstrip() == name:
            return value.strip().strip('"')
    return None


def _refuse(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status_code=status)
