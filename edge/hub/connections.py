"""Connections that ZeroMQ accepted, by their descriptors.

A descriptor is ZeroMQ's own: its thread may close it at any time, and the number may become another
file's. So a connection is known by its inode, too, and is only touched through a copy of the
descriptor whose inode was compared.
"""

import os
import socket as sockets
from typing import Final, Literal

Handshake = Literal["mechanism", "garbage", "incomplete"]

HANDSHAKES: Final[dict[Handshake, str]] = {
    "mechanism": "they use no keys and the daemon does, or the other way round",
    "garbage": "their handshake is malformed, or its keys do not fit",
    "incomplete": "they went, or were silent, before the handshake was complete",
}
"""Why a handshake fails before a key is looked up in the list of allowed ones."""

KEY_REFUSALS: Final = ("unknown_key", "revoked", "malformed")
"""Why a peer with a key is refused: the key is not in the list; was removed from it; libzmq's
request, or a message, is without a valid key."""


def inode_of(descriptor: int) -> int | None:
    """Return the inode of an open file; None if there is none."""
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return None


def copy_of(descriptor: int, inode: int | None = None) -> sockets.socket | None:
    """Return a copy of a connection, to be closed by the caller; None if it is closed meanwhile.

    Args:
        descriptor: ZeroMQ's.
        inode: of the connection; None: whatever socket it is now.
    """
    try:
        copy = os.dup(descriptor)
    except OSError:
        return None
    try:
        if inode is None or inode_of(copy) == inode:
            return sockets.socket(fileno=copy)
    except OSError:
        pass  # another kind of file has the number now
    os.close(copy)
    return None
