"""Finds out why a network camera gives no video: asks it as FFmpeg does, and reads the answer.

FFmpeg reports only that it cannot open an address, not why. This is one more connection, so ask
only after a failure.
"""

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urljoin, urlsplit

from edge.clock import monotonic_ns
from edge.config import StreamSource
from edge.vision.sources.http_messages import Answer, NotThisProtocol, Request, left_s

_PORTS: Final = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}
_REDIRECTS_MAX: Final = 3
_CONNECTION_ERRORS: Final = {
    socket.gaierror: "its host name cannot be resolved; check it, or use the number of the host",
    ConnectionRefusedError: "nothing listens at its port; check host and port of the address",
    PermissionError: "this process may not connect to it; add IPAddressAllow to the unit's drop-in",
    TimeoutError: "it does not answer in time; check host, port, power and network",
    ssl.SSLError: "it does not speak TLS at its port; expected rtsp:// or http://, or another port",
}


def diagnose(config: StreamSource, timeout_s: float) -> str | None:
    """Return why a camera gives no video, and the remedy, in one line; None if it is not known.

    The line contains nothing of the address. Waits ``timeout_s`` at most, longer only for names
    that DNS resolves slowly.
    """
    deadline_ns = monotonic_ns() + round(timeout_s * 1e9)
    try:
        if config.url.startswith("http"):
            return _diagnose_http(config.url, deadline_ns)
        return _diagnose_rtsp(config.url, config.transport, deadline_ns)
    except NotThisProtocol as error:
        return str(error)
    except OSError as error:
        known = (text for kind, text in _CONNECTION_ERRORS.items() if isinstance(error, kind))
        unknown = f"it cannot be reached ({error.strerror or error}); check power and network"
        proxy = "; http_proxy is not used for cameras" if "http_proxy" in os.environ else ""
        return next(known, unknown) + proxy
    except ValueError:
        return (
            "its address is not valid; expected scheme://HOST:PORT/PATH, and in a password %23 for"
            " #, %2F for /, %3F for ?"
        )


def _diagnose_http(url: str, deadline_ns: int) -> str | None:
    first = urlsplit(url)
    for _ in range(_REDIRECTS_MAX + 1):
        parts = urlsplit(url)
        # a password is for the camera alone
        request = Request("HTTP/1.1", first if parts.netloc == first.netloc else parts, deadline_ns)
        with _connected(url, deadline_ns) as connection:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            answer = request.send(connection, "GET", target)
            if answer.wants_credentials and request.authorize(answer, "GET", target):
                with _connected(url, deadline_ns) as again:
                    answer = request.send(again, "GET", target)
        if not (300 <= answer.status < 400 and "location" in answer.headers):
            return _refusal(answer, request) or _wrong_content(answer)
        url = urljoin(url, answer.headers["location"])
    return f"it redirects more than {_REDIRECTS_MAX} times; check the path of the address"


def _wrong_content(answer: Answer) -> str | None:
    kind = answer.content_type
    if kind.startswith("image/"):
        return (
            f"it answers with a single picture ({kind}); expected the address of a video stream,"
            " such as MJPEG or RTSP"
        )
    if kind.startswith("text/"):
        return (
            f"it answers with a page ({kind}), not with video; expected the address of the stream"
            " itself: see the camera's manual"
        )
    if kind.startswith("multipart/"):
        return "it announces MJPEG, but delivers no pictures in time (source.read_timeout_s)"
    return f"it answers with {kind}, which holds no video that can be decoded" if kind else None


def _diagnose_rtsp(url: str, transport: str, deadline_ns: int) -> str | None:
    parts = urlsplit(url)
    target = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    request = Request("RTSP/1.0", parts, deadline_ns)
    with _connected(url, deadline_ns) as connection:
        accept = {"Accept": "application/sdp"}
        answer = request.send(connection, "DESCRIBE", target, accept)
        if answer.wants_credentials and request.authorize(answer, "DESCRIBE", target):
            answer = request.send(connection, "DESCRIBE", target, accept)
        if refusal := _refusal(answer, request):
            return refusal
        control = _video_control(answer.body)
        if control is None:
            return "it offers no video there; check the path of the address"
        base = answer.headers.get("content-base", target)
        track = base if control in ("", "*") else urljoin(base.rstrip("/") + "/", control)
        transports = {
            "tcp": "RTP/AVP/TCP;unicast;interleaved=0-1",
            "udp": "RTP/AVP;unicast;client_port=50000-50001",
        }
        if request.has_challenge:
            request.authorize(None, "SETUP", track)
        answer = request.send(connection, "SETUP", track, {"Transport": transports[transport]})
    other = "udp" if transport == "tcp" else "tcp"
    if answer.status == 461:
        return f'it refuses the transport "{transport}" (461); set source.transport = "{other}"'
    if refusal := _refusal(answer, request):
        return refusal
    if transport == "udp":
        return 'its pictures do not arrive over UDP; set source.transport = "tcp"'
    return "it accepts the stream, but delivers no picture that can be decoded"


def _refusal(answer: Answer, request: Request) -> str | None:
    """Return why the camera refuses the request; None if it does not."""
    status = f"{answer.status} {answer.reason}".strip()
    if answer.status == 401:
        if request.has_credentials:
            return f"it refuses user and password of source.url ({status})"
        return f"it wants user and password, in source.url before the host ({status})"
    if answer.status == 403:
        return f"it refuses access ({status}); check user, password and its list of clients"
    if answer.status == 404:
        return f"it has no such stream ({status}); check the path of the address"
    if answer.status >= 300:
        return f"it refuses ({status}); check the address, and how many clients it allows"
    return None


def _video_control(description: str) -> str | None:
    """Return the control address of the first video in a session description; None if none."""
    control, in_video = "", False
    for line in description.splitlines():
        if line.startswith("m="):
            if in_video:
                break
            in_video = line.startswith("m=video")
        elif in_video and line.startswith("a=control:"):
            control = line.removeprefix("a=control:").strip()
    return control if in_video else None


@contextmanager
def _connected(url: str, deadline_ns: int) -> Iterator[socket.socket]:
    """Connect to the host of an address, directly, with a time limit for each wait."""
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or _PORTS.get(parts.scheme.lower(), 80))
    with socket.create_connection(address, timeout=left_s(deadline_ns)) as connection:
        connection.settimeout(left_s(deadline_ns))
        if parts.scheme.lower() in ("https", "rtsps"):
            context = ssl.create_default_context()
            context.check_hostname = False  # as FFmpeg: cameras have certificates of their own
            context.verify_mode = ssl.CERT_NONE
            with context.wrap_socket(connection, server_hostname=parts.hostname) as secure:
                yield secure
        else:
            yield connection
