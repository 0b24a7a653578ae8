"""When a source stalls, when it is still, and when it shows nothing: by kind of source.

A *stall* is a camera without a new picture; equal pictures are not new. *Stillness* is the same in
a file, which has no noise: it is reported, and nothing else happens. *Nothing* is shown by pictures
that are dark (covered lens, lamp off) or flat (paper or fog in front of the lens): they are
reported, and whether they are equal does not matter, since a sensor at the end of its range has no
noise. ``docs/operation.md`` has the table, made from ``RULES``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from edge.vision.picture import BLACK, CONTRAST_MIN, DIM, STRUCTURE_MIN
from edge.vocabulary import PICTURE_GRADES, PICTURE_STATES, PictureState

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
    """When a kind of source stalls, and what its equal pictures mean.

    Attributes:
        name: of the kind, for people.
        no_picture: who notices that no picture comes, and after what time.
        repeated: the state that equal pictures are.
        encoded: whether a video encoder may have made several versions of one picture.
    """

    name: str
    no_picture: str
    repeated: Literal["frozen", "still"]
    encoded: bool


_WORKER: Final = "else the worker after `limits.stall_s`, at least 3 periods"
_NO_STALL: Final = "no stall: a file ends, or a picture is refused"

RULES: Final[Mapping[str, SourceRules]] = {
    "picamera": SourceRules(
        "Pi camera",
        f"source after `source.read_timeout_s`, at least 3 periods; {_WORKER}",
        "frozen",
        encoded=False,
    ),
    "v4l2": SourceRules("V4L2 camera", f"source after 1 s; {_WORKER}", "frozen", encoded=False),
    "stream": SourceRules(
        "network camera", f"source after `source.read_timeout_s`; {_WORKER}", "frozen", encoded=True
    ),
    "video": SourceRules("video file", _NO_STALL, "still", encoded=True),
    "images": SourceRules("folder", _NO_STALL, "still", encoded=False),
    "demo": SourceRules("demo clip", _NO_STALL, "still", encoded=True),
}
"""By ``source.kind``."""


def rules_table() -> str:
    """Return the rules of each kind of source as a Markdown table."""
    rows = [
        ("source", "no picture", "equal pictures", "dark or flat pictures", "restarted"),
        ("---",) * 5,
    ]
    after = f"and {PICTURES_MIN} pictures"
    for kind, rules in RULES.items():
        camera = rules.repeated == "frozen"
        limit = "`limits.stall_s`" if camera else f"{STILL_S:g} s"
        stall = ", a stall" if camera else ", no fault"
        rows.append(
            (
                f"{rules.name} (`{kind}`)",
                rules.no_picture,
                f"worker after {limit} {after}: `{rules.repeated}`{stall}",
                f"worker after {NOTHING_S:g} s {after}: `dark`, `flat`",
                "in a stall the camera is opened again" if camera else "nothing",
            )
        )
    return _markdown(rows)


def rules_line(kind: str, stall_s: float) -> str:
    """Return the rules of one kind of source for ``check``; ``stall_s``: ``limits.stall_s``."""
    if RULES[kind].repeated == "frozen":
        equal = f"the same for {stall_s:g} s is a stall, and the camera is opened again"
    else:
        equal = f"the same for {STILL_S:g} s is reported as still"
    return f"pictures of a {RULES[kind].name}: {equal}; dark or flat ones, after {NOTHING_S:g} s"


def states_table() -> str:
    """Return the states of the picture, their limits and grades as a Markdown table."""
    ends = f"other pictures for {SOMETHING_S:g} s"
    limits: Mapping[PictureState, tuple[str, str, str]] = {
        "normal": ("the pictures show something", "", ""),
        "dark": (
            "hardly any light: covered lens, lamp off",
            f"brightest areas below {DIM:g} of 255 and structure below {STRUCTURE_MIN:g}, or"
            f" brightest areas below {BLACK:g} of 255",
            ends,
        ),
        "flat": (
            "no detail: paper or fog in front of the lens, all white",
            f"contrast below {CONTRAST_MIN:g}",
            ends,
        ),
        "frozen": (
            "a camera gives the same picture again and again",
            "equal to the one before; `stream`, `video`: or to one of the last 16, and close to the"
            " one before",
            "the first other picture",
        ),
        "still": ("a file gives the same picture again and again", "as `frozen`", "as `frozen`"),
    }
    rows = [("state", "meaning", "limits", "ends with", "health"), ("---",) * 5]
    rows += [
        (f"`{state}`", *limits[state], f"{grade}, `picture_{state}`" if grade else "")
        for state in PICTURE_STATES
        for grade in (PICTURE_GRADES.get(state),)
    ]
    return _markdown(rows)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    return "\n".join(line.replace("|  |", "| |").replace("|  |", "| |") for line in lines) + "\n"
