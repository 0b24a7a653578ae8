"""What the face mesh says of a face's eyes and head, in words; no I/O."""

from typing import Final

from edge.descriptors import printable
from edge.protocol.face_mesh import FaceMesh, Lids

CLOSED_S: Final = 1.0
"""Eyes that are closed for a shorter time blink, which is no news."""

_REASONS: Final = {"too_short": "known after a minute", "too_seldom": "measured too seldom"}


def closed_words(lids: Lids) -> str:
    """Return ``eyes closed for 4 s``; empty while they are open or blink."""
    if lids.closed_s is None or lids.closed_s < CLOSED_S:
        return ""
    return f"eyes closed for {lids.closed_s:.0f} s"


def minute_words(lids: Lids, *, reasons: bool = True) -> list[str]:
    """Return PERCLOS and blinks of the last minute, such as ``PERCLOS 3 %, blinks 14/min``.

    Args:
        lids: of the newest measurement.
        reasons: whether what is not known stands there, with why.
    """
    shares = "" if lids.perclos is None else f"{100 * lids.perclos:.0f} %"
    rate = "" if lids.blinks_per_min is None else f"{lids.blinks_per_min:.0f}/min"
    known = (("PERCLOS", shares, lids.perclos_reason), ("blinks", rate, lids.blinks_reason))
    words = [f"{name} {value}" for name, value, _ in known if value]
    if not reasons:
        return words
    if not words and lids.perclos_reason == lids.blinks_reason:
        return [f"PERCLOS and blinks {_reason(lids.perclos_reason)}"]
    return [f"{name} {value or _reason(reason)}" for name, value, reason in known]


def mesh_words(mesh: FaceMesh) -> list[str]:
    """Return eyes and head pose of a face; eyes that are closed come first."""
    pose = mesh.pose
    head = f"head yaw {pose.yaw:+z.0f} pitch {pose.pitch:+z.0f} roll {pose.roll:+z.0f} degrees"
    return [each for each in (closed_words(mesh.lids), *minute_words(mesh.lids), head) if each]


def _reason(reason: str) -> str:
    return _REASONS.get(reason) or printable(reason).replace("_", " ") or "not known"
