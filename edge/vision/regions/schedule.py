"""Decides where the next frame is searched: in all of it, or in squares round the known faces.

The decision depends on sensor time and on what was found, never on the machine's speed: a replay
gives the same messages everywhere. Costs are therefore compared by operations. A network's
operations are proportional to the pixels of its input.
"""

from collections.abc import Sequence
from typing import Final

from edge.vision.values import ExpectedFace

SEARCH_NS: Final = 1_000_000_000
"""A lost face is searched in every full frame for this long; then at the regular full looks."""

_BUDGET: Final = 0.5
"""Share of a full look's operations that the regions of one frame may cost. No more faces are
searched in regions than cost one full look, so each is searched in every second frame at least."""


def faces_to_search(
    expected: Sequence[ExpectedFace], *, region_cost: float, full_cost: float
) -> tuple[ExpectedFace, ...] | None:
    """Return the faces to search in regions in this frame; None: look at the full frame.

    Those that were not found for the longest time come first. The rest keep their prediction for
    this frame.

    Args:
        expected: the faces that the tracker expects in this frame.
        region_cost: operations of one region, in any unit.
        full_cost: operations of a full look, in the same unit.
    """
    known = []
    for face in expected:
        if face.id is None and not face.missed:
            return None  # a new face that is not sure yet
        if face.missed and face.id is not None and face.undetected_ns <= SEARCH_NS:
            return None  # a full look decides whether a face is lost
        if not face.missed:
            known.append(face)
    if not known or len(known) * region_cost > full_cost:
        return None
    limit = max(1, int(_BUDGET * full_cost / region_cost))
    known.sort(key=lambda face: (-face.undetected_ns, face.id))
    return tuple(known[:limit])
