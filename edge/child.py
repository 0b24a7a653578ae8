"""How this program starts Python again: the same modules, and none from the current folder."""

import os
import sys


def child_environment() -> dict[str, str]:
    """Return the environment for a Python child that finds its modules where this process does.

    Python puts the current folder first in the path of ``-c`` and ``-m``: a file there that is
    called like a module would be run, by root as well. Children of the child inherit the rule.
    """
    paths = [path for path in sys.path if path and os.pathsep not in path]
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(paths)}
