"""Decides where the next frame is searched: in all of it, or in squares round the known faces.

The decision depends on sensor time and on what was found, never on the machine's speed: a replay
gives the same messages everywhere. Costs are therefore compared by operations. A network's
operations are proportional to the pixels of its input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edge.vision.values import ExpectedFace

SEARCH_NS: Final = 1_000_000_000
"""A lost face is searched for this long; then it may be found at the regular full looks."""

SEARCH_EVERY_NS: Final = 100_000_000
"""Longest time between full looks while a face is lost, which is searched in a region meanwhile."""

CHANGE_EVERY_NS: Final = 200_000_000
"""Shortest time between full looks for a change of the picture where no face is known, while there
is a known face: such looks cost little, also where the background never rests."""

CROWD_EVERY_NS: Final = 150_000_000
"""Longest time between full looks with more faces than a full look costs, for each step by which
full looks are to be rarer: at 10 frames a second, every second one has one."""

_BUDGET: Final = 0.5
"""Share of a full look's operations that the regions of one frame may cost. No more faces are
searched in regions than cost one full look, so each is searched in every second frame at least;
or else full looks are to be rarer, and find all of them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a frame is searched.

    Attributes:
        followed: all known faces, whether to search or not.
        known: those to search in regions, in this order.
        lost: further ones, to search in regions if the full frame is not searched.
        look_after_ns: the full frame is searched if the last full look is as old, whatever the
            regular time is; None: the regular time holds.
        change_after_ns: the same, if the picture has changed.
        may_wait: whether a full look may follow the frame's answer: regions find what is known.
    """

    followed: tuple[ExpectedFace, ...] = ()
    known: tuple[ExpectedFace, ...] = ()
    lost: tuple[ExpectedFace, ...] = ()
    look_after_ns: int | None = None
    change_after_ns: int = 0
    may_wait: bool = False


def plan(
    expected: Sequence[ExpectedFace],
    *,
    region_cost: float,
    full_cost: float,
    full_every_factor: int = 1,
) -> Plan:
    """Return where to search the next frame.

    Known faces come first, those before others that were not found for a longer time; then lost
    ones. The rest of the known ones keep their prediction for this frame.

    Args:
        expected: the faces that the tracker expects in this frame.
        region_cost: operations of one region, in any unit.
        full_cost: operations of a full look, in the same unit.
        full_every_factor: by how much full looks are to be rarer than configured.
    """
    known = [each for each in expected if each.id is not None and not each.missed]
    lost = [
        each
        for each in expected
        if each.id is not None and each.missed and each.undetected_ns <= SEARCH_NS
    ]
    followed = tuple(known)
    look_after_ns = SEARCH_EVERY_NS if lost else None
    may_wait = bool(known)
    if len(known) * region_cost > full_cost:
        if full_every_factor == 1:
            return Plan(followed, look_after_ns=0)
        rare_ns = (full_every_factor - 1) * CROWD_EVERY_NS
        look_after_ns = min(rare_ns, look_after_ns or rare_ns)
        may_wait = False  # only full looks find all of them
    if any(each.id is None and not each.missed for each in expected):
        look_after_ns, may_wait = 0, False  # a new face that is not sure yet
    for group in (known, lost):
        group.sort(key=lambda face: (-face.undetected_ns, face.id))
    limit = max(1, int(_BUDGET * full_cost / region_cost))
    return Plan(
        followed=followed,
        known=tuple(known[:limit]),
        lost=tuple(lost[: max(0, limit - len(known))]),
        look_after_ns=look_after_ns,
        change_after_ns=CHANGE_EVERY_NS if known else 0,
        may_wait=may_wait,
    )
