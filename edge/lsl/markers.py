"""Markers: events of a daemon as texts of an LSL stream."""

import json
from collections.abc import Mapping
from typing import Any

from edge.protocol.events import Mark
from edge.protocol.messages import EventMessage


def marker_of(message: EventMessage) -> str:
    """Return an event as a marker: a mark is its text, any other one is a JSON object.

    Nested objects, such as the configuration in ``epoch_started``, are left out. A mark whose text
    begins with ``{`` is an object, too, so that the first character tells them apart.
    """
    if message.event == Mark.event:
        text = str(message.detail.get("text", ""))
        if not text.startswith("{"):
            return text
    return marker(message.event, message.detail, seq=message.seq)


def marker(event: str, detail: Mapping[str, Any], **more: Any) -> str:
    """Return an object of JSON in one line, with ``event`` first."""
    flat = {key: value for key, value in detail.items() if not isinstance(value, Mapping)}
    return json.dumps({"event": event, **flat, **more}, ensure_ascii=False)
