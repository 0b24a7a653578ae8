"""Notes when faces begin to be left out of the frames, and when none are left out any more."""

from edge.protocol.events import FacesLeftOut
from edge.vision.pipeline import MAX_FACES
from edge.vision.values import FrameTracks


class LeftOut:
    """Follows the faces left out of the frames of one source. For the detect thread.

    The end is noted at three quarters of ``MAX_FACES``. Without this hysteresis, a number of faces
    around ``MAX_FACES`` would give an event for each frame.
    """

    def __init__(self) -> None:
        self._leaves_out = False

    def update(self, found: FrameTracks) -> FacesLeftOut | None:
        """Take in the next frame; return the event that it makes, if any."""
        if self._leaves_out == bool(found.left_out):
            return None
        if self._leaves_out and len(found.tracks) > MAX_FACES * 3 // 4:
            return None
        self._leaves_out = bool(found.left_out)
        return FacesLeftOut(
            left_out=found.left_out, kept=len(found.tracks), index=found.frame.index
        )
