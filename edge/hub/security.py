"""Authentication of peers by CURVE keys: who may connect, and who no longer.

The hub's main loop answers ZeroMQ's authentication requests (ZAP, RFC 27) itself. libzmq sends one
for each handshake, and waits for the answer without blocking anything else. A peer is admitted only
by the answer 200: where nobody answers, because the loop hangs or the handler is closed, the
handshake fails, since each socket enforces its domain.

A connection that was admitted stays open when its key is revoked. So the connection of each message
is noted, with the key of its peer, and ``reload`` shuts down those of removed keys. libzmq then
sees a closed connection; the other connections are not touched.
"""

import contextlib
import logging
import socket as sockets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Self

import zmq
from zmq.utils import z85

from edge import clock
from edge.access.keys import fingerprint, read_folder, read_secret
from edge.config import SecurityConfig
from edge.errors import ConfigError, RequestRefused
from edge.hub.connections import copy_of, inode_of
from edge.hub.metrics import Metrics
from edge.protocol.requests import READING, AnyRequest

log = logging.getLogger("affect_edge")

DOMAIN: Final = b"affect-edge"
_ENDPOINT: Final = "inproc://zeromq.zap.01"  # fixed by the protocol
_KEY_PROPERTY: Final = "X-Key"  # of each message of an admitted peer: its public key
_TURN_REQUESTS: Final = 32  # answered per turn of the loop; the next ones wait
_LOG_MS: Final = 10_000.0  # between two lines about refused peers


class Security:
    """The list of allowed keys, the ZAP handler, and the connections of each key.

    ``answer``, ``reload`` and ``check_right`` are for the hub's main loop; ``client_of`` for the
    thread of the socket that received the frame.

    Attributes:
        socket: to poll for authentication requests.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        config: SecurityConfig,
        *,
        rejected: Callable[[str], None] = lambda _reason: None,
        reloaded: Callable[[bool], None] = lambda _is_good: None,
    ) -> None:
        """Read the keys and answer for the sockets of ``context`` from now on.

        Args:
            context: of the sockets that ``protect`` will be called for.
            config: names the files.
            rejected: called with one of ``KEY_REFUSALS`` for each refused peer.
            reloaded: called with False when a reload is refused, with True when one succeeds.

        Raises:
            ConfigError: a key file is missing, malformed, or readable by others.
        """
        self._folder = Path(config.allowed_keys)
        self._pair = read_secret(Path(config.secret_key), "security.secret_key")
        self._allowed = self._read_folder()
        self._operators = None if config.operators == "all" else frozenset(config.operators)
        self._connections: dict[int, tuple[int, frozenset[str]]] = {}
        self._rejected, self._reloaded = rejected, reloaded
        self._places: set[str | int] = set()  # ports and paths that are bound
        self._unlogged = 0
        self._logged_ns: int | None = None
        self.socket = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(_ENDPOINT)
        log.info("keys: %s", self.describe())
        self._warn_of_operators()

    @classmethod
    def open(
        cls,
        context: "zmq.Context[zmq.Socket[bytes]]",
        config: SecurityConfig,
        metrics: Metrics,
    ) -> Self | None:
        """Return the security that ``config`` asks for; None if it names no keys.

        Raises:
            ConfigError: as the constructor.
        """
        if not config.is_on:
            return None
        return cls(context, config, rejected=metrics.peer_rejected, reloaded=metrics.keys_reloaded)

    def describe(self) -> str:
        """Return the own key and who is allowed, in one line."""
        names = sorted(self._allowed.values())
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        own = f"own key {self._pair.fingerprint}; {len(names)} allowed: {shown}"
        if self._operators is None:
            return own
        return f"{own}; operators: {', '.join(sorted(self._operators)) or 'none'}"

    def protect(self, socket: "zmq.Socket[bytes]") -> None:
        """Let ``socket``, not yet bound, accept only peers with an allowed key."""
        assert self._pair.secret is not None  # as read_secret returns it
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._pair.secret.encode())
        # Without a domain, or without enforcing it, libzmq admits every peer when nobody answers
        # for the domain.
        socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def note_endpoint(self, endpoint: str) -> None:
        """Note where a socket was bound: only connections to such a place are ever cut."""
        self._places.add(_place(endpoint))

    def answer(self) -> None:
        """Answer waiting authentication requests; call when ``socket`` is readable."""
        with contextlib.suppress(zmq.Again):
            for _ in range(_TURN_REQUESTS):
                self.socket.send_multipart(
                    self._reply(self.socket.recv_multipart(zmq.NOBLOCK)), zmq.NOBLOCK
                )

    def close(self) -> None:
        """Stop answering: from now on nobody is admitted."""
        self.socket.close(linger=0)

    def client_of(self, frame: zmq.Frame) -> str | None:
        """Return the name of the key whose peer sent ``frame``; None if it is not allowed any more.

        Then its connection is cut, too.

        Args:
            frame: received with ``copy=False`` from a socket that ``protect`` was called for.
        """
        try:
            key, descriptor = str(frame.get(_KEY_PROPERTY)), int(frame.get(zmq.SRCFD))
        except (zmq.ZMQError, ValueError):
            self._reject("malformed", "without a key")
            return None
        inode = self._note(descriptor, key)
        # after noting: a reload in between finds the connection
        name = self._allowed.get(key)
        if name is None:
            self._reject("revoked", f"with the revoked key {fingerprint(key)}")
            _cut(descriptor, inode)
        return name

    def check_right(self, client: str, request: AnyRequest) -> None:
        """Raise ``RequestRefused`` if ``request`` changes the record, and ``client`` may not."""
        if self._operators is None or client in self._operators or isinstance(request, READING):
            return
        raise RequestRefused(
            f"the key {client!r} may only read; expected a key of security.operators",
            code="read_only",
        )

    def reload(self) -> None:
        """Read the list of allowed keys again; cut the connections of removed keys.

        All or nothing: if any file is bad, the old list stays.
        """
        try:
            allowed = self._read_folder()
        except ConfigError as error:
            log.error("keys not reloaded, the old list stays: %s", error)
            self._reloaded(False)
            return
        before, self._allowed = self._allowed, allowed
        removed = _without(before, allowed)
        cut = 0
        for descriptor, (inode, keys) in list(self._connections.items()):
            if keys & removed.keys():
                cut += _cut(descriptor, inode)
                self._connections.pop(descriptor, None)
        self._reloaded(True)
        log.info(
            "keys reloaded: %s; %d added, %d removed, %d connections cut",
            self.describe(), len(_without(allowed, before)), len(removed), cut,
        )  # fmt: skip
        self._warn_of_operators()

    def _read_folder(self) -> Mapping[str, str]:
        return read_folder(self._folder, "security.allowed_keys", self._pair)

    def _warn_of_operators(self) -> None:
        """Log which operators have no key. No error: revoking an operator's key must succeed."""
        missing = sorted((self._operators or frozenset()) - set(self._allowed.values()))
        if missing:
            log.warning(
                "security.operators: no key of %s in %s; expected names of keys there",
                ", ".join(missing),
                self._folder,
            )

    def _note(self, descriptor: int, key: str) -> int | None:
        """Note the connection of a key; return None if it is closed already."""
        inode = inode_of(descriptor)
        known, keys = self._connections.get(descriptor, (None, frozenset()))
        if inode is None:
            return None
        if known != inode:
            # The descriptor is new, or another connection's than before. It may even be no
            # connection of a peer: the peer's was closed, and its number was used again.
            if _local_place(descriptor) not in self._places:
                return None
            keys = frozenset()
        if key not in keys:
            self._connections[descriptor] = inode, keys | {key}
        return inode

    def _reply(self, request: list[bytes]) -> list[bytes]:
        """Return the answer to one authentication request."""
        version, request_id, domain, address, _, mechanism, *credentials = (
            request if len(request) >= 6 else [b""] * 6
        )
        where = address.decode(errors="replace") or "this machine"
        refusal = [b"1.0", request_id, b"400", b"refused", b"", b""]
        if (version, domain, mechanism) != (b"1.0", DOMAIN, b"CURVE") or [
            len(each) for each in credentials
        ] != [32]:
            self._reject("malformed", f"from {where}")
            return refusal
        key = z85.encode(credentials[0]).decode()
        name = self._allowed.get(key)
        if name is None:
            self._reject("unknown_key", f"from {where} with the unknown key {fingerprint(key)}")
            return refusal
        return [b"1.0", request_id, b"200", b"OK", name.encode(), _property(_KEY_PROPERTY, key)]

    def _reject(self, reason: str, text: str) -> None:
        """Count a refused peer, and log it unless another one was logged a short time ago."""
        self._rejected(reason)
        self._unlogged += 1
        if self._logged_ns is None or clock.elapsed_ms(self._logged_ns) > _LOG_MS:
            count = f"; {self._unlogged} since the last such line" if self._unlogged > 1 else ""
            log.warning("refused a peer %s%s", text, count)
            self._unlogged, self._logged_ns = 0, clock.monotonic_ns()


