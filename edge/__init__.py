"""affect-edge: facial affect from near-infrared video, on the edge.

The daemon and its tools. ``ARCHITECTURE.md`` is the map of the rooms.
"""

__version__ = "0.1.0"
