"""What is missing of a recording, in words: the same for its analysis and its annotated video."""

from typing import Final

_SHORT_S: Final = 2.0
"""A recording that ends earlier than it states, by more than this or 2 %, is not complete."""


def describe_damage(lost: int, last_s: float | None, stated_s: float | None) -> list[str]:
    """Return what is missing of a recording; an empty list if nothing is known to be.

    Args:
        lost: pictures that could not be decoded.
        last_s: time of the last picture, seconds; None: of a part, which says nothing of the end.
        stated_s: length that the file states; None: it states none.
    """
    found: list[str] = []
    if lost:
        found.append(f"{lost} {'picture' if lost == 1 else 'pictures'} could not be decoded")
    if last_s is None or stated_s is None:
        return found
    if last_s < stated_s - max(_SHORT_S, 0.02 * stated_s):
        found.append(f"it ends at {last_s:.1f} s, and states {stated_s:.1f} s")
    return found
