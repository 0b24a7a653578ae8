"""Checks the addresses of daemons before ZeroMQ gets them: it accepts ports that do not exist."""

import re
from typing import Final

from edge.errors import ConfigError

_TCP: Final = re.compile(r"tcp://.*:(\d+)")


def check_endpoint(endpoint: str, name: str = "endpoint") -> None:
    """Check the port of a ``tcp://`` address.

    Args:
        endpoint: ``tcp://HOST:PORT`` or any other address of ZeroMQ.
        name: of the option or argument, for the message.

    Raises:
        ConfigError: the port is not from 1 to 65535.
    """
    match = _TCP.fullmatch(endpoint)
    if match and not 0 < int(match[1]) < 65536:
        raise ConfigError(f"{name} {endpoint!r}: expected a port from 1 to 65535")
