"""What to change at camera and lamp: measured values in, sentences out.

Two limits hold for most values. Beyond the limit of ``[quality]`` a face is not read: ``WRONG``.
Within it, but without a margin, small changes of pose or light lead beyond it: ``WARN``. The words
are those of ``affect-edge check``. Nothing here prints; ``affect-edge aim`` and pages do.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from edge.config import QualityConfig

Level = Literal["ok", "WARN", "WRONG", "unknown"]
_NO_LANDMARKS: Final = "not known: this detector gives no landmarks"
LEVELS: Final[tuple[Level, ...]] = ("ok", "unknown", "WARN", "WRONG")
"""The best first."""

MARGIN: Final = 1.5
"""A value this many times better than its limit has a margin; of a face in good light and focus."""

SHARP_MARGIN: Final = 2.0
"""The same for sharpness: real near-infrared faces in focus begin at 0.06, twice the limit."""

DETECTABLE_PX: Final = 23.0
"""Smallest face that a detector finds reliably, pixels of its input: 140 pixels of a full HD
picture at 320x192, 70 at 640x384 (docs/accuracy.md, Face detection)."""

TILT_DEG: Final = 20.0
ROOM: Final = 0.25
_READ_WRONG, _READ_WARN = 0.5, 0.9
_RATE_WRONG, _RATE_WARN = 0.5, 0.9
_DROPPED_WARN: Final = 0.1
_INPUT: Final = re.compile(r"(\d{2,4})x(\d{2,4})")


@dataclass(frozen=True, slots=True)
class Advice:
    """One measured value, what is needed, and what to change.

    Attributes:
        level: ``ok``; ``WARN``: it works, with little margin; ``WRONG``: it does not.
        subject: a face, as it is shown elsewhere; empty: the device.
        measure: what was measured, such as ``face size``.
        value: with its unit.
        needed: what it should be; empty where that is said by ``text``.
        text: what to change; empty if nothing.
    """

    level: Level
    subject: str
    measure: str
    value: str
    needed: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class FaceValues:
    """A face over some seconds: medians of its frames.

    Attributes:
        name: a participant's code, a seat or a track.
        read: share of its frames with an expression.
        reasons: why it was not read, the most frequent first.
        size_px: longer side of its box.
        sharpness: as ``quality.sharpness``.
        brightness: 0..1.
        saturated: 0..1.
        yaw_deg: positive to the picture's right; None: the detector gives no landmarks.
        tilt_deg: of the line of the eyes, positive clockwise in the picture; None as before.
        room: to the nearest edge of the picture, in widths of the face; negative beyond it.
        edge: which one: left, right, upper or lower.
    """

    name: str
    read: float
    reasons: Sequence[str]
    size_px: float
    sharpness: float
    brightness: float
    saturated: float
    yaw_deg: float | None
    tilt_deg: float | None
    room: float
    edge: str


@dataclass(frozen=True, slots=True)
class SourceValues:
    """What a device says of its source and itself.

    Attributes:
        source_state: as in the status.
        source_reason: of its last change; empty if unknown.
        picture_state: as in the status.
        expected_hz: frames a second that the source should deliver; None: unknown.
        captured_hz: frames a second that it delivers.
        published_hz: frames a second with results.
        rate_divisor: one frame of so many is processed.
        rate_reason: why; None at 1.
        dropped: share of the frames of the last seconds that were lost.
        throttled: flags of the board that are set.
        faces: how many are followed.
        ignored: faces in no seat, or in an ignored area.
    """

    source_state: str
    source_reason: str
    picture_state: str
    expected_hz: float | None
    captured_hz: float
    published_hz: float
    rate_divisor: int
    rate_reason: str | None
    dropped: float
    throttled: Sequence[str]
    faces: int
    ignored: int


def worst(advice: Sequence[Advice]) -> Level:
    """Return the worst level; ``unknown`` of none."""
    return max((each.level for each in advice), key=LEVELS.index, default="unknown")


def needed_size_px(limits: QualityConfig, detector: str, width: int, height: int) -> float:
    """Return the size from which on a face is found and read reliably, pixels of the picture.

    Args:
        limits: of the daemon.
        detector: name of its model, which ends in the size of its input, such as ``320x192``.
        width: of the picture.
        height: of the picture.
    """
    found = _INPUT.search(detector)
    if not found:
        return limits.size_min_px * MARGIN
    scale = max(width / int(found[1]), height / int(found[2]))
    return max(limits.size_min_px * MARGIN, DETECTABLE_PX * scale)


# -- the device ------------------------------------------------------------------------------------

_PICTURES: Final = {
    "dark": "hardly any light: uncover the lens, switch the lamp on, or raise source.exposure_us",
    "flat": "no detail: clear what is in front of the lens, wipe it, dim the lamp or lower"
    " source.exposure_us",
    "frozen": "always the same picture: restart the camera, look at its cable",
    "still": "always the same picture, as a file may have",
}
_SOURCES: Final = {
    "stalled": "no new picture comes: look at cable and power of the camera",
    "absent": "it cannot be opened: is it connected, and does no other program use it?",
    "restarting": "the worker is started again; if this recurs, see the daemon's log",
    "ended": "the file has ended",
}
_FLAGS: Final = {
    "under_voltage": "the power supply or its cable is too weak: replace it",
}


def source_advice(values: SourceValues) -> list[Advice]:
    """Return what to change so that pictures come, and show something."""
    found = [_source(values)]
    if values.source_state == "running":
        found += [_picture(values), *_rate(values)]
    for flag in values.throttled:
        text = _FLAGS.get(flag, "the board slows down: cool it")
        found.append(Advice("WARN", "", "board", flag.replace("_", " "), "", text))
    return found


def _source(values: SourceValues) -> Advice:
    state = values.source_state
    if state == "running":
        return Advice("ok", "", "source", state)
    if state not in _SOURCES:  # starting, waiting
        return Advice("unknown", "", "source", state, "running")
    text = _SOURCES[state]
    if values.source_reason:
        text += f" ({values.source_reason})"
    elif state == "absent":
        text += " The daemon's log says why."
    return Advice("WRONG", "", "source", state, "running", text)


def _picture(values: SourceValues) -> Advice:
    state = values.picture_state
    text = _PICTURES.get(state, "")
    level: Level = "ok" if not text else "WARN" if state == "still" else "WRONG"
    return Advice(level, "", "picture", state, "normal", text)


def _rate(values: SourceValues) -> list[Advice]:
    found = []
    shown = f"{values.published_hz:.1f} frames/s"
    if values.expected_hz:
        expected = values.expected_hz
        possible = expected / values.rate_divisor
        needed = f"{expected:.4g}"
        level = _level(values.published_hz / expected, _RATE_WRONG, _RATE_WARN)
        text = ""
        if level != "ok" and values.rate_divisor > 1:
            cause = "cool the board" if values.rate_reason == "temperature" else "better power"
            text = f"one frame of {values.rate_divisor} is processed: {cause}"
        elif level != "ok" and values.captured_hz < _RATE_WARN * possible:
            text = (
                "the camera delivers fewer pictures than asked for: more light or a shorter"
                " source.exposure_us, a better cable, or a lower source.rate_hz"
            )
        elif level != "ok":
            text = "the board is too slow for this rate: lower source.rate_hz, a smaller detector"
        found.append(Advice(level, "", "rate", shown, needed, text))
    else:
        found.append(Advice("ok", "", "rate", shown))
    if values.rate_divisor == 1:
        level = "ok" if values.dropped <= _DROPPED_WARN else "WARN"
        text = "" if level == "ok" else "the board cannot keep up: see rate, and its temperature"
        shown, needed = f"{100 * values.dropped:.0f} %", f"{100 * _DROPPED_WARN:.0f} or less"
        found.append(Advice(level, "", "frames lost", shown, needed, text))
    return found


def no_face_advice(values: SourceValues, needed_px: float) -> Advice | None:
    """Return why there may be no face in view; None if there is one, or no picture."""
    if values.faces or values.source_state != "running":
        return None
    if values.picture_state in ("dark", "flat", "frozen"):
        text = f"the picture is {values.picture_state}: see picture"
    elif values.ignored:
        text = (
            f"{values.ignored} outside of the seats, or in an ignored area: move the camera, or"
            " correct [zones]"
        )
    else:
        text = (
            "is somebody there, and upright in the picture (source.rotate_deg)? Has the face"
            f" {needed_px:.0f} px, and enough light?"
        )
    return Advice("WRONG", "", "faces", "none in view", "1 or more", text)


# -- a face ----------------------------------------------------------------------------------------


def face_advice(values: FaceValues, limits: QualityConfig, needed_px: float) -> list[Advice]:
    """Return what to change so that a face is read well.

    Args:
        values: of the face.
        limits: of the daemon.
        needed_px: as ``needed_size_px``.
    """
    return [
        _read(values),
        _size(values, limits, needed_px),
        _focus(values, limits),
        _brightness(values, limits),
        _lamp_spots(values, limits),
        _turn(values, limits),
        _tilt(values),
        _place(values),
    ]


def _read(face: FaceValues) -> Advice:
    level = _level(face.read, _READ_WRONG, _READ_WARN)
    reasons = ", ".join(each.replace("_", " ") for each in face.reasons)
    text = f"not read: {reasons}" if reasons and level != "ok" else ""
    shown = f"{100 * face.read:.0f} % of frames"
    return Advice(level, face.name, "read", shown, f"{100 * _READ_WARN:.0f} or more", text)


def _size(face: FaceValues, limits: QualityConfig, needed_px: float) -> Advice:
    level = _level(face.size_px, limits.size_min_px, needed_px)
    text = ""
    if level != "ok":
        share = max(1.0, 100 * face.size_px / needed_px)
        text = (
            f"move the camera nearer, to {share:.0f} % of the distance, or use a longer lens; or a"
            " detector with a larger input"
        )
    shown, needed = f"{face.size_px:.0f} px", f"{needed_px:.0f} or more"
    return Advice(level, face.name, "face size", shown, needed, text)


def _focus(face: FaceValues, limits: QualityConfig) -> Advice:
    good = SHARP_MARGIN * limits.sharpness_min
    level = _level(face.sharpness, limits.sharpness_min, good)
    text = (
        "focus on the face (lens, or source.focus), wipe the lens; if it moves, more light and a"
        " shorter source.exposure_us"
    )
    shown = "" if level == "ok" else text
    value, needed = f"{face.sharpness:.3f}", f"{good:.3g} or more"
    return Advice(level, face.name, "focus", value, needed, shown)


def _brightness(face: FaceValues, limits: QualityConfig) -> Advice:
    lowest = min(limits.brightness_min * MARGIN, 0.5)
    highest = max(1 - (1 - limits.brightness_max) * MARGIN, 0.5)
    level = max(
        _level(face.brightness, limits.brightness_min, lowest),
        _level(-face.brightness, -limits.brightness_max, -highest),
        key=LEVELS.index,
    )
    text = ""
    if level != "ok" and face.brightness < lowest:
        text = "more light on the face: lamp nearer or stronger, or a longer source.exposure_us"
    elif level != "ok":
        text = "less light on the face: lamp farther or dimmer, or a shorter source.exposure_us"
    needed = f"{lowest:.2f} to {highest:.2f}"
    return Advice(level, face.name, "brightness", f"{face.brightness:.2f}", needed, text)


def _lamp_spots(face: FaceValues, limits: QualityConfig) -> Advice:
    good = limits.saturated_max / MARGIN
    level = _level(-face.saturated, -limits.saturated_max, -good)
    text = "the lamp reflects on the skin: diffuse it, move it to the side, or dim it"
    shown = "" if level == "ok" else text
    value, needed = f"{100 * face.saturated:.0f} % white", f"{100 * good:.0f} or less"
    return Advice(level, face.name, "lamp spots", value, needed, shown)


def _turn(face: FaceValues, limits: QualityConfig) -> Advice:
    good = limits.yaw_max_deg / MARGIN
    if face.yaw_deg is None:
        needed = f"{good:.0f} or less"
        return Advice("unknown", face.name, "turned", "unknown", needed, _NO_LANDMARKS)
    level = _level(-abs(face.yaw_deg), -limits.yaw_max_deg, -good)
    side = "right" if face.yaw_deg > 0 else "left"
    text = f"the face looks to the picture's {side}: move the camera to that side"
    value, shown = f"{abs(face.yaw_deg):.0f} degrees", "" if level == "ok" else text
    return Advice(level, face.name, "turned", value, f"{good:.0f} or less", shown)


def _tilt(face: FaceValues) -> Advice:
    if face.tilt_deg is None:
        needed = f"{TILT_DEG:.0f} or less"
        return Advice("unknown", face.name, "tilted", "unknown", needed, _NO_LANDMARKS)
    degrees = abs(face.tilt_deg)
    level: Level = "ok" if degrees <= TILT_DEG else "WARN"
    way = "clockwise" if face.tilt_deg > 0 else "counterclockwise"
    text = f"turn the camera {degrees:.0f} degrees {way} round its own axis, or source.rotate_deg"
    shown = "" if level == "ok" else text
    return Advice(
        level, face.name, "tilted", f"{degrees:.0f} degrees", f"{TILT_DEG:.0f} or less", shown
    )


def _place(face: FaceValues) -> Advice:
    level: Level = "ok" if face.room >= ROOM else "WARN"
    text = ""
    if face.room < 0:
        text = f"the {face.edge} edge of the picture cuts it off: turn the camera to that side"
    elif level != "ok":
        text = f"it is close to the {face.edge} edge of the picture: turn the camera to that side"
    shown = f"{face.room:z.1f} face widths to the edge"
    return Advice(level, face.name, "place", shown, f"{ROOM:g} or more", text)


def _level(value: float, limit: float, good: float) -> Level:
    """Return the level of a value that should be large; negate both for one that should not."""
    return "WRONG" if value < limit else "WARN" if value < good else "ok"
