"""affect-edge: facial affect from near-infrared video, on the edge.

The daemon and its tools, and ``Reader`` for recordings. ``ARCHITECTURE.md`` shows the processes
and the tree.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.recordings.reader import Reader as Reader

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import ``Reader`` when it is used: it loads NumPy, OpenCV and the runtime of the networks."""
    if name == "Reader":
        return import_module("edge.recordings.reader").Reader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
