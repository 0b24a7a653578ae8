"""A client's CURVE keys: its own secret key, and the public key of the daemon."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import zmq

from edge.access.keys import read_public, read_secret
from edge.errors import ConfigError

SECRET_VARIABLE: Final = "AFFECT_EDGE_SECRET_KEY"
SERVER_VARIABLE: Final = "AFFECT_EDGE_SERVER_KEY"


@dataclass(frozen=True, slots=True)
class Keys:
    """What a client needs to connect to daemons with keys. Daemons that share a pair can share it.

    Attributes:
        public, secret: the client's own pair, in Z85.
        server: the daemon's public key, in Z85.
    """

    public: str
    secret: str = field(repr=False)
    server: str

    @classmethod
    def load(cls, secret_key: Path | str, server_key: Path | str) -> Self:
        """Read the client's ``NAME.key_secret`` and the daemon's public ``NAME.key``.

        Raises:
            ConfigError: a file cannot be read, is malformed, or the secret one can be read by
                others.
        """
        pair = read_secret(Path(secret_key), "--secret-key")
        server = read_public(Path(server_key), "--server-key")
        return cls(pair.public, str(pair.secret), server.public)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self | None:
        """Return the keys that two variables name; None if neither is set.

        Raises:
            ConfigError: only one is set, or as ``load``.
        """
        given = os.environ if environment is None else environment
        secret, server = given.get(SECRET_VARIABLE), given.get(SERVER_VARIABLE)
        if not secret and not server:
            return None
        if not secret or not server:
            missing, option = (
                (SERVER_VARIABLE, "--server-key") if secret else (SECRET_VARIABLE, "--secret-key")
            )
            raise ConfigError(
                f"{option} ({missing}): not set; expected the client's secret key (--secret-key"
                " FILE) and the daemon's public key (--server-key FILE), or neither"
            )
        return cls.load(secret, server)


def apply_client_keys(
    target: "zmq.Socket[bytes] | zmq.Context[zmq.Socket[bytes]]", keys: Keys | None
) -> None:
    """Let a socket, not yet connected, or all future sockets of a context use ``keys``."""
    if keys is not None:
        target.setsockopt(zmq.CURVE_SERVERKEY, keys.server.encode())
        target.setsockopt(zmq.CURVE_PUBLICKEY, keys.public.encode())
        target.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode())


_default: Keys | None = None


def set_default_keys(keys: Keys | None) -> None:
    """Set the keys of every socket that is made without naming any; for the command line."""
    global _default  # noqa: PLW0603 - options of a command apply to its whole process
    _default = keys


def default_keys() -> Keys | None:
    """Return the keys of sockets that are made without naming any."""
    return _default
