"""Runs ``affect-edge`` so that it ends with its parent, also if that is killed.

``python -m edge.tools.with_parent PID ARGUMENTS``: the kernel sends SIGTERM at the death of the
parent, whose process id is PID.
"""

import os
import signal
import sys

from edge.child import end_with_parent


def main() -> None:
    """Ask the kernel for the signal, then become the command."""
    end_with_parent(signal.SIGTERM)
    if os.getppid() != int(sys.argv[1]):  # it died before
        sys.exit(1)
    os.execv(sys.executable, [sys.executable, "-m", "edge", *sys.argv[2:]])


if __name__ == "__main__":
    main()
