"""What differs between the settings of two analyses."""

from collections.abc import Mapping
from typing import Any


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return each key whose value differs, as ``detector.threshold 0.5, now 0.6``.

    Args:
        before: nested settings.
        now: others of the same form.
    """
    one, other = dict(_flat(before, "")), dict(_flat(now, ""))
    missing = "none"
    return [
        f"{key} {one.get(key, missing)}, now {other.get(key, missing)}"
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    ]


def _flat(values: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found += _flat(value, f"{name}.")
        else:
            found.append((name, value))
    return found
