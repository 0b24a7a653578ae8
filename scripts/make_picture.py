"""Draw docs/demo.png: a frame of the bundled clip and what the pipeline reads from it.

    python scripts/make_picture.py

The readings are the pipeline's own, made by running it over the clip up to the frame shown.
"""

import itertools
from collections import deque
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.config import Config, DemoSource
from edge.errors import EndOfStream
from edge.pipeline import Pipeline
from edge.sources import open_source
from edge.values import EXPRESSIONS, FaceState, FrameState

OUT = Path(__file__).resolve().parents[1] / "docs" / "demo.png"
SHOWN_S = 3.6  # both people are in view
PICTURE_PX = (880, 495)
PANEL_PX = 360
TRAIL = 60

GROUND, LINE, DIM, TEXT = (24, 20, 18), (72, 64, 58), (150, 142, 136), (236, 232, 228)
COLOURS = ((120, 220, 255), (255, 190, 120))  # one per track, blue-green-red
FONT = cv2.FONT_HERSHEY_SIMPLEX
Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]


def write(picture: Picture, text: str, at: tuple[int, int], size: float = 0.5,
          colour: Colour = TEXT) -> None:  # fmt: skip
    """Write a line of text, baseline at ``at``."""
    cv2.putText(picture, text, at, FONT, size, colour, 1, cv2.LINE_AA)


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
    write(picture, f"track {face.track.id}: {label}", (x, y - 8), 0.55, colour)


def draw_bars(panel: Picture, face: FaceState, top: int, colour: Colour) -> None:
    """Draw the three likeliest expressions of one face."""
    write(panel, f"track {face.track.id}", (24, top), 0.5, colour)
    if face.reading is None:
        write(panel, ", ".join(face.quality.reasons), (24, top + 24), 0.45, DIM)
        return
    probabilities = face.reading.probabilities
    for row, index in enumerate(np.argsort(-probabilities)[:3].tolist()):
        y = top + 14 + 19 * row
        share = float(probabilities[index])
        write(panel, EXPRESSIONS[index], (24, y + 11), 0.42)
        cv2.rectangle(panel, (112, y + 2), (282, y + 12), LINE, -1)
        cv2.rectangle(panel, (112, y + 2), (112 + round(170 * share), y + 12), colour, -1)
        write(panel, f"{share:.2f}", (292, y + 12), 0.42, DIM)


def draw_circumplex(
    panel: Picture, trails: dict[int, deque[tuple[float, float]]], colours: dict[int, Colour]
) -> None:
    """Draw the circumplex with the smoothed trail of each track in view."""
    centre, radius = (PANEL_PX // 2, 362), 90
    cv2.circle(panel, centre, radius, LINE, 1, cv2.LINE_AA)
    cv2.circle(panel, centre, radius // 2, LINE, 1, cv2.LINE_AA)
    for dx, dy in ((1, 0), (0, 1)):
        start = (centre[0] - dx * radius, centre[1] - dy * radius)
        end = (centre[0] + dx * radius, centre[1] + dy * radius)
        cv2.line(panel, start, end, LINE, 1, cv2.LINE_AA)
    write(panel, "arousal", (centre[0] - 26, centre[1] - radius - 10), 0.42, DIM)
    write(panel, "valence", (centre[0] + radius - 48, centre[1] + 18), 0.42, DIM)
    for track, points in trails.items():
        if track not in colours:
            continue
        places = [(round(centre[0] + v * radius), round(centre[1] - a * radius)) for v, a in points]
        for before, after in itertools.pairwise(places):
            cv2.line(panel, before, after, colours[track], 1, cv2.LINE_AA)
        cv2.circle(panel, places[-1], 6, colours[track], -1, cv2.LINE_AA)
        cv2.circle(panel, places[-1], 6, GROUND, 1, cv2.LINE_AA)


def main() -> None:
    """Run the pipeline over the clip up to the frame shown, and draw that."""
    pipeline = Pipeline.open(Config(source=DemoSource()))
    trails: dict[int, deque[tuple[float, float]]] = {}
    state: FrameState | None = None
    with open_source(DemoSource(), small_size=(0, 0)) as source:
        try:
            while state is None or state.frame.sensor_ns < SHOWN_S * 1e9:
                state = pipeline.step(source.read())
                for face in state.faces:
                    if face.smoothed is not None:
                        point = face.smoothed.affect
                        trail = trails.setdefault(face.track.id, deque(maxlen=TRAIL))
                        trail.append((point.valence, point.arousal))
        except EndOfStream:
            pass
    assert state is not None
    assert state.faces
    width, height = PICTURE_PX
    ratio = width / state.frame.width
    grey = cv2.resize(state.frame.luma, PICTURE_PX, interpolation=cv2.INTER_AREA)
    picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    panel = np.full((height, PANEL_PX, 3), GROUND, np.uint8)
    write(panel, "affect-edge", (24, 38), 0.7)
    write(panel, f"frame {state.frame.index}, {state.frame.sensor_ns / 1e9:.2f} s", (190, 38), 0.42,
          DIM)  # fmt: skip
    colours = {}
    for row, face in enumerate(state.faces[: len(COLOURS)]):
        colours[face.track.id] = COLOURS[row]
        draw_face(picture, face, ratio, COLOURS[row])
        draw_bars(panel, face, 74 + 88 * row, COLOURS[row])
    draw_circumplex(panel, trails, colours)
    write(panel, "smoothed, with its trail", (24, height - 20), 0.42, DIM)
    OUT.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(OUT), np.hstack([picture, panel]), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f"{OUT}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
