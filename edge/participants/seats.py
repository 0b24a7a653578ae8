"""Codes of seats: those of the configuration, and those that an operator assigned."""

from collections.abc import Mapping

from edge.config import ZonesConfig
from edge.errors import RequestRefused


class Seats:
    """Which seat has which participant's code. Not thread-safe.

    A code is on one seat at most. What an operator assigned lasts until the end of the session;
    then the codes of the configuration apply again.

    Attributes:
        configured: code of each seat in the configuration; None: none.
        names: of all seats; empty: there are none, and codes belong to tracks.
        assigned: what the operator changed, by seat; None: the seat has no code.
    """

    def __init__(self, config: ZonesConfig) -> None:
        self.configured = {name: seat.participant for name, seat in config.seats.items()}
        self.names = tuple(self.configured)
        self.assigned: dict[str, str | None] = {}

    def codes(self) -> dict[str, str]:
        """Return the codes by seat, of seats that have one."""
        present = self.configured | self.assigned
        return {seat: code for seat, code in present.items() if code is not None}

    def seat_of(self, code: str) -> str | None:
        """Return the seat that has ``code``; None: no seat."""
        return next((seat for seat, other in self.codes().items() if other == code), None)

    def assign(self, seat: str, code: str) -> None:
        """Give ``code`` to ``seat``; another seat that had it has none afterwards.

        Raises:
            RequestRefused: there is no such seat.
        """
        if seat not in self.configured:
            known = (
                ", ".join(self.names) or "none: [zones] has no seats; give the number of a track"
            )
            raise RequestRefused(f"no seat {seat}; seats: {known}")
        self.release(code)
        self.assigned[seat] = code

    def release(self, code: str) -> None:
        """Take ``code`` from its seat, if it has one."""
        if (seat := self.seat_of(code)) is not None:
            self.assigned[seat] = None

    def end_session(self) -> None:
        """Forget what was assigned."""
        self.assigned = {}

    def restore(self, assigned: Mapping[str, str | None]) -> None:
        """Continue with what was assigned before a restart; seats that are gone are left out.

        A code that the new configuration gives to another seat stays where it was assigned.
        """
        self.assigned = {}
        for seat, code in assigned.items():
            if seat not in self.configured:
                continue
            if code is not None:
                self.release(code)
            self.assigned[seat] = code
