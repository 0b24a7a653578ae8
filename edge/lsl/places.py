"""Which face goes into which affect stream: streams are fixed, and faces come and go.

With seats, each seat has a stream. Without, there are ``count`` places: a participant keeps one for
good, so all samples of one code lie in one stream; any other face gets the first free place, and
leaves it after 1.5 s out of view.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edge.protocol.messages import Face

_GONE_NS: Final = 1_500_000_000


@dataclass(slots=True)
class _Place:
    participant: str | None = None
    track: int | None = None
    seen_ns: int = 0

    def is_free(self, now_ns: int) -> bool:
        gone = self.track is None or now_ns - self.seen_ns > _GONE_NS
        return self.participant is None and gone


@dataclass(frozen=True, slots=True)
class Occupation:
    """Who is in a place from now on: the fields of a marker ``place``."""

    place: str
    track: int
    participant: str | None


class Places:
    """Places the faces of one device. Not thread-safe.

    Args:
        seats: names of the seats; empty: the daemon has none.
        count: number of places without seats.
    """

    def __init__(self, seats: Sequence[str], count: int) -> None:
        self._seats = tuple(seats)
        self.names = self._seats or tuple(f"face {number}" for number in range(1, count + 1))
        """Name of each place: the seat, or ``face 1``."""
        self._places = [_Place() for _ in self.names]
        self.left_out = 0
        """Faces of the newest frame for which no place is free."""

    def place(
        self, faces: Sequence[Face], now_ns: int
    ) -> tuple[list[Face | None], list[Occupation]]:
        """Return the face in each place, and the places that changed hands.

        Args:
            faces: of a frame.
            now_ns: time of the frame.
        """
        placed: list[Face | None] = [None] * len(self._places)
        changes = []
        self.left_out = 0
        # codes first: they have a right to their place
        for face in sorted(faces, key=lambda face: (face.participant is None, face.track)):
            index = self._index(face, placed, now_ns)
            if index is None:
                self.left_out += 1
                continue
            place = self._places[index]
            if (place.track, place.participant) != (face.track, face.participant):
                changes.append(Occupation(self.names[index], face.track, face.participant))
            place.track, place.participant, place.seen_ns = face.track, face.participant, now_ns
            placed[index] = face
        return placed, changes

    def occupations(self) -> list[Occupation]:
        """Return who is in each place that is taken."""
        return [
            Occupation(name, place.track, place.participant)
            for name, place in zip(self.names, self._places, strict=True)
            if place.track is not None
        ]

    def begin(self) -> None:
        """Begin a new run of the daemon, whose tracks are new."""
        for place in self._places:
            place.track = None

    def release(self, participant: str) -> None:
        """Free the place of a participant whose code was released."""
        for place in self._places:
            if place.participant == participant:
                place.participant = None

    def _index(self, face: Face, placed: Sequence[Face | None], now_ns: int) -> int | None:
        free = [index for index, other in enumerate(placed) if other is None]
        if self._seats:
            return next((index for index in free if self.names[index] == face.seat), None)
        for index in free:
            place = self._places[index]
            if face.participant is not None and place.participant == face.participant:
                return index
        for index in free:
            place = self._places[index]
            if place.track == face.track and place.participant in (None, face.participant):
                return index
        for index in free:
            if self._places[index].is_free(now_ns):
                return index
        # a participant takes the place of a face without a code
        unnamed = [index for index in free if self._places[index].participant is None]
        return unnamed[0] if face.participant is not None and unnamed else None
