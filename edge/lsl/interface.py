"""The network interface on which liblsl may listen."""

import fcntl
import socket
import struct
from array import array
from dataclasses import dataclass
from typing import Final

from edge.errors import ConfigError

_SIOCGIFCONF: Final = 0x8912  # <linux/sockios.h>
_ENTRY: Final = 40  # bytes of struct ifreq, 64-bit Linux
_ENTRIES_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface of this machine.

    Attributes:
        name: such as ``eth0``.
        address: its IPv4 address.
    """

    name: str
    address: str

    def __str__(self) -> str:
        return f"{self.name} ({self.address})"

    @property
    def index(self) -> int | None:
        """The kernel's number of it; another one after it was removed; None: it is not there."""
        try:
            return socket.if_nametoindex(self.name)
        except OSError:
            return None


def find_interface(text: str) -> Interface:
    """Return the interface with this IPv4 address or name.

    Raises:
        ConfigError: there is none.
    """
    known = list_interfaces()
    for each in known:
        if text in (each.name, each.address):
            return each
    listed = ", ".join(map(str, known)) or "none that is up"
    raise ConfigError(
        f"--interface {text!r}: expected the IPv4 address or the name of one of this machine's"
        f" interfaces: {listed}"
    )


def list_interfaces() -> list[Interface]:
    """Return the interfaces that have an IPv4 address; one with several addresses several times."""
    buffer = array("B", bytes(_ENTRY * _ENTRIES_MAX))
    request = struct.pack("iP", len(buffer), buffer.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        used, _ = struct.unpack("iP", fcntl.ioctl(asker, _SIOCGIFCONF, request))
    found = []
    for start in range(0, used, _ENTRY):
        entry = buffer[start : start + _ENTRY].tobytes()
        name = entry[:16].partition(b"\0")[0].decode().partition(":")[0]  # eth0:1 is an alias
        found.append(Interface(name, socket.inet_ntoa(entry[20:24])))
    return found
