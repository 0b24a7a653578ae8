"""The API for consumers: a subscriber that fetches what it missed, and reports what is lost.

::

    live, service = "tcp://127.0.0.1:5555", "tcp://127.0.0.1:5556"
    with Subscriber([live], services=[service]) as subscriber:
        while (received := subscriber.receive(timeout_s=5.0)) is not None:
            print(received.message, received.gap)
"""

from edge.client.cursor import CursorTable
from edge.client.gaps import Cursor, Gap, GapDetector
from edge.client.keys import Keys
from edge.client.live import PART_BYTES_MAX
from edge.client.subscriber import KINDS, Kind, Received, Subscriber

__all__ = [
    "KINDS",
    "PART_BYTES_MAX",
    "Cursor",
    "CursorTable",
    "Gap",
    "GapDetector",
    "Keys",
    "Kind",
    "Received",
    "Subscriber",
]
