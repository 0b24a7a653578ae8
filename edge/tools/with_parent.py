"""Runs ``affect-edge`` so that it ends with its parent, also if that is killed.

``python -m edge.tools.with_parent PID ARGUMENTS``: the kernel sends SIGTERM at the death of the
parent, whose process id is PID.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # of <linux/prctl.h>


def main() -> None:
    """Ask the kernel for the signal, then become the command."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(sys.argv[1]):  # it died before
        sys.exit(1)
    os.execv(sys.executable, [sys.executable, "-m", "edge", *sys.argv[2:]])


if __name__ == "__main__":
    main()
