"""Child processes with and without a controlling terminal."""

import os
import pty
import sys

_TAKE = """
import os, sys
os.setsid()
os.open(sys.argv[1], os.O_RDWR)  # a session without one takes the first terminal it opens
os.execv(sys.argv[2], sys.argv[2:])
"""
_LEAVE = """
import os, sys
os.setsid()
os.execv(sys.argv[1], sys.argv[1:])
"""

WITHOUT_TERMINAL = (sys.executable, "-c", _LEAVE)
"""Begins a command that has no controlling terminal, as in a service."""


class Terminal:
    """A terminal of its own for one command; closing it is closing its window."""

    def __init__(self) -> None:
        self._ours, self._theirs = pty.openpty()
        self.prefix = (sys.executable, "-c", _TAKE, os.ttyname(self._theirs))
        """Begins a command whose controlling terminal this is."""

    def close(self) -> None:
        """Close the window."""
        for descriptor in (self._ours, self._theirs):
            os.close(descriptor)
