"""Draw docs/demo.png: a frame of the bundled clip with the predictions of the pipeline.

    python scripts/make_picture.py

The script runs the pipeline over the clip. It shows the frame with the most classified faces and,
among those, the one whose least sharp face is the sharpest.
"""

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.config import Config, DemoSource
from edge.errors import EndOfStream
from edge.vision.pipeline import Pipeline
from edge.vision.resize import resize_area
from edge.vision.sources import open_source
from edge.vision.values import Affect, FaceState, FrameState
from edge.vocabulary import EXPRESSIONS

OUT = Path(__file__).resolve().parents[1] / "docs" / "demo.png"
SIZE_MAX_BYTES = 250_000  # a README should open at once
PICTURE_PX = (848, 477)
PANEL_PX = 400
MARGIN_PX = 24
BLOCK_PX = 198
TRAIL_S = 2.0
SHOWN_FACES = 2

GROUND, LINE, DIM, TEXT = (24, 20, 18), (72, 64, 58), (150, 142, 136), (236, 232, 228)
COLOURS = ((120, 220, 255), (255, 190, 120))  # one per track, blue-green-red
FONT = cv2.FONT_HERSHEY_SIMPLEX
Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]


def write(picture: Picture, text: str, at: tuple[int, int], size: float = 0.5,
          colour: Colour = TEXT) -> None:  # fmt: skip
    """Draw a line of text with its baseline at ``at``."""
    cv2.putText(picture, text, at, FONT, size, colour, 1, cv2.LINE_AA)


def width_px(text: str, size: float) -> int:
    """Return the width of a drawn line of text."""
    return int(cv2.getTextSize(text, FONT, size, 1)[0][0])


def draw_face(picture: Picture, face: FaceState, ratio: float, colour: Colour) -> None:
    """Draw box, landmarks and name of one face."""
    box = face.track.detection.box
    x, y, right, bottom = (
        round(value * ratio) for value in (box.x, box.y, box.x + box.width, box.y + box.height)
    )
    cv2.rectangle(picture, (x, y), (right, bottom), colour, 2, cv2.LINE_AA)
    for point in face.track.detection.landmarks * ratio:
        cv2.circle(picture, (round(float(point[0])), round(float(point[1]))), 2, colour, -1,
                   cv2.LINE_AA)  # fmt: skip
    label = face.smoothed.stable_label if face.smoothed else ", ".join(face.quality.reasons)
    text = f"track {face.track.id}: {label}"
    left = min(x, picture.shape[1] - width_px(text, 0.55) - 6)
    write(picture, text, (left, y - 8), 0.55, colour)


def draw_panel(panel: Picture, face: FaceState, trail: "Trail", top: int, colour: Colour) -> None:
    """Draw the three most probable expressions of one face, and its place on the circumplex."""
    assert face.prediction is not None
    assert face.smoothed is not None
    write(panel, f"track {face.track.id}: {face.smoothed.stable_label}", (MARGIN_PX, top), 0.55,
          colour)  # fmt: skip
    probabilities = face.prediction.probabilities
    left, right = MARGIN_PX + 72, 186
    for row, index in enumerate(np.argsort(-probabilities, kind="stable")[:3].tolist()):
        y = top + 24 + 26 * row
        share = float(probabilities[index])
        write(panel, EXPRESSIONS[index], (MARGIN_PX, y + 11), 0.42)
        cv2.rectangle(panel, (left, y + 1), (right, y + 11), LINE, -1)
        cv2.rectangle(panel, (left, y + 1), (left + round((right - left) * share), y + 11), colour,
                      -1)  # fmt: skip
        write(panel, f"{share:.2f}", (right + 8, y + 11), 0.42, DIM)
    point = face.smoothed.affect
    for row, (name, value) in enumerate((("valence", point.valence), ("arousal", point.arousal))):
        y = top + 124 + 20 * row
        write(panel, name, (MARGIN_PX, y), 0.42, DIM)
        write(panel, f"{value:+.2f}", (left, y), 0.42)
    draw_circumplex(panel, trail, (PANEL_PX - MARGIN_PX - 66, top + 76), colour)


