"""Which face goes into which affect stream: streams are fixed, and faces come and go.

With seats, each seat has a stream. Without, there are ``count`` slots: a participant keeps the slot
for good, so all samples of one code lie in one stream; any other face gets the first free slot, and
leaves it after 1.5 s out of view.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edge.protocol.messages import Face

_GONE_NS: Final = 1_500_000_000


@dataclass(slots=True)
class _Slot:
    participant: str | None = None
    track: int | None = None
    seen_ns: int = 0

    def is_free(self, now_ns: int) -> bool:
        gone = self.track is None or now_ns - self.seen_ns > _GONE_NS
        return self.participant is None and gone


@dataclass(frozen=True, slots=True)
class Occupation:
    """Who is in a slot from now on: the fields of a marker ``slot``."""

    slot: str
    track: int
    participant: str | None


class Slots:
    """Places the faces of one device. Not thread-safe.

    Args:
        seats: names of the seats; empty: the daemon has none.
        count: number of slots without seats.
    """

    def __init__(self, seats: Sequence[str], count: int) -> None:
        self._seats = tuple(seats)
        self.names = self._seats or tuple(f"face {number}" for number in range(1, count + 1))
        """Name of each slot: the seat, or ``face 1``."""
        self._slots = [_Slot() for _ in self.names]
        self.left_out = 0
        """Faces of the newest frame for which no slot is free."""

    def place(
        self, faces: Sequence[Face], now_ns: int
    ) -> tuple[list[Face | None], list[Occupation]]:
        """Return the face in each slot, and the slots that changed hands.

        Args:
            faces: of a frame.
            now_ns: time of the frame.
        """
        placed: list[Face | None] = [None] * len(self._slots)
        changes = []
        self.left_out = 0
        # codes first: they have a right to their slot
        for face in sorted(faces, key=lambda face: (face.participant is None, face.track)):
            index = self._index(face, placed, now_ns)
            if index is None:
                self.left_out += 1
                continue
            slot = self._slots[index]
            if (slot.track, slot.participant) != (face.track, face.participant):
                changes.append(Occupation(self.names[index], face.track, face.participant))
            slot.track, slot.participant, slot.seen_ns = face.track, face.participant, now_ns
            placed[index] = face
        return placed, changes

    def begin(self) -> None:
        """Begin a new run of the daemon, whose tracks are new."""
        for slot in self._slots:
            slot.track = None

    def release(self, participant: str) -> None:
        """Free the slot of a participant whose code was released."""
        for slot in self._slots:
            if slot.participant == participant:
                slot.participant = None

    def _index(self, face: Face, placed: Sequence[Face | None], now_ns: int) -> int | None:
        free = [index for index, other in enumerate(placed) if other is None]
        if self._seats:
            return next((index for index in free if self.names[index] == face.seat), None)
        for index in free:
            slot = self._slots[index]
            if face.participant is not None and slot.participant == face.participant:
                return index
        for index in free:
            slot = self._slots[index]
            if slot.track == face.track and slot.participant in (None, face.participant):
                return index
        for index in free:
            if self._slots[index].is_free(now_ns):
                return index
        # a participant takes the slot of a face without a code
        unnamed = [index for index in free if self._slots[index].participant is None]
        return unnamed[0] if face.participant is not None and unnamed else None
