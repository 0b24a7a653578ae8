"""Which texts of a message name a participant or a session; for erasing."""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

_NAMING: Final = frozenset(["participant", "participants", "seats", "text"])
"""Keys of an event's detail whose texts may be a code; ``text`` is that of a mark."""


def codes_of(message: Mapping[str, Any]) -> frozenset[str]:
    """Return the codes that a decoded message names; of an event also texts that may be codes."""
    match message.get("kind"):
        case "frame":
            return frozenset(code for face in message["faces"] if (code := face.get("participant")))
        case "event":
            return codes_in(message["detail"])
        case _:
            return frozenset()


def codes_in(detail: object) -> frozenset[str]:
    """Return the texts in an event's detail that may be codes of participants."""
    return frozenset(_codes_in(detail, is_code=False))


def session_texts(name: str, note: str, codes: Collection[str]) -> list[str]:
    """Return a session's own texts, as they are in the JSON of a message, with their keys.

    Without its key, a code such as ``happy`` would be found in any message of a happy face.
    """
    texts = [("name", name), ("note", note), *(("participant", code) for code in sorted(codes))]
    return [f'"{key}":{json.dumps(text, ensure_ascii=False)}' for key, text in texts if text]


def _codes_in(value: object, *, is_code: bool) -> Iterator[str]:
    if isinstance(value, str):
        if is_code:
            yield value
    elif isinstance(value, list):
        for each in value:
            yield from _codes_in(each, is_code=is_code)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key == "seats" and isinstance(each, dict):  # {"left": "P07"}
                for of_seat in each.values():
                    yield from _codes_in(of_seat, is_code=True)
            else:
                yield from _codes_in(each, is_code=key in _NAMING)
