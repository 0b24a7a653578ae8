"""Events: known ones are parsed, unknown ones kept; docs/messages.md explains every field."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.protocol.events import DETAILS
from edge.protocol.json_schema import json_schema
from edge.protocol.messages import EventMessage, decode, encode
from tests.support import wire

PAGE = Path(__file__).parents[2] / "docs" / "messages.md"
DEFINITIONS: dict[str, Any] = json.loads(json_schema())["$defs"]


@pytest.mark.parametrize(
    ("event", "detail"), [("from_the_future", {"a": 1}), ("clock_step", {"step_ns": "much"})]
)
def test_an_unknown_or_malformed_event_keeps_its_detail(event: str, detail: dict[str, Any]) -> None:
    message = wire.event(3, event, detail)
    decoded = decode(encode(message))
    assert isinstance(decoded, EventMessage)
    assert (decoded.event, decoded.detail) == (event, detail)


def test_the_schema_lists_the_fields_of_each_event() -> None:
    choices = DEFINITIONS["EventMessage"]["allOf"]
    thens = {choice["if"]["properties"]["event"]["const"]: choice["then"] for choice in choices}
    assert set(thens) == set(DETAILS)
    for event, then in thens.items():
        reference = then["properties"]["detail"]["$ref"].removeprefix("#/$defs/")
        assert set(DEFINITIONS[reference]["properties"]) == set(DETAILS[event].model_fields)


# -- docs/messages.md ----------------------------------------------------------------------------


def fields(name: str, prefix: str = "") -> Iterator[str]:
    """Yield the path of every field of a message; ``[]`` marks a list."""
    for key, value in DEFINITIONS[name]["properties"].items():
        yield from _paths(value, prefix + key)


def _paths(value: dict[str, Any], path: str) -> Iterator[str]:
    for each in (value, *value.get("anyOf", ())):
        if "$ref" in each:
            yield from fields(each["$ref"].removeprefix("#/$defs/"), f"{path}.")
            return
    if "$ref" in value.get("items", {}):
        yield from fields(value["items"]["$ref"].removeprefix("#/$defs/"), f"{path}[].")
    else:
        yield path


def section(heading: str) -> str:
    return PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("kind", ["Frame", "Status", "Event"])
def test_the_page_explains_every_field_in_order(kind: str) -> None:
    rows = re.findall(r"(?m)^\| `([^`]+)` \| [^|]*\| [^|]*\|$", section(kind))
    assert rows == list(fields(f"{kind}Message"))


def test_the_page_lists_every_event_once_by_what_it_is_about() -> None:
    overview = section("Event").partition("| about | events |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"`(\w+)`", overview)) == sorted(DETAILS)


def test_the_page_explains_every_event_with_its_detail() -> None:
    table = section("Event").partition("| event | field of `detail` |")[2]
    explained: dict[str, list[str]] = {}
    event = ""
    for name, field in re.findall(r"(?m)^\| (?:`(\w+)` )?\| (?:`(\w+)` )?\| [^|]*\| .*\|$", table):
        event = name or event
        explained.setdefault(event, []).extend([field] if field else [])
    assert explained == {name: list(model.model_fields) for name, model in DETAILS.items()}


def test_the_sample_on_the_page_is_a_message() -> None:
    (sample,) = re.findall(r"```json\n(.*?)```", section("Frame"), re.DOTALL)
    topic = f"affect.v1.frame.{json.loads(sample)['device']} "
    assert decode(topic.encode() + sample.encode()).kind == "frame"
