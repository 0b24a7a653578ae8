"""The environment of Python child processes: the same modules, none from the current folder."""

import os
import sys


def child_environment() -> dict[str, str]:
    """Return the environment for a Python child process with this process's module search path.

    By default ``-c`` and ``-m`` search the current folder first: a file there with the name of a
    module would run instead of the module, as root too. Children of the child inherit the
    environment.
    """
    paths = [path for path in sys.path if path and os.pathsep not in path]
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(paths)}
