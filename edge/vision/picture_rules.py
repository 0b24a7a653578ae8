"""When a source stalls, when it is still, and when it shows nothing: by kind of source.

A *stall* is a camera without a new picture; equal pictures are not new. *Stillness* is the same in
a file, which has no noise: it is reported, and nothing else happens. *Nothing* is shown by pictures
that are dark (covered lens, lamp off) or flat (paper or fog in front of the lens): they are
reported, and whether they are equal does not matter, since a sensor at the end of its range has no
noise. ``docs/operation.md`` has the tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from edge.vocabulary import PictureState

NOTHING_S: Final = 3.0
"""Dark or flat pictures for this long are reported; exposure control needs less."""

SOMETHING_S: Final = 1.0
"""Other pictures for this long end it."""

STILL_S: Final = 2.0
"""Equal pictures of a file for this long are reported; of a camera: ``limits.stall_s``."""

PICTURES_MIN: Final = 4
"""Of a slow source as many pictures in a row, however long that takes."""

CAUSES: Final[Mapping[PictureState, str]] = {
    "normal": "",
    "dark": "hardly any light; check the lens cover, the lamp and the exposure",
    "flat": "no detail; check what is in front of the lens, the focus and the exposure",
    "frozen": "the same picture again and again; the camera is opened again",
    "still": "the same picture again and again; a file may be so",
}
"""Every state of the picture, and what is said of it."""


@dataclass(frozen=True, slots=True)
class SourceRules:
    """What equal pictures of a kind of source mean.

    Attributes:
        name: of the kind, for people.
        repeated: the state that equal pictures are.
        encoded: whether a video encoder may have made several versions of one picture.
    """

    name: str
    repeated: Literal["frozen", "still"]
    encoded: bool


RULES: Final[Mapping[str, SourceRules]] = {
    "picamera": SourceRules("Pi camera", "frozen", encoded=False),
    "v4l2": SourceRules("V4L2 camera", "frozen", encoded=False),
    "stream": SourceRules("network camera", "frozen", encoded=True),
    "video": SourceRules("video file", "still", encoded=True),
    "images": SourceRules("folder", "still", encoded=False),
    "demo": SourceRules("demo clip", "still", encoded=True),
}
"""By ``source.kind``."""


def rules_line(kind: str, stall_s: float) -> str:
    """Return the rules of one kind of source for ``check``; ``stall_s``: ``limits.stall_s``."""
    if RULES[kind].repeated == "frozen":
        equal = f"the same for {stall_s:g} s is a stall, and the camera is opened again"
    else:
        equal = f"the same for {STILL_S:g} s is reported as still"
    return f"pictures of a {RULES[kind].name}: {equal}; dark or flat ones, after {NOTHING_S:g} s"
