"""Decides before anything else who is looked at: detections in seats, and outside ignored areas."""

from collections.abc import Iterable, Mapping

from edge.config import ZonesConfig
from edge.config.polygon import Polygon, contains
from edge.vision.values import Box, Detection


class Zones:
    """The zones of the configuration over pictures of any size. Stateless.

    Args:
        config: polygons as shares of the picture.
    """

    def __init__(self, config: ZonesConfig) -> None:
        self._seats: Mapping[str, Polygon] = {
            name: seat.polygon for name, seat in config.seats.items()
        }
        self._ignored = tuple(config.ignored.values())

    def seat(self, box: Box, width: int, height: int) -> str | None:
        """Return the seat in which the centre of ``box`` lies; None: in no seat.

        Args:
            box: of a face, pixels.
            width: of the picture, pixels.
            height: of the picture, pixels.
        """
        x, y = _centre(box, width, height)
        return next((name for name, area in self._seats.items() if contains(area, x, y)), None)

    def is_watched(self, box: Box, width: int, height: int) -> bool:
        """Return whether a face may be looked at: it is in a seat, if any, and not ignored."""
        x, y = _centre(box, width, height)
        if any(contains(area, x, y) for area in self._ignored):
            return False
        return not self._seats or self.seat(box, width, height) is not None

    def keep(self, detections: Iterable[Detection], width: int, height: int) -> list[Detection]:
        """Return the detections of faces that may be looked at, in their order."""
        return [each for each in detections if self.is_watched(each.box, width, height)]


def _centre(box: Box, width: int, height: int) -> tuple[float, float]:
    return (box.x + box.width / 2) / width, (box.y + box.height / 2) / height
