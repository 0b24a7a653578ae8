"""Key files, and clients that use right keys, wrong ones or none."""

from pathlib import Path

import zmq

from edge.access.keys import new_pair, read_public
from edge.client.keys import Keys, apply_client_keys

KINDS = ("unknown", "null", "plain", "wrong-server", "garbage")
"""Clients that are not admitted."""


class KeyFolder:
    """The keys of a daemon and its clients, in one folder.

    Attributes:
        secret: the daemon's secret key.
        public: the daemon's public key.
        allowed: the folder of the clients' public keys.
    """

    def __init__(self, folder: Path, *clients: str) -> None:
        self.folder, self.allowed = folder, folder / "allowed"
        self.allowed.mkdir(parents=True)
        self.public, self.secret, _ = new_pair("device", folder)
        for name in clients:
            self.allow(name)

    def allow(self, name: str) -> None:
        """Make a client's keys, and allow them."""
        public, _, _ = new_pair(name, self.folder)
        public.rename(self.allowed / public.name)

    def revoke(self, name: str) -> None:
        """Remove a client's key from the list."""
        (self.allowed / f"{name}.key").unlink()

    def keys(self, name: str) -> Keys:
        """Return a client's keys; makes those of an unknown client."""
        secret = self.folder / f"{name}.key_secret"
        if not secret.exists():
            new_pair(name, self.folder)
        return Keys.load(secret, self.public)

    def options(self, name: str) -> tuple[str, ...]:
        """Return the options of a command."""
        self.keys(name)
        secret = self.folder / f"{name}.key_secret"
        return ("--secret-key", str(secret), "--server-key", str(self.public))

    def settings(self) -> tuple[str, ...]:
        """Return the daemon's options."""
        return (
            *("--set", f'security.secret_key="{self.secret}"'),
            *("--set", f'security.allowed_keys="{self.allowed}"'),
        )


def bad_client(
    context: "zmq.Context[zmq.Socket[bytes]]", kind: str, socket_type: int, folder: KeyFolder
) -> "zmq.Socket[bytes]":
    """Return a socket, not yet connected, of a client that must not be served."""
    socket = context.socket(socket_type)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, 20)
    if socket_type == zmq.SUB:
        socket.setsockopt(zmq.SUBSCRIBE, b"")
    match kind:
        case "null":
            pass
        case "plain":
            socket.setsockopt(zmq.PLAIN_USERNAME, b"device")
            socket.setsockopt(zmq.PLAIN_PASSWORD, b"device")
        case "unknown":
            apply_client_keys(socket, folder.keys("unknown"))
        case "wrong-server":
            known = folder.keys("unknown")
            other = read_public(folder.folder / "unknown.key", "test").public
            apply_client_keys(socket, Keys(known.public, known.secret, other))
        case "garbage":  # a secret key that does not belong to the public one, of an allowed client
            allowed = read_public(next(folder.allowed.glob("*.key")), "test").public
            known = folder.keys("unknown")
            apply_client_keys(socket, Keys(allowed, known.secret, known.server))
        case _:
            raise AssertionError(kind)
    return socket
