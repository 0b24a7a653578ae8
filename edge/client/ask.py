"""Sends one request to a daemon's service socket and returns the reply."""

import json
import math
from typing import Any, Final, Never

import zmq

from edge.client.endpoints import connect
from edge.client.handshakes import HandshakeMonitor
from edge.client.keys import ClientContext, Keys, default_keys
from edge.clock import elapsed_ms, monotonic_ns
from edge.errors import ConfigError, ServiceUnavailable
from edge.protocol.requests import Request, refusal_of

TIMEOUT_S: Final = 3.0


def ask(
    endpoint: str, request: Request, timeout_s: float = TIMEOUT_S, *, keys: Keys | None = None
) -> dict[str, Any]:
    """Send ``request`` (``edge.protocol.requests``) and return the daemon's reply.

    The request is sent once, never repeated: if only the reply was lost, the daemon has already
    done what was requested. ``keys``: for a daemon with keys; None: those of the command line.

    Raises:
        RequestRefused: the daemon refused the request; the text is the daemon's.
        ServiceUnavailable: no reply within ``timeout_s``, or the reply is not from a daemon.
        ConfigError: ``endpoint`` is not a valid ZeroMQ address, or the daemon refuses the keys.
    """
    context = ClientContext.of(keys or default_keys())
    try:
        socket = context.socket(zmq.REQ)
        socket.setsockopt(zmq.LINGER, 0)
        handshakes = HandshakeMonitor(socket, endpoint)
        connect(socket, endpoint, "--service")
        socket.send(request.model_dump_json().encode())
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(handshakes.monitor, zmq.POLLIN)
        start_ns = monotonic_ns()
        while (left_ms := int(timeout_s * 1000 - elapsed_ms(start_ns))) > 0:
            if socket in dict(poller.poll(left_ms)):
                break
            if problem := handshakes.problem():
                raise ConfigError(f"--service {problem}")
        else:
            raise ServiceUnavailable(
                f"no reply from {endpoint} within {timeout_s:g} s; is a daemon running, and is"
                " that its publish.service_endpoint? A slow daemon may still do it: check the"
                " result before you repeat the request"
            )
        return decode_reply(socket.recv(), endpoint)
    finally:
        context.destroy(linger=0)


def decode_reply(part: bytes, endpoint: str) -> dict[str, Any]:
    """Return the reply in ``part``, received from ``endpoint``.

    Raises:
        RequestRefused: the daemon refused the request; the text is the daemon's.
        ServiceUnavailable: it is no reply of a daemon.
    """
    try:
        reply = json.loads(part, parse_constant=_refuse_constant, parse_float=_finite)
        if reply["ok"] is True:
            return dict(reply)
        refusal = refusal_of(reply)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ServiceUnavailable(f"{endpoint}: the reply is not from affect-edge") from error
    raise refusal


def _refuse_constant(word: str) -> Never:
    raise ValueError(f"{word} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is beyond the range of numbers")
    return number
