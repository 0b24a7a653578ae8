"""The bundled detector finds the faces that the README of the demo clip describes."""

import re

from edge.clock import Stopwatch
from edge.config import DemoSource, DetectorConfig
from edge.vision.detect import open_detector
from edge.vision.sources import open_source
from edge.vision.sources.video import DEMO_CLIP


def timeline() -> list[tuple[int, int, set[int]]]:
    """Return (first frame, last frame, allowed numbers of faces) of every scene."""
    rows = []
    for line in DEMO_CLIP.with_name("README.md").read_text().splitlines():
        match = re.match(r"\| [\d.]+ - [\d.]+ \| (\d+) - (\d+) \| .* \| (.*) \|$", line)
        if match:
            counts = {int(count) for count in re.findall(r"(?<!frame )\b\d+\b", match[3])}
            rows.append((int(match[1]), int(match[2]), counts))
    return rows


def test_faces_are_found_in_the_scenes_of_the_timeline_only() -> None:
    scenes = timeline()
    assert len(scenes) == 12
    assert scenes[0][0] == 0
    assert scenes[-1][1] == 299
    detector = open_detector(DetectorConfig())
    counted: dict[int, int] = {}
    near_px = []
    with open_source(DemoSource(), small_size=detector.input_size) as source:
        for _ in range(300):
            frame = source.read()
            if frame.index % 5 == 2:
                found = detector.detect(frame, Stopwatch())
                counted[frame.index] = len(found)
                if found:
                    near_px.append(max(face.box.height for face in found))
    assert min(near_px) >= 150
    for first, last, counts in scenes:
        inside = {count for index, count in counted.items() if first <= index < last}
        assert inside <= counts, f"frames {first} to {last}"
    assert set(counted.values()) == {0, 1, 2}