def attend(security: Security | None, *, reload: bool) -> None:
    """Answer authentication requests; with ``reload``, read the allowed keys again before."""
    if security is None:
        if reload:
            log.info("SIGHUP received: security.allowed_keys is not set, nothing to reload")
        return
    if reload:
        security.reload()
    security.answer()


def _place(endpoint: str) -> str | int:
    """Return the port of ``tcp://HOST:PORT``, or the path of ``ipc://PATH``."""
    if endpoint.startswith("tcp://"):
        return int(endpoint.rpartition(":")[2])
    return endpoint.removeprefix("ipc://")


def _local_place(descriptor: int) -> str | int | None:
    """Return the port or path of this side of a connection; None if it is no such socket."""
    connection = copy_of(descriptor)
    if connection is None:
        return None
    with connection:
        name = connection.getsockname()
    if isinstance(name, tuple):
        return int(name[1])
    # an abstract address is bytes that begin with NUL
    return name if isinstance(name, str) else "@" + bytes(name)[1:].decode(errors="replace")


def _without(some: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """Return what is not in ``others``, or has another name there."""
    return dict(some.items() - others.items())


def _property(name: str, value: str) -> bytes:
    """Return a ZMTP property, which libzmq adds to each message of the peer."""
    length = len(value).to_bytes(4, "big")
    return bytes([len(name)]) + name.encode() + length + value.encode()


def _cut(descriptor: int, inode: int | None) -> bool:
    """Shut down a connection; return False if it was closed already."""
    connection = None if inode is None else copy_of(descriptor, inode)
    if connection is None:
        return False
    with connection, contextlib.suppress(OSError):
        connection.shutdown(sockets.SHUT_RDWR)
        return True
    return False
