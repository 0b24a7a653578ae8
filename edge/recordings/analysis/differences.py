"""What differs between the settings of two analyses."""

from collections.abc import Mapping
from typing import Any, Final

_REMOVABLE: Final = (
    ("video", "annotated.mp4", "--video"),
    ("joins", "joined.csv and joined.parquet", "--join"),
    ("marks", "the marks of a file", "--marks"),
    ("interval_s", "the intervals of the summary", "--interval"),
    ("codes", "the codes of tracks", "--participants"),
)
"""Keys of the outputs, what they made, and the option that asks for it."""


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


def removals(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return in words what of earlier results an analysis with other options removes.

    Args:
        before: the outputs of ``session.json``.
        now: those that are wanted; nothing is removed if the text is empty.
    """
    gone = [each for each in _REMOVABLE if before.get(each[0]) and not now.get(each[0])]
    if not gone:
        return ""
    options = " and ".join(", ".join(option for _, _, option in gone).rsplit(", ", 1))
    verb = "is" if len(gone) == 1 else "are"
    return f"removes {', '.join(what for _, what, _ in gone)}: {options} {verb} not given"


def _flat(values: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found += _flat(value, f"{name}.")
        else:
            found.append((name, value))
    return found
