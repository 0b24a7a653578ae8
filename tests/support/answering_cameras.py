"""Network cameras that answer, but not with video: real servers on this machine."""

import hashlib
import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2
import numpy as np

USER, PASSWORD = "admin", "S3cret:/"
CODED_PASSWORD = "S3cret%3A%2F"  # as it stands in an address
REALM, NONCE = "camera", "8b5cf2b1"


@dataclass
class Requests:
    """What a server has received.

    Attributes:
        port: where it listens.
        lines: the first line of each request.
        authorizations: the header of that name, by request; empty if there is none.
    """

    port: int = 0
    lines: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)


Reply = Callable[[str, dict[str, str]], bytes | Iterator[bytes]]
"""Returns the bytes, or parts of them, for a request, given its first line and its headers."""


@contextmanager
def serving(reply: Reply, *, keep_open: bool = False) -> Iterator[Requests]:
    """Answer requests on a free port; HTTP connections end after an answer, RTSP ones do not."""
    requests = Requests()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline().decode().strip():
                pairs = iter(lambda: self.rfile.readline().decode().strip(), "")
                headers = {k.lower(): v.strip() for k, _, v in (p.partition(":") for p in pairs)}
                requests.lines.append(line)
                requests.authorizations.append(headers.get("authorization", ""))
                try:
                    answer = reply(line, headers)
                    for part in [answer] if isinstance(answer, bytes) else answer:
                        self.wfile.write(part)
                except OSError:
                    return
                if not keep_open:
                    return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        requests.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield requests
        finally:
            server.shutdown()
            thread.join()


def http(status: str, content_type: str = "", body: bytes = b"", **headers: str) -> bytes:
    """Return an HTTP answer."""
    lines = {**({"Content-Type": content_type} if content_type else {}), **headers}
    text = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    head = f"HTTP/1.1 {status}\r\n{text}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def jpeg(number: int) -> bytes:
    """Return a picture of noise as JPEG."""
    noise = np.random.default_rng(number).integers(0, 256, (48, 64), np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


def mjpeg(pictures: int, *, damaged: int | None = None) -> bytes:
    """Return an HTTP answer of some pictures, as MJPEG cameras send them; one may be damaged."""
    contents = [bytes(1000) if number == damaged else jpeg(number) for number in range(pictures)]
    parts = b"".join(
        b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n"
        % (len(data), data)
        for data in contents
    )
    kind = "multipart/x-mixed-replace; boundary=frame"
    return f"HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode() + parts


def is_authorized(line: str, header: str, *, qop: bool = False) -> bool:
    """Return whether a Digest header proves user and password for a request."""
    fields = dict(re.findall(r'(\w+)="?([^",]*)"?', header))

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()

    method, target, _ = line.split(" ")
    first, second = md5(USER, REALM, PASSWORD), md5(method, target)
    middle = (fields.get("nc", ""), fields.get("cnonce", ""), "auth") if qop else ()
    return (
        header.startswith("Digest ")
        and (fields.get("username"), fields.get("uri")) == (USER, target)
        and fields.get("response") == md5(first, NONCE, *middle, second)
    )


VIDEO = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n"
AUDIO = "m=audio 0 RTP/AVP 0\r\na=control:audio\r\n"


def rtsp(
    *, describe: str = "200 OK", setup: str = "200 OK", media: str = VIDEO, digest: bool = False
) -> Reply:
    """Return the answers of an RTSP camera: status lines, and media of its description."""

    def reply(line: str, headers: dict[str, str]) -> bytes:
        method = line.partition(" ")[0]
        status, extra, body = "200 OK", "", ""
        if digest and not is_authorized(line, headers.get("authorization", "")):
            status = "401 Unauthorized"
            extra = f'WWW-Authenticate: Digest realm="{REALM}", nonce="{NONCE}"\r\n'
            extra += 'WWW-Authenticate: Basic realm="camera"\r\n'
        elif method == "DESCRIBE":
            status = describe
            body = f"v=0\r\ns=camera\r\nt=0 0\r\n{media}" if status.startswith("200") else ""
            extra = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        elif method == "SETUP":
            status = setup
        return f"RTSP/1.0 {status}\r\nCSeq: {headers['cseq']}\r\n{extra}\r\n{body}".encode()

    return reply
