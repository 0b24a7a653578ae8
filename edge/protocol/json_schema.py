"""The JSON Schema of all messages, for readers in other languages."""

import json
from typing import Any

from edge.protocol.events import DETAILS
from edge.protocol.messages import ANY, SCHEMA


def _add_events(schema: dict[str, Any]) -> None:
    """Add the fields of each known event's ``detail``; other events may have any fields."""
    choices = []
    for name, model in DETAILS.items():
        detail = model.model_json_schema(ref_template="#/$defs/{model}")
        schema["$defs"] |= detail.pop("$defs", {})
        schema["$defs"][model.__name__] = detail
        choices.append(
            {
                "if": {"properties": {"event": {"const": name}}},
                "then": {"properties": {"detail": {"$ref": f"#/$defs/{model.__name__}"}}},
            }
        )
    schema["$defs"]["EventMessage"]["allOf"] = choices


def json_schema() -> str:
    """Return the JSON Schema of every message, indented, ending in a newline."""
    schema = ANY.json_schema(by_alias=True)
    _add_events(schema)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": SCHEMA, **schema}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
