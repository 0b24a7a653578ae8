"""A client's CURVE keys: its own secret key, and the public keys of the daemons."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import zmq

from edge.access.keys import read_public, read_secret
from edge.errors import ConfigError

SECRET_VARIABLE: Final = "AFFECT_EDGE_SECRET_KEY"
SERVER_VARIABLE: Final = "AFFECT_EDGE_SERVER_KEY"

_SOCKETS_MAX: Final = 16_384  # four for a daemon; ZeroMQ's default, 1023, ends at 255 daemons


@dataclass(frozen=True, slots=True)
class Keys:
    """What a client needs to connect to daemons with keys.

    Attributes:
        public, secret: the client's own pair, in Z85.
        server: the public key of every daemon, in Z85; or that of each, by the address to connect
            to.
    """

    public: str
    secret: str = field(repr=False)
    server: str | Mapping[str, str]

    @classmethod
    def load(
        cls, secret_key: Path | str, server_key: Path | str | Mapping[str, Path | str]
    ) -> Self:
        """Read the client's ``NAME.key_secret`` and the public ``NAME.key`` of the daemons.

        Args:
            secret_key: the client's file.
            server_key: the file of the daemon, or of several that share a pair; or the file of each
                daemon, by each address to connect to.

        Raises:
            ConfigError: a file cannot be read, is malformed, or the secret one can be read by
                others.
        """
        pair = read_secret(Path(secret_key), "--secret-key")
        if isinstance(server_key, Mapping):
            servers = {
                endpoint: read_public(Path(path), "--server-key").public
                for endpoint, path in server_key.items()
            }
            return cls(pair.public, str(pair.secret), servers)
        server = read_public(Path(server_key), "--server-key")
        return cls(pair.public, str(pair.secret), server.public)

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str] | None = None,
        *,
        endpoints: Sequence[str] = (),
        services: Sequence[str] = (),
    ) -> Self | None:
        """Return the keys that two variables name; None if neither is set.

        Args:
            environment: the variables; None: those of this process.
            endpoints, services: addresses of the daemons, in the order of their public keys where
                the variable names several, with a colon between them.

        Raises:
            ConfigError: only one is set, there is not a public key for each daemon, or as ``load``.
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
        files = server.split(os.pathsep)
        if len(files) == 1:
            return cls.load(secret, server)
        for option, named in (("--connect", endpoints), ("--service", services)):
            if len(named) not in (0, len(files)) or not (endpoints or services):
                raise ConfigError(
                    f"--server-key: {len(files)} files, and {len(named)} addresses as {option};"
                    " expected one file for all daemons, or one for each, in the same order"
                )
        addresses = (*zip(endpoints, files, strict=False), *zip(services, files, strict=False))
        return cls.load(secret, dict(addresses))

    def server_of(self, endpoint: str) -> str | None:
        """Return the public key of the daemon at an address, in Z85; None if it is not known."""
        return self.server if isinstance(self.server, str) else self.server.get(endpoint)


class ClientContext(zmq.Context["zmq.Socket[bytes]"]):
    """A context whose sockets connect with ``keys`` (``edge.client.endpoints.connect``).

    Attributes:
        keys: None: daemons without keys.
    """

    keys: Keys | None = None

    @classmethod
    def of(cls, keys: Keys | None) -> Self:
        """Return a new context."""
        context = cls()
        context.set(zmq.MAX_SOCKETS, _SOCKETS_MAX)
        context.keys = keys
        return context


def apply_client_keys(socket: "zmq.Socket[bytes]", keys: Keys | None, endpoint: str = "") -> None:
    """Let a socket that is about to connect to ``endpoint`` use ``keys``.

    Raises:
        ConfigError: the daemon's public key is not known.
    """
    if keys is None:
        return
    server = keys.server_of(endpoint)
    if server is None:
        raise ConfigError(
            f"{endpoint}: no public key of this daemon; expected one for each address"
            " (--server-key)"
        )
    socket.setsockopt(zmq.CURVE_SERVERKEY, server.encode())
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode())


_default: Keys | None = None


def set_default_keys(keys: Keys | None) -> None:
    """Set the keys of every socket that is made without naming any; for the command line."""
    global _default  # noqa: PLW0603 - options of a command apply to its whole process
    _default = keys


def default_keys() -> Keys | None:
    """Return the keys of sockets that are made without naming any."""
    return _default
