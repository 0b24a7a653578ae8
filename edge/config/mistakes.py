"""Describes a mistake in a configuration in one line, for the person who wrote it."""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edge.config.redact import redact_address
from edge.config.schema import LAWFUL_PURPOSE, Config
from edge.config.sources import SOURCES

_ONE_SOURCE = "only one [source] section may be active: put # before the lines of the others"
_MESSAGES = {
    "float_type": "expected a number",
    "int_type": "expected a whole number",
    "bool_type": "expected true or false",
    "string_type": "expected text in quotation marks",
    "finite_number": "expected a finite number",
    "string_unicode": (
        "expected a name in UTF-8: rename the file or folder, or give a link to it (ln -s)"
    ),
    "string_too_short": "expected text that is not empty",
    "greater_than": "expected more than {gt:.12g}",
    "greater_than_equal": "expected {ge:.12g} or more",
    "less_than": "expected less than {lt:.12g}",
    "less_than_equal": "expected {le:.12g} or less",
    "missing": "required, and not set",
    "model_type": "expected a section with keys",
    "model_attributes_type": "expected a section with keys",
}
"""Type of a pydantic error -> what is expected instead."""


def toml_mistake(error: tomllib.TOMLDecodeError | UnicodeDecodeError) -> str:
    """Describe why a file cannot be parsed, and the remedy."""
    if isinstance(error, UnicodeDecodeError):
        line = error.object[: error.start].count(b"\n") + 1
        return (
            f"not UTF-8: byte 0x{error.object[error.start]:02x} in line {line};"
            " save it again as UTF-8"
        )
    text = str(error)
    if twice := re.match(r"Cannot declare \('([^']*)',?.*\) twice \((.*)\)$", text):
        section, place = twice.groups()
        if section == "source":
            return f"a second [source] section {place}; {_ONE_SOURCE}"
        return f"a second [{section}] section {place}; expected all its keys in one"
    if text.startswith("Cannot overwrite a value"):
        return f"not TOML: {text}: a key is set twice in its section; keep one ({_ONE_SOURCE})"
    return f"not TOML: {text}"


def first_mistake(error: ValidationError) -> str:
    """Describe the first wrong key, what was expected and received, and count further mistakes."""
    found, *others = error.errors(include_url=False)
    # pydantic adds to the location the tag of a union, which is no key that a user wrote, and
    # "[key]" where the key itself is wrong
    inserted = {"[key]", *(SOURCES if found["loc"][:1] == ("source",) else ())}
    keys = [str(part) for part in found["loc"] if part not in inserted]
    if found["type"].startswith("union_tag"):
        keys.append("kind")
    key = ".".join(keys)
    text = f"{key}: {_expected(found, keys)}" if key else _expected(found, keys)
    received = found.get("ctx", {}).get("tag", found["input"])
    if found["type"] != "extra_forbidden" and not isinstance(received, Mapping):
        text += f" (received {_abbreviated(received)})"
    if others:
        text += f"; {len(others)} further mistake{'s' if len(others) > 1 else ''}"
    return text


def _expected(found: ErrorDetails, keys: list[str]) -> str:
    kind, context = found["type"], found.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key{_suggestion(keys, found)}; see deploy/edge.example.toml for every key"
    if kind == "literal_error" or kind.startswith("union_tag"):
        allowed = context.get("expected") or context["expected_tags"]
        words = re.findall(r"'([^']*)'", allowed)
        text = "expected one of " + ", ".join(f'"{word}"' for word in words)
        if not words:  # numbers
            return f"expected {allowed}"
        return f"{text}: {LAWFUL_PURPOSE}" if keys == ["device", "purpose"] else text
    if kind in _MESSAGES:
        return _MESSAGES[kind].format(**context)
    return found["msg"].removeprefix("Value error, ")


def section_keys(section: str) -> set[str]:
    """Return the keys of a section; for the source those of every kind."""
    models = SOURCES.values() if section == "source" else [_models()[section]]
    return {key for model in models for key in model.model_fields}


def _suggestion(keys: list[str], found: ErrorDetails) -> str:
    """Suggest a similar key or the right section; empty if there is none."""
    name, models = keys[-1], _models()
    if len(keys) == 1:
        close = _closest(name, models)
        if close:
            return f" (did you mean [{close}]?)"
        places = [section for section, model in models.items() if name in model.model_fields]
        return f" outside of the sections (it belongs below [{places[0]}])" if places else ""
    section = keys[0]
    model = SOURCES[str(found["loc"][1])] if section == "source" else models[section]
    if close := _closest(name, model.model_fields):
        return f" (did you mean {section}.{close}?)"
    if section == "source":
        kinds = [kind for kind, other in SOURCES.items() if name in other.model_fields]
        return f" of this kind of source (it belongs to {', '.join(kinds)})" if kinds else ""
    return ""


def _closest(name: str, known: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), "")


def _models() -> dict[str, type[BaseModel]]:
    """Return the model of each section; for the source that of one kind."""
    return {
        name: field.annotation if isinstance(field.annotation, type) else SOURCES["picamera"]
        for name, field in Config.model_fields.items()
    }


def _abbreviated(value: Any) -> str:
    """Return ``value`` as text of at most 80 characters; an address without its password."""
    if hasattr(value, "isoformat"):  # TOML's date and time
        return str(value.isoformat())
    text = repr(redact_address(value)) if isinstance(value, str) else redact_address(repr(value))
    return text if len(text) <= 80 else text[:77] + "..."
