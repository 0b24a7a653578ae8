"""Draw docs/translation.png: faces of the demo clip, as they are and translated to visible light.

    python scripts/make_translation_picture.py

The upper row shows the crops that the translator gets, the lower one what it makes of them.
"""

from pathlib import Path
from typing import Final

import cv2
import numpy as np

from benchmarks.evaluation.pictures import faces_in
from edge.config import DetectorConfig, TranslatorConfig
from edge.vision.detect import open_detector
from edge.vision.expression.crop import square_crop
from edge.vision.resize import resize_linear
from edge.vision.sources.decode import open_capture
from edge.vision.sources.video import DEMO_CLIP
from edge.vision.translate import open_translator
from edge.vision.values import Luma

OUT: Final = Path(__file__).resolve().parents[1] / "docs" / "translation.png"
MODEL: Final = "nir-to-visible"
MARGIN: Final = 0.05  # of the expression network
FRAMES: Final = (20, 90, 145, 205, 240, 290)
SHOWN_PX: Final = 160
GAP_PX: Final = 8


def frames() -> dict[int, Luma]:
    """Return the chosen frames of the clip, mono, by number."""
    clip = open_capture(str(DEMO_CLIP), cv2.CAP_FFMPEG)
    chosen: dict[int, Luma] = {}
    for number in range(max(FRAMES) + 1):
        _, picture = clip.read()
        if number in FRAMES:
            chosen[number] = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.uint8)
    return chosen


def main() -> None:
    """Draw the picture."""
    detector = open_detector(DetectorConfig(artifact="centerface.onnx"))
    translator = open_translator(TranslatorConfig(model=MODEL, artifact="generator.onnx"))
    assert translator is not None  # it is named
    size = (translator.info.width, translator.info.height)
    columns = []
    for luma in frames().values():
        for face in faces_in(detector, luma)[:1]:
            crop = square_crop(luma, face.box, size, MARGIN)
            pair = [
                resize_linear(each, (SHOWN_PX, SHOWN_PX))
                for each in (crop, translator.translate(crop))
            ]
            gap = np.full((GAP_PX, SHOWN_PX), 255, np.uint8)
            columns += [np.vstack([pair[0], gap, pair[1]])]
    height = columns[0].shape[0]
    gap = np.full((height, GAP_PX), 255, np.uint8)
    joined = [part for column in columns for part in (column, gap)][:-1]
    cv2.imwrite(str(OUT), np.hstack(joined), [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
