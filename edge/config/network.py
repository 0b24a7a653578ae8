"""Sections about who may reach the daemon: keys of the sockets, and the address of the metrics."""

import re
from typing import Annotated, Literal

from pydantic import field_validator

from edge.config.section import Section, no_address

_OCTET = r"(?:0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
_LOOPBACK = re.compile(rf"(?:127(?:\.{_OCTET}){{3}}|localhost|\[::1\]):([0-9]{{1,5}}|\*)")
_ADDRESS = re.compile(r"(?:\*|[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]):([0-9]{1,5}|\*)")

FilePath = Annotated[str, no_address]


def is_loopback(address: str, *, any_port: bool = False) -> bool:
    """Return whether ``address`` is ``HOST:PORT`` on the loopback interface.

    A wildcard (``*``, ``0.0.0.0``, ``[::]``) is not. ``any_port``: also accept ``*`` as the port;
    the operating system then chooses one.
    """
    return _has_port(_LOOPBACK.fullmatch(address), any_port=any_port)


def is_address(address: str, *, any_port: bool = False) -> bool:
    """Return whether ``address`` is ``HOST:PORT``, on whatever interface; ``*`` is all of them."""
    return _has_port(_ADDRESS.fullmatch(address), any_port=any_port)


def is_local(endpoint: str) -> bool:
    """Return whether only programs on this machine can connect to a ZeroMQ endpoint."""
    if endpoint.startswith("ipc://"):
        return True
    return endpoint.startswith("tcp://") and is_loopback(endpoint[len("tcp://") :], any_port=True)


def _has_port(match: re.Match[str] | None, *, any_port: bool) -> bool:
    if not match:
        return False
    return any_port if match[1] == "*" else 0 < int(match[1]) < 65536


class SecurityConfig(Section):
    """Keys of the sockets: the daemon's own, and those of the clients that may connect.

    ``operators``: names of the keys that may change the record; or ``"all"`` that may connect.

    Both are empty, or both are set; with keys, nobody connects without an allowed one, not even
    from this machine.
    """

    secret_key: FilePath = ""
    allowed_keys: FilePath = ""
    operators: Literal["all"] | tuple[str, ...] = "all"

    @field_validator("operators", mode="before")
    @classmethod
    def _names_or_all(cls, value: object) -> object:
        if value == "all":
            return value
        if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
            return tuple(value)
        raise ValueError('expected "all", or a list of names of keys, such as ["page"]')

    @property
    def is_on(self) -> bool:
        """Whether the sockets use keys."""
        return bool(self.secret_key)

    def mistake(self) -> str:
        """Return the key that does not fit the other one and why; empty if they fit."""
        if bool(self.secret_key) == bool(self.allowed_keys):
            if self.is_on or self.operators == "all":
                return ""
            return (
                "operators: set without keys, so that everybody who can connect may do everything;"
                ' expected secret_key and allowed_keys, too, or operators = "all"'
            )
        missing = "allowed_keys" if self.secret_key else "secret_key"
        return (
            f"{missing}: not set; expected secret_key (a file) and allowed_keys (a folder), or"
            " neither of them"
        )


class MetricsConfig(Section):
    """The address that Prometheus scrapes, and who may; an empty ``address`` turns metrics off."""

    address: str = "127.0.0.1:9108"
    tls_certificate: FilePath = ""
    tls_key: FilePath = ""
    tls_client_ca: FilePath = ""
    token_file: FilePath = ""

    @field_validator("address")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        if value and (not is_address(value) or value.startswith("*")):
            raise ValueError("expected 127.0.0.1:PORT, or an empty string for no metrics")
        return value

    def mistake(self) -> str:
        """Return the key that does not fit the others and why; empty if they fit."""
        if bool(self.tls_certificate) != bool(self.tls_key):
            missing = "tls_key" if self.tls_certificate else "tls_certificate"
            return f"{missing}: not set; expected tls_certificate and tls_key, or neither of them"
        if self.tls_client_ca and not self.tls_certificate:
            return "tls_client_ca: set without tls_certificate and tls_key; expected all three"
        if not self.address or is_loopback(self.address):
            return ""
        if self.tls_certificate and (self.tls_client_ca or self.token_file):
            return ""
        return (
            f"address: {self.address!r} can be reached by other machines, which needs"
            " metrics.tls_certificate and tls_key, with tls_client_ca or token_file"
            " (docs/security.md, Keys); expected these, or 127.0.0.1:PORT"
        )
