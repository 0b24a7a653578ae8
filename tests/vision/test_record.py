"""What the worker records of the file that it reads: real files, real threads."""

import hashlib
import threading
from pathlib import Path

import pytest

from edge.config import DemoSource, VideoSource
from edge.link import EventReport, Failed, FrameReport
from edge.vision import record
from edge.vision.record import file_hashed, file_opened, file_path
from edge.worker import threads as worker_threads
from tests.support.source_media import encode, ffmpeg
from tests.support.waiting import HANG_S
from tests.worker.test_worker import (
    ScriptedSource,
    gives_frame,
    is_last,
    raises,
    reports,
    running,
)

H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p")
RECORDED_NS = 1_793_694_600_000_000_000


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("Jane Doe")
    plain = encode(folder / "plain.mp4", *H264)
    made = folder / "session.mp4"
    ffmpeg("-i", plain, "-c", "copy", "-metadata", "creation_time=2026-11-03T08:30:00Z", made)
    return made


def video(path: Path, recorded_at: str | None = None) -> VideoSource:
    return VideoSource(kind="video", path=str(path), recorded_at=recorded_at)


def test_a_file_is_recorded_by_name_hash_and_date(clip: Path) -> None:
    opened = file_opened(video(clip), str(clip))
    assert opened.file == "session.mp4", "no folder: it may be named after a person"
    assert opened.sha256 == hashlib.sha256(clip.read_bytes()).hexdigest()
    assert opened.bytes == clip.stat().st_size
    assert (opened.recorded_unix_ns, opened.recorded_by) == (RECORDED_NS, "container")
    assert opened.duration_s == pytest.approx(6 / 25, abs=0.05)


def test_a_configured_time_wins_over_the_containers(clip: Path) -> None:
    opened = file_opened(video(clip, "2026-11-03T09:30:01+01:00"), str(clip))
    assert (opened.recorded_unix_ns, opened.recorded_by) == (RECORDED_NS + 10**9, "option")


def test_a_file_without_a_date_says_so() -> None:
    source = DemoSource()
    path = file_path(source)
    assert path is not None
    opened = file_opened(source, path)
    assert (opened.recorded_unix_ns, opened.recorded_by) == (None, "none")


def test_a_file_that_vanished_is_still_recorded(tmp_path: Path) -> None:
    path = tmp_path / "gone.mp4"
    opened = file_opened(video(path), str(path))
    assert (opened.file, opened.bytes, opened.sha256) == ("gone.mp4", 0, None)
    hashed = file_hashed(str(path), threading.Event(), lambda: True)
    assert (hashed.sha256, hashed.reason) == (
        None,
        "the file cannot be read: No such file or directory",
    )


def test_a_stop_ends_the_hashing(tmp_path: Path) -> None:
    path, stop = tmp_path / "large.mp4", threading.Event()
    path.write_bytes(bytes(3 << 20))
    stop.set()
    hashed = file_hashed(str(path), stop, lambda: True)
    assert hashed.sha256 is None
    assert "stopped" in hashed.reason


def test_a_large_file_is_hashed_beside_its_frames(
    monkeypatch: pytest.MonkeyPatch, clip: Path
) -> None:
    """Frames come while it is hashed, and the worker ends after both."""
    monkeypatch.setattr(record, "HASHED_AT_ONCE_BYTES", 1000)
    release = threading.Event()

    def hashed_late(*arguments: object) -> object:
        assert release.wait(HANG_S)
        return file_hashed(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(worker_threads, "file_hashed", hashed_late)
    source = ScriptedSource(False, iter([gives_frame(0), raises(record_end())]))
    with running(monkeypatch, video(clip), source) as (hub, _, _):
        got = reports(hub, lambda report: isinstance(report, FrameReport))
        release.set()
        got += reports(hub, is_last)
    events = {each.event: each.detail for each in got if isinstance(each, EventReport)}
    assert list(events) == ["file_opened", "source_state", "file_hashed"]
    assert events["file_opened"]["sha256"] is None
    digest = hashlib.sha256(clip.read_bytes()).hexdigest()
    assert events["file_hashed"] == {"file": "session.mp4", "sha256": digest, "reason": ""}


def test_an_error_while_hashing_names_its_thread(
    monkeypatch: pytest.MonkeyPatch, clip: Path
) -> None:
    def fails(*_: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(record, "HASHED_AT_ONCE_BYTES", 1000)
    monkeypatch.setattr(worker_threads, "file_hashed", fails)
    source = ScriptedSource(False, iter([gives_frame(0), raises(record_end())]))
    with running(monkeypatch, video(clip), source) as (hub, _, _):
        *_, last = reports(hub, is_last)
    assert isinstance(last, Failed)
    assert last.text == "hash thread: ZeroDivisionError()"


def record_end() -> Exception:
    from edge.errors import EndOfStream

    return EndOfStream("x")
