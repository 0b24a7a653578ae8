"""The contract of sources, run over all of them."""

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.clock import monotonic_ns
from edge.config import sources
from edge.errors import EndOfStream, SourceStalled
from edge.vision.sources import Source, open_source
from edge.vision.sources.video import DEMO_CLIP
from edge.vision.values import Frame
from tests.support.fake_capture import Device
from tests.support.fake_picamera2 import Script, install
from tests.support.ports import free_port
from tests.support.source_media import address, connected, digest, encode, served

SMALL = (320, 192)
AVAILABLE = 5  # frames that each source delivers before it ends or stalls


@dataclass
class Kind:
    """One source, and how it behaves at its end.

    Attributes:
        opened: opens it; the argument is the index of its first frame.
        live: the expected ``Source.live``.
        end: the error raised when the last frame has been read.
        silence: stops a live source from delivering, if it does not stop by itself.
        openings: how often the test for leaks opens it.
    """

    opened: Callable[[int], AbstractContextManager[Source]]
    live: bool
    end: type[Exception]
    silence: Callable[[], None] = lambda: None
    openings: int = 20


def by_config(config: sources.SourceConfig) -> Callable[[int], AbstractContextManager[Source]]:
    return lambda first: open_source(config, small_size=SMALL, first_index=first)


def images(folder: Path) -> Kind:
    for number in range(AVAILABLE):
        noise = np.random.default_rng(number).integers(0, 256, (48, 64), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), noise)
    config = sources.ImagesSource(kind="images", path=str(folder))
    return Kind(by_config(config), live=False, end=EndOfStream)


def video(folder: Path) -> Kind:
    path = encode(folder / "clip.mp4", "-pix_fmt", "yuv420p", frames=AVAILABLE)
    config = sources.VideoSource(kind="video", path=str(path))
    return Kind(by_config(config), live=False, end=EndOfStream)


def demo(folder: Path) -> Kind:
    return Kind(by_config(sources.DemoSource()), live=False, end=EndOfStream)


def stream(folder: Path) -> Kind:
    clip = encode(folder / "clip.ts", "-c:v", "libx264", "-g", "5", "-bf", "0", frames=25)
    servers = []

    @contextmanager
    def opened(first: int) -> Iterator[Source]:
        port = free_port()
        config = sources.StreamSource(kind="stream", url=address(port))
        with served(clip, port) as server, connected(config, first) as source:
            servers.append(server)
            yield source

    def silence() -> None:
        servers[-1].send_signal(signal.SIGKILL)

    return Kind(opened, live=True, end=SourceStalled, silence=silence, openings=4)


def picamera(folder: Path) -> Kind:
    @contextmanager
    def opened(first: int) -> Iterator[Source]:
        script = Script(start_ns=monotonic_ns(), faults={AVAILABLE: "stall"})
        config = sources.PicameraSource(kind="picamera", read_timeout_s=0.3)
        with install(script), by_config(config)(first) as source:
            yield source

    return Kind(opened, live=True, end=SourceStalled)


def v4l2(folder: Path) -> Kind:
    @contextmanager
    def opened(first: int) -> Iterator[Source]:
        config = sources.V4l2Source(kind="v4l2", path="/dev/null", width=320, height=240)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cv2, "VideoCapture", Device(fails_at=AVAILABLE).open)
            with by_config(config)(first) as source:
                yield source

    return Kind(opened, live=True, end=SourceStalled)


KINDS = (images, video, demo, stream, picamera, v4l2)


@pytest.fixture(params=KINDS, ids=lambda make: make.__name__)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    made: Kind = request.param(tmp_path)
    return made


def read(source: Source, count: int) -> list[Frame]:
    return [source.read() for _ in range(count)]


def test_frames_are_mono_and_in_order(kind: Kind) -> None:
    with kind.opened(7) as source:
        assert source.live == kind.live
        assert source.expected_hz is None or 0 < source.expected_hz <= 1000
        before_ns = monotonic_ns()
        frames = read(source, AVAILABLE)
        after_ns = monotonic_ns()
    for frame in frames:
        for picture in filter(lambda p: p is not None, (frame.luma, frame.small)):
            assert picture.dtype == np.uint8
            assert picture.ndim == 2
            assert picture.flags.c_contiguous
            assert picture.size > 0
        assert frame.small is None or frame.small.shape == (SMALL[1], SMALL[0])
        assert 0 <= frame.capture_ms <= (after_ns - before_ns) / 1e6
        assert before_ns <= frame.captured_ns <= after_ns
        assert frame.clock == ("monotonic" if kind.live else "media")
    assert [frame.index for frame in frames] == list(range(7, 7 + AVAILABLE))
    for earlier, later in itertools.pairwise(frames):
        assert later.sensor_ns > earlier.sensor_ns
        assert later.captured_ns >= earlier.captured_ns


def test_frames_do_not_share_memory(kind: Kind) -> None:
    with kind.opened(0) as source:
        kept = read(source, 3)
        digests = [digest(frame) for frame in kept]
        read(source, AVAILABLE - 3)
        assert [digest(frame) for frame in kept] == digests
        for one, other in itertools.combinations(kept, 2):
            assert not np.shares_memory(one.luma, other.luma)
    assert [digest(frame) for frame in kept] == digests
    assert len(set(digests)) == 3, "the pictures of the test differ"


def test_source_ends_with_the_documented_error(kind: Kind) -> None:
    with kind.opened(0) as source:
        read(source, AVAILABLE)
        kind.silence()
        with pytest.raises(kind.end) as caught:
            read(source, 400)
        assert "\n" not in str(caught.value)
        if kind.end is EndOfStream:
            with pytest.raises(EndOfStream):
                source.read()


def test_closing_leaves_no_descriptor_open(kind: Kind) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    with kind.opened(0) as source:  # imports happen once
        source.read()
    before = open_files()
    for _ in range(kind.openings):
        with kind.opened(0) as source:
            source.read()
    assert open_files() <= before


def test_nothing_is_printed(kind: Kind, capfd: pytest.CaptureFixture[str]) -> None:
    with kind.opened(0) as source:
        read(source, AVAILABLE)
    assert capfd.readouterr() == ("", "")


def test_reading_a_file_twice_gives_the_same_frames(kind: Kind) -> None:
    if kind.live:
        pytest.skip("a camera")
    runs = []
    for _ in range(2):
        with kind.opened(0) as source:
            runs.append([(f.index, f.sensor_ns, digest(f)) for f in read(source, AVAILABLE)])
    assert runs[0] == runs[1]


def test_demo_is_the_bundled_clip() -> None:
    with open_source(sources.DemoSource(), small_size=SMALL) as source:
        assert source.expected_hz == 25.0
        frame = source.read()
    assert DEMO_CLIP.is_file()
    assert frame.luma.shape == (720, 1280)
