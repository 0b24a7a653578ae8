"""A file that is read again and again is one source: indices and times go on."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import DemoSource, ImagesSource
from edge.errors import EndOfStream, FrameRefused
from edge.vision.sources import open_source
from edge.vision.sources.repeated import Repeated
from edge.vision.values import Frame

SMALL = (320, 192)


class ScriptedFile:
    """A file of frames at these times; None is a picture that cannot be decoded."""

    live = False
    details = None

    def __init__(self, times_ns: list[int | None], expected_hz: float | None) -> None:
        self._times = enumerate(times_ns)
        self.expected_hz = expected_hz

    def __enter__(self) -> "ScriptedFile":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self) -> Frame:
        for index, time_ns in self._times:
            if time_ns is None:
                raise FrameRefused("damaged")
            luma = np.zeros((2, 2), np.uint8)
            return Frame(luma, index, time_ns, "media", captured_ns=0)
        raise EndOfStream("file")


def read_all(source: Repeated, most: int = 10_000) -> list[tuple[int, int, int]]:
    """Return index, time and repeat of each frame."""
    frames: list[tuple[int, int, int]] = []
    with source:
        while len(frames) < most:
            try:
                frame = source.read()
            except FrameRefused:
                continue
            except EndOfStream:
                return frames
            frames.append((frame.index, frame.sensor_ns, frame.repeat))
    return frames


@st.composite
def files(draw: st.DrawFn) -> list[int | None]:
    """Return the times of a file's pictures, growing; None for a damaged picture."""
    steps = draw(st.lists(st.one_of(st.none(), st.integers(1, 10**9)), min_size=1, max_size=8))
    time_ns, times = 0, list[int | None]()
    for step_ns in steps:
        times.append(None if step_ns is None else time_ns)
        time_ns += step_ns or 0
    return times


@given(times=files(), count=st.integers(1, 5), hz=st.sampled_from([None, 25.0]))
def test_indices_and_times_go_on_as_if_it_were_one_file(
    times: list[int | None], count: int, hz: float | None
) -> None:
    frames = read_all(Repeated(lambda: ScriptedFile(times, hz), count))
    once = [(index, time) for index, time in enumerate(times) if time is not None]
    assert [(index, repeat) for index, _, repeat in frames] == [
        (repeat * len(times) + index, repeat)
        for repeat in range(count if once else 0)
        for index, _ in once
    ]
    stamps = [time for _, time, _ in frames]
    assert stamps == sorted(set(stamps))
    assert [time for _, time, _ in frames[: len(once)]] == [time for _, time in once]


@given(times=files(), count=st.integers(2, 6), data=st.data())
def test_a_new_worker_continues_with_the_same_indices_and_times(
    times: list[int | None], count: int, data: st.DataObject
) -> None:
    whole = read_all(Repeated(lambda: ScriptedFile(times, None), count))
    resume = data.draw(st.integers(0, count * len(times) + 2))
    frames = read_all(Repeated(lambda: ScriptedFile(times, None), count, resume))
    assert [each for each in frames if each[0] >= resume] == [
        each for each in whole if each[0] >= resume
    ]


def test_it_has_no_end_with_count_0_and_resumes_after_a_million_passes() -> None:
    file = [0, 40, 80]
    (first, *_) = [
        each
        for each in read_all(Repeated(lambda: ScriptedFile(file, 25.0), 0, 3_000_001), most=8)
        if each[0] >= 3_000_001
    ]
    assert first == (3_000_001, 1_000_000 * (80 + 40_000_000) + 40, 1_000_000)


def test_a_file_without_a_picture_is_not_read_again() -> None:
    assert read_all(Repeated(lambda: ScriptedFile([None, None], 25.0), 0)) == []


def test_the_clip_is_repeated_at_the_rate_that_is_asked_for() -> None:
    source = open_source(DemoSource(repeat=2, rate_hz=2.0), small_size=SMALL)
    with source:
        frames = [source.read() for _ in range(302)]
    assert [frame.index for frame in frames] == list(range(302))
    assert [frame.sensor_ns for frame in frames] == [index * 500_000_000 for index in range(302)]
    assert [frame.repeat for frame in frames] == [0] * 300 + [1] * 2
    assert (frames[0].luma == frames[300].luma).all()


def test_a_folder_is_repeated_and_turned(tmp_path: Path) -> None:
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((4, 6), 40 + number, np.uint8))
    config = ImagesSource(kind="images", path=str(tmp_path), repeat=3, rotate_deg=90)
    with open_source(config, small_size=SMALL) as source:
        frames = [source.read() for _ in range(6)]
        with pytest.raises(EndOfStream):
            source.read()
    assert [frame.file for frame in frames] == ["0.png", "1.png"] * 3
    assert {(frame.width, frame.height) for frame in frames} == {(4, 6)}
    assert frames[-1].sensor_ns == 10_000_000_000
