"""The memory of ``annotate`` over a long recording."""

import os
from fractions import Fraction
from pathlib import Path

import av
import pytest

from edge.recordings.annotation.annotate import annotate_video
from tests.support.daemons import resident_mb
from tests.support.videos import FixedOverlays, gradient, happy_face

PICTURES = 30_000  # twenty minutes
SIZE = (320, 240)


@pytest.mark.stage
@pytest.mark.timeout(1800)
def test_memory_does_not_grow_with_the_length_of_a_recording(tmp_path: Path) -> None:
    recording = tmp_path / "in.mkv"
    pictures = [gradient(*SIZE, number) for number in range(12)]
    with av.open(str(recording), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(PICTURES):
            frame = av.VideoFrame.from_ndarray(pictures[number % 12], format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    faces = [happy_face(1, (100, 60, 80, 90)), happy_face(2, (20, 120, 60, 70))]
    overlays = FixedOverlays(faces, SIZE, count=PICTURES)
    taken_mb: list[float] = []

    def note(media_ns: int) -> None:
        if media_ns // 40_000_000 % 3000 == 2999:
            taken_mb.append(resident_mb(os.getpid()))

    annotate_video(recording, tmp_path / "out.mp4", overlays, on_progress=note)

    assert len(taken_mb) == 10
    assert max(taken_mb[2:]) - taken_mb[1] < 20, taken_mb
