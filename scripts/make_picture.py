"""Draw docs/demo.png and docs/still.png: a frame of the annotated clip, and its dashboard.

    python scripts/make_picture.py

Both are of the same frame: that with the most classified faces and, among those, the one whose
smallest face is the largest.
"""

import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from edge.recordings.annotation.drawing.canvas import Picture
from edge.recordings.annotation.drawing.frame import FrameDrawer
from edge.recordings.annotation.overlay import FaceOverlay, FrameOverlay
from edge.recordings.annotation.overlays import NewAnalysis
from edge.recordings.annotation.still import still_of_video
from edge.recordings.annotation.video_reader import Shown, VideoReader
from edge.recordings.settings import Settings
from edge.vision.resize import resize_linear
from edge.vision.sources.video import DEMO_CLIP

DOCS = Path(__file__).resolve().parents[1] / "docs"
SIZE_MAX_BYTES = 250_000  # a README should open at once
FRAME_PX = (1024, 576)


class Stored:
    """The overlays of the clip, analysed once: ``edge.recordings.annotation.overlays``."""

    by_index = False
    rotate_deg = 0
    flip = "none"
    absent = "not analysed"

    def __init__(self) -> None:
        config = Settings(None, (), "research-consent").of_video(DEMO_CLIP)
        self.all = list(NewAnalysis(config).frames(0, None))

    def frames(self, start_ns: int, end_ns: int | None) -> Generator[FrameOverlay]:
        """Yield the overlays of a span."""
        end_ns = end_ns or sys.maxsize
        yield from (each for each in self.all if start_ns <= each.media_ns < end_ns)


def rank(frame: FrameOverlay) -> tuple[int, float]:
    """Return the rank of a frame for the pictures; higher is better."""
    classified = [face for face in frame.faces if face.emotion is not None]
    return len(classified), min((face.box[2] for face in classified), default=0.0)


def scaled(frame: FrameOverlay, ratio: float) -> FrameOverlay:
    """Return the overlay of a picture that is smaller by ``ratio``."""

    def smaller(face: FaceOverlay) -> FaceOverlay:
        x, y, width, height = (value * ratio for value in face.box)
        return replace(face, box=(x, y, width, height))

    return replace(frame, faces=tuple(map(smaller, frame.faces)))


def draw_frame(overlays: Stored, chosen: FrameOverlay) -> Picture:
    """Return the chosen frame of the annotated clip, at ``FRAME_PX``."""
    drawer = FrameDrawer(FRAME_PX)
    ratio = FRAME_PX[0] / chosen.width
    with VideoReader(DEMO_CLIP) as video:
        for overlay, item in zip(overlays.all, video.items(sound=False), strict=False):
            assert isinstance(item, Shown)
            picture = resize_linear(item.picture, FRAME_PX)
            drawer.draw(picture, scaled(overlay, ratio), item.media_ns)
            if overlay.index == chosen.index:
                return picture
    raise AssertionError("the clip has this frame")


def write(name: str, picture: Picture) -> None:
    """Write a picture of 192 colours, which PNG stores in half of the bytes."""
    from PIL import Image  # noqa: PLC0415

    path = DOCS / name
    image = Image.fromarray(np.ascontiguousarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)))
    image.quantize(192, dither=Image.Dither.NONE).save(path, optimize=True)
    size_bytes = path.stat().st_size
    print(f"{path}: {size_bytes} bytes")
    if size_bytes > SIZE_MAX_BYTES:
        sys.exit(f"{path}: expected at most {SIZE_MAX_BYTES} bytes; draw it smaller")


def main() -> None:
    """Analyse the clip, choose a frame, and draw it twice."""
    overlays = Stored()
    chosen = max(overlays.all, key=rank)
    write("demo.png", draw_frame(overlays, chosen))
    write("still.png", still_of_video(DEMO_CLIP, chosen.media_ns, overlays, {})[0])


if __name__ == "__main__":
    main()
