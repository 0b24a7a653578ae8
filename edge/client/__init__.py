"""The API for consumers: a subscriber that reports missing messages.

::

    with Subscriber(["tcp://127.0.0.1:5555"]) as subscriber:
        while (received := subscriber.receive(timeout_s=5.0)) is not None:
            print(received.message, received.gap)
"""

from edge.client.gaps import Cursor, Gap, GapDetector
from edge.client.subscriber import KINDS, PART_BYTES_MAX, Kind, Received, Subscriber

__all__ = [
    "KINDS",
    "PART_BYTES_MAX",
    "Cursor",
    "Gap",
    "GapDetector",
    "Kind",
    "Received",
    "Subscriber",
]
