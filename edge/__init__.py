"""affect-edge: facial affect from near-infrared video, on the edge.

The daemon and its tools. ``ARCHITECTURE.md`` shows the processes and the tree.
"""

__version__ = "0.1.0"
