"""Confines the sockets of liblsl to one interface, since liblsl itself cannot.

liblsl binds its TCP and UDP ports to all addresses. ``SO_BINDTODEVICE`` on these sockets, which are
of this process, makes the kernel accept only what arrives on the interface. It needs Linux 5.7, or
the capability CAP_NET_RAW. ``ss -lntu`` shows the result as ``0.0.0.0%eth0:16572``.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.errors import ConfigError
from edge.lsl.interface import Interface


@dataclass(frozen=True, slots=True, order=True)
class OpenPort:
    """A port on which this process listens.

    Attributes:
        protocol: ``TCP`` or ``UDP``.
        number: of the port.
        device: interface to which it is confined; empty: to none.
    """

    protocol: str
    number: int
    device: str


def confine(interface: Interface) -> list[OpenPort]:
    """Confine all listening sockets of this process to ``interface``; return them.

    A connection that was accepted before, on another address, is cut.

    Raises:
        ConfigError: the kernel refuses.
    """
    for each in _inet_sockets():
        with each, contextlib.suppress(OSError):
            if _listens(each) and _device(each) != interface.name:
                _bind_to_device(each, interface)
    ports = open_ports()
    numbers = {port.number for port in ports if port.protocol == "TCP"}
    for each in _inet_sockets():
        with each, contextlib.suppress(OSError):  # it is closed meanwhile
            is_accepted = not _listens(each) and each.getsockname()[1] in numbers
            if is_accepted and each.getsockname()[0] != interface.address:
                each.shutdown(socket.SHUT_RDWR)
    if outside := [port for port in ports if port.device != interface.name]:
        raise ConfigError(
            f"--interface {interface.name}: {len(outside)} ports of liblsl are open on every"
            " interface; this is a fault of affect-edge, please report it"
        )
    return ports


def open_ports() -> list[OpenPort]:
    """Return the TCP and UDP ports on which this process listens, by protocol and number."""
    ports = set()
    for each in _inet_sockets():
        with each, contextlib.suppress(OSError):
            if _listens(each):
                protocol = "TCP" if each.type == socket.SOCK_STREAM else "UDP"
                ports.add(OpenPort(protocol, each.getsockname()[1], _device(each)))
    return sorted(ports)


def ports_in_words(ports: list[OpenPort]) -> str:
    """Return the ports, such as ``TCP 16572, 16573, UDP 16571``."""
    words = []
    for protocol in ("TCP", "UDP"):
        numbers = [str(port.number) for port in ports if port.protocol == protocol]
        if numbers:
            words.append(f"{protocol} {', '.join(numbers)}")
    return ", ".join(words)


def _inet_sockets() -> Iterator[socket.socket]:
    """Yield a duplicate of each socket of this process; the caller closes it."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if not os.readlink(entry).startswith("socket:"):
                continue
            each = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:
            continue  # closed meanwhile
        if each.family in (socket.AF_INET, socket.AF_INET6):
            yield each
        else:
            each.close()


def _listens(each: socket.socket) -> bool:
    """Return whether it takes what others send: TCP that listens, or UDP, which only liblsl has."""
    if each.type == socket.SOCK_DGRAM:
        return bool(each.getsockname()[1])
    return bool(each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _device(each: socket.socket) -> str:
    name = each.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
    return name.partition(b"\0")[0].decode()


def _bind_to_device(each: socket.socket, interface: Interface) -> None:
    try:
        option = interface.name.encode() + b"\0"
        each.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, option)
    except PermissionError as error:
        raise ConfigError(
            f"--interface {interface.name}: this kernel lets only root confine liblsl to it;"
            " expected Linux 5.7 or newer, or the capability CAP_NET_RAW"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"--interface {interface.name}: {error.strerror}; is the interface still there?"
        ) from error
