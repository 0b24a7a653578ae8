"""One request and its answer in HTTP or RTSP, with Basic and Digest authentication.

The two protocols have the same form of messages. Formulas of Digest: RFC 2617, section 3.2.2.
"""

import base64
import hashlib
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, unquote

from edge.clock import elapsed_ms

_ANSWER_BYTES_MAX: Final = 65536
_STATUS: Final = re.compile(r"(HTTP|RTSP|ICY)(?:/[\d.]+)? +(\d{3}) ?([ -~]{0,40})")


class NotThisProtocol(Exception):
    """The answer is not of the protocol of the request; the text is for the user."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer.

    Attributes:
        status: code, such as 200.
        reason: text of the status line, printable and short.
        headers: by name in lower case.
        challenges: the texts of ``WWW-Authenticate``.
        body: as far as it was needed.
    """

    status: int
    reason: str
    headers: Mapping[str, str]
    challenges: tuple[str, ...]
    body: str

    @property
    def wants_credentials(self) -> bool:
        """Whether user and password are missing or wrong."""
        return self.status == 401

    @property
    def content_type(self) -> str:
        """The media type, without parameters, such as ``image/jpeg``; empty if unknown."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return kind if re.fullmatch(r"[a-z0-9.+-]+/[a-z0-9.+-]{1,60}", kind) else ""


class Request:
    """Sends requests to one camera, with the credentials of its address if it asks for them."""

    def __init__(self, protocol: str, address: SplitResult, deadline_ns: int) -> None:
        self._protocol = protocol
        self._deadline_ns = deadline_ns
        self._host = address.netloc.rpartition("@")[2]
        self._user = unquote(address.username or "")
        self._password = unquote(address.password or "")
        self._challenge = ""
        self._authorization = ""
        self._number = 0

    @property
    def has_credentials(self) -> bool:
        """Whether the address names a user."""
        return bool(self._user)

    @property
    def has_challenge(self) -> bool:
        """Whether the camera has asked for credentials."""
        return bool(self._challenge)

    def authorize(self, answer: Answer | None, method: str, target: str) -> bool:
        """Answer the challenge, or an earlier one, in further requests; return whether it can."""
        if answer is not None:
            known = [c for c in answer.challenges if c.lower().startswith(("digest ", "basic "))]
            self._challenge = max(known, key=lambda c: c.lower().startswith("digest "), default="")
        if not (self._user and self._challenge):
            return False
        if self._challenge.lower().startswith("basic "):
            pair = f"{self._user}:{self._password}".encode()
            self._authorization = f"Basic {base64.b64encode(pair).decode()}"
        else:
            self._authorization = self._digest(method, target)
        return True

    def _digest(self, method: str, target: str) -> str:
        fields = dict(re.findall(r'(\w+)="?([^",]*)"?', self._challenge))
        realm, nonce = fields.get("realm", ""), fields.get("nonce", "")
        first = _md5(f"{self._user}:{realm}:{self._password}")
        second = _md5(f"{method}:{target}")
        text = f'Digest username="{self._user}", realm="{realm}", nonce="{nonce}", uri="{target}"'
        if "auth" in fields.get("qop", ""):
            count, client = "00000001", "0a4f113b"
            answer = _md5(f"{first}:{nonce}:{count}:{client}:auth:{second}")
            text += f', qop=auth, nc={count}, cnonce="{client}"'
        else:
            answer = _md5(f"{first}:{nonce}:{second}")
        if "opaque" in fields:
            text += f', opaque="{fields["opaque"]}"'
        return f'{text}, response="{answer}"'

    def send(
        self,
        connection: socket.socket,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and return the answer.

        Raises:
            OSError: the connection failed, or the answer took too long.
            NotThisProtocol: the answer is of another protocol, or none.
        """
        self._number += 1
        is_http = self._protocol.startswith("HTTP")
        lines = {
            **({"Host": self._host, "Accept": "*/*", "Connection": "close"} if is_http else {}),
            **({} if is_http else {"CSeq": str(self._number)}),
            **({"Authorization": self._authorization} if self._authorization else {}),
            **(headers or {}),
        }
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        connection.sendall(f"{method} {target} {self._protocol}\r\n{text}\r\n".encode())
        return self._receive(connection)

    def _receive(self, connection: socket.socket) -> Answer:
        name = self._protocol.partition("/")[0]
        data = b""
        while b"\r\n\r\n" not in data and len(data) < _ANSWER_BYTES_MAX:
            chunk = self._read(connection)
            if not chunk:
                break
            data += chunk
        if not data:
            raise NotThisProtocol(f"it closes the connection without an answer to {name}")
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *others = head.decode("latin-1").split("\r\n")
        status = _STATUS.match(first)
        if not status or (status[1] == "RTSP") != (name == "RTSP"):
            found = f"with {status[1]}, not with {name}" if status else f"not with {name}"
            raise NotThisProtocol(f"it answers {found}; check scheme and port of the address")
        parts = (line.partition(":") for line in others)
        pairs = [(key.strip().lower(), value.strip()) for key, _, value in parts]
        headers = dict(pairs)
        length = headers.get("content-length", "0")
        wanted = min(int(length) if length.isdecimal() else 0, _ANSWER_BYTES_MAX)
        while name == "RTSP" and len(rest) < wanted and (chunk := self._read(connection)):
            rest += chunk
        challenges = tuple(value for key, value in pairs if key == "www-authenticate")
        body = rest.decode("latin-1")
        return Answer(int(status[2]), status[3].strip(), headers, challenges, body)

    def _read(self, connection: socket.socket) -> bytes:
        connection.settimeout(left_s(self._deadline_ns))
        return connection.recv(4096)


def left_s(deadline_ns: int) -> float:
    """Return the seconds until a monotonic time.

    Raises:
        TimeoutError: it has passed.
    """
    left = -elapsed_ms(deadline_ns) / 1e3
    if left <= 0:
        raise TimeoutError
    return left


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
