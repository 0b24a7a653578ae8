"""Asks a daemon something, once: a request over its service socket, and the reply."""

import json
from typing import Any, Final

import zmq

from edge.errors import ConfigError, RequestRefused, ServiceUnavailable
from edge.protocol.requests import Request

TIMEOUT_S: Final = 3.0


def ask(endpoint: str, request: Request, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Return the daemon's reply to ``request`` (``edge.protocol.requests``).

    Not sent again: a request that changes something might have been met, and only its reply lost.

    Raises:
        RequestRefused: the daemon cannot do it; the text is what it said.
        ServiceUnavailable: no reply within ``timeout_s``.
        ConfigError: ZeroMQ cannot make sense of ``endpoint``.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        socket = context.socket(zmq.REQ)
        socket.setsockopt(zmq.LINGER, 0)
        try:
            socket.connect(endpoint)
        except (zmq.ZMQError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, zmq.ZMQError) else "no text"
            raise ConfigError(
                f"--service {endpoint!r}: {reason}; expected tcp://HOST:PORT or ipc://PATH"
            ) from error
        socket.send(request.model_dump_json().encode())
        if not socket.poll(int(timeout_s * 1000)):
            raise ServiceUnavailable(
                f"no reply from {endpoint} within {timeout_s:g} s; is a daemon running, and is"
                " that its publish.service_endpoint? One that is held up may still do it: look"
                " before you ask again"
            )
        return _read(socket.recv(), endpoint)
    finally:
        context.destroy(linger=0)


def _read(part: bytes, endpoint: str) -> dict[str, Any]:
    try:
        reply = json.loads(part)
        if reply["ok"] is True:
            return dict(reply)
        text = str(reply["error"])
    except (ValueError, LookupError, TypeError) as error:
        raise ServiceUnavailable(f"{endpoint}: what answers there is no affect-edge") from error
    raise RequestRefused(text)
