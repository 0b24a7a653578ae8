"""What is known of one picture of a recording."""

from dataclasses import dataclass

from edge.protocol.messages import Face


@dataclass(frozen=True, slots=True)
class Result:
    """The faces of one picture, with the values of a frame message. It holds no pixels.

    Attributes:
        index: number of the picture in its recording, from 0; also where others are left out.
        media_ns: its time within the recording, ns.
        width: of the picture, upright and turned as configured, pixels.
        height: the same.
        faces: by ascending track; ``expression`` and ``affect`` of a face are None if it was not
            classified, and ``quality.reasons`` says why. Boxes and landmarks are in pixels of the
            picture. See ``edge.protocol.messages.Face``.
        dropped: pictures right before this one that could not be read.
        ignored: faces in no seat of ``[zones]``, or in an ignored area.
        file: name of its file in a folder of pictures; None for a video.
        page: its number in a file of several pictures, from 1; None if the file has only one.
    """

    index: int
    media_ns: int
    width: int
    height: int
    faces: tuple[Face, ...]
    dropped: int = 0
    ignored: int = 0
    file: str | None = None
    page: int | None = None

    @property
    def time_s(self) -> float:
        """Its time within the recording, seconds."""
        return self.media_ns / 1e9