def draw_circumplex(panel: Picture, trail: "Trail", centre: tuple[int, int],
                    colour: Colour) -> None:  # fmt: skip
    """Draw the circumplex: raw points as faint dots, the smoothed trail, and the current point."""
    radius = 62
    cv2.circle(panel, centre, radius, LINE, 1, cv2.LINE_AA)
    for dx, dy in ((radius, 0), (0, radius)):
        cv2.line(panel, (centre[0] - dx, centre[1] - dy), (centre[0] + dx, centre[1] + dy), LINE, 1)
    write(panel, "arousal", (centre[0] - width_px("arousal", 0.36) // 2, centre[1] - radius - 8),
          0.36, DIM)  # fmt: skip
    write(panel, "valence", (centre[0] + 10, centre[1] + 17), 0.36, DIM)

    def place(point: Affect) -> tuple[int, int]:
        """Return where ``point`` lies, in sixteenths of a pixel."""
        x, y = centre[0] + point.valence * radius, centre[1] - point.arousal * radius
        return round(16 * x), round(16 * y)

    faint = tuple(round(0.55 * c + 0.45 * g) for c, g in zip(colour, GROUND, strict=True))
    for point in trail.raw:
        cv2.circle(panel, place(point), 16, faint, -1, cv2.LINE_AA, 4)
    for before, after in itertools.pairwise(trail.smoothed):
        cv2.line(panel, place(before), place(after), colour, 1, cv2.LINE_AA, 4)
    cv2.circle(panel, place(trail.smoothed[-1]), 5 * 16, colour, 1, cv2.LINE_AA, 4)
    cv2.circle(panel, place(trail.raw[-1]), 2 * 16, TEXT, -1, cv2.LINE_AA, 4)


@dataclass(frozen=True, slots=True)
class Trail:
    """Recent places of a face on the circumplex, oldest first."""

    raw: tuple[Affect, ...]
    smoothed: tuple[Affect, ...]


def run_clip() -> list[FrameState]:
    """Return the result of the pipeline for each frame of the clip."""
    pipeline = Pipeline.open(Config(source=DemoSource()))
    states = []
    with open_source(DemoSource(), small_size=(0, 0)) as source:
        while True:
            try:
                states.append(pipeline.step(source.read()))
            except EndOfStream:
                return states


def classified_faces(state: FrameState) -> list[FaceState]:
    """Return the classified faces of a frame."""
    return [face for face in state.faces if face.prediction is not None]


def rank(state: FrameState) -> tuple[int, float]:
    """Return the rank of a frame for the picture; higher is better."""
    faces = classified_faces(state)
    return len(faces), min((face.quality.sharpness for face in faces), default=0.0)


def trail_to(states: list[FrameState], shown: FrameState, track: int) -> Trail:
    """Return the last ``TRAIL_S`` seconds of a track up to the frame shown."""
    end_ns = shown.frame.sensor_ns
    raw, smoothed = [], []
    for state in states:
        if not end_ns - TRAIL_S * 1e9 <= state.frame.sensor_ns <= end_ns:
            continue
        for face in state.faces:
            if face.track.id == track and face.prediction and face.smoothed:
                raw.append(face.prediction.affect)
                smoothed.append(face.smoothed.affect)
    return Trail(tuple(raw), tuple(smoothed))


def main() -> None:
    """Run the pipeline over the clip, choose a frame, and draw it."""
    states = run_clip()
    state = max(states, key=rank)
    width, height = PICTURE_PX
    ratio = width / state.frame.width
    grey = resize_area(state.frame.luma, PICTURE_PX)
    picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    panel = np.full((height, PANEL_PX, 3), GROUND, np.uint8)
    write(panel, "affect-edge", (MARGIN_PX, 38), 0.7)
    title = f"frame {state.frame.index}, {state.frame.sensor_ns / 1e9:.2f} s"
    write(panel, title, (PANEL_PX - MARGIN_PX - width_px(title, 0.42), 38), 0.42, DIM)
    for row, face in enumerate(classified_faces(state)[:SHOWN_FACES]):
        top = 84 + BLOCK_PX * row
        cv2.line(panel, (MARGIN_PX, top - 26), (PANEL_PX - MARGIN_PX, top - 26), LINE, 1)
        draw_face(picture, face, ratio, COLOURS[row])
        draw_panel(panel, face, trail_to(states, state, face.track.id), top, COLOURS[row])
    write(panel, f"white: raw; ring: smoothed; the last {TRAIL_S:.0f} s", (MARGIN_PX, height - 14),
          0.38, DIM)  # fmt: skip
    OUT.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(OUT), np.hstack([picture, panel]), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    size_bytes = OUT.stat().st_size
    print(f"{OUT}: {size_bytes} bytes")
    if size_bytes > SIZE_MAX_BYTES:
        sys.exit(f"{OUT}: expected at most {SIZE_MAX_BYTES} bytes; draw it smaller")


if __name__ == "__main__":
    main()
