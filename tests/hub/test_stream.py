"""Messages of the hub: steps of a simulated wall clock, and a storage that is slow."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge import clock
from edge.config import Config
from edge.hub.journal import Journal, Position
from edge.hub.journal import journal as journal_module
from edge.hub.journal.store import Store
from edge.hub.kept_state import StateKeeper
from edge.hub.metrics import Metrics
from edge.hub.stream import MessageStream
from edge.hub.times import CLOCK_STEP_NS
from edge.link import FrameReport, ReportRefused
from edge.protocol.events import Mark
from edge.protocol.lid_events import Blink, EyesClosed, EyesOpened
from edge.protocol.messages import EventMessage, FrameMessage, decode, encode
from tests.support import synthetic_worker
from tests.support.journals import memory_folder
from tests.support.synthetic_worker import synthetic_face

HOUR_NS = 3_600_000_000_000


class Recorder:
    """Publisher that keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[EventMessage] = []
        self.frames: list[bytes] = []

    def offer(self, part: bytes) -> bool:
        message = decode(part)
        if isinstance(message, EventMessage):
            self.messages.append(message)
        else:
            self.frames.append(part)
        return True


def frame_report(index: int, *tracks: int) -> FrameReport:
    faces = [synthetic_face(index, track) for track in tracks]
    report = synthetic_worker.frame_report(
        index, faces, sensor_ns=index * 10**8, captured_ns=clock.monotonic_ns(), is_live=True
    )
    return FrameReport.decode(report.encode())


def stream_of(
    config: Config, journal: Journal, recorder: Recorder, **options: Callable[[float], bool]
) -> MessageStream:
    return MessageStream(
        config,
        journal,
        recorder,  # type: ignore[arg-type]
        Metrics(),
        StateKeeper(config, journal.identity),
        **options,
    )


@pytest.mark.parametrize(
    ("steps_ns", "reported_ns"),
    [
        ([HOUR_NS], [HOUR_NS]),
        ([-HOUR_NS, 0], [-HOUR_NS]),
        ([HOUR_NS, -HOUR_NS], [HOUR_NS, -HOUR_NS]),
        ([500_000] * 200, []),  # NTP slews the clock by 0.5 ms per second
        ([CLOCK_STEP_NS], []),
        ([CLOCK_STEP_NS + 1], [CLOCK_STEP_NS + 1]),
    ],
)
def test_a_step_of_the_wall_clock_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, steps_ns: list[int], reported_ns: list[int]
) -> None:
    offset_ns = 1_700_000_000_000_000_000
    monkeypatch.setattr(clock, "wall_minus_boottime_ns", lambda: offset_ns)
    recorder, config = Recorder(), Config()
    stream = stream_of(config, Journal(config.journal), recorder)
    stream.start_epoch()
    for step_ns in steps_ns:
        offset_ns += step_ns
        stream.check_clock()
    reported = recorder.messages[1:]
    assert [message.event for message in reported] == ["clock_step"] * len(reported_ns)
    assert [message.detail["step_ns"] for message in reported] == reported_ns


def test_a_source_that_can_wait_waits_for_a_slow_storage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With ``--no-pace``, memory overflowed: the journal lost what it had not stored yet."""
    monkeypatch.setattr(journal_module, "RING_BYTES", 100_000)
    commit = Store.commit

    def slow(*arguments: object, **options: object) -> None:
        time.sleep(0.1)
        commit(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "commit", slow)
    waits: list[float] = []

    def keep_waiting(waited_s: float) -> bool:
        waits.append(waited_s)
        time.sleep(0.001)
        return True

    tail = memory_folder(tmp_path)
    config = Config.model_validate({"journal": {"path": str(tmp_path / "j"), "tail": tail}})
    recorder, journal = Recorder(), Journal(config.journal)
    stream = stream_of(config, journal, recorder, on_backpressure=keep_waiting)
    stream.start_epoch()
    for _ in range(1000):
        stream.event(Mark(text="x"))
    journal.close()
    Path(tail).rmdir()
    assert waits
    assert journal.gap_counts == {}
    assert [message.seq for message in recorder.messages] == list(range(1001))
    assert journal.newest == Position(1, 1000)


def test_a_frame_is_sent_as_the_models_encode_it() -> None:
    recorder, config = Recorder(), Config()
    journal = Journal(config.journal)
    kept = StateKeeper(config, journal.identity)
    stream = MessageStream(config, journal, recorder, Metrics(), kept)  # type: ignore[arg-type]
    stream.start_epoch()
    reports = [frame_report(0, 1, 2), frame_report(1), frame_report(4, 1, 2), frame_report(5, 1)]
    for report in reports:
        stream.frame(report)
        if report.index == 1:
            kept.participants.assign(2, "P07")
    messages = [decode(part) for part in recorder.frames]
    for part, message, report in zip(recorder.frames, messages, reports, strict=True):
        assert isinstance(message, FrameMessage)
        assert encode(message) == part
        tracks = [face.track for face in report.faces]
        codes = ["P07" if track == 2 and report.index > 1 else None for track in tracks]
        assert [face.participant for face in message.faces] == codes
        assert message.faces == [
            face.model_copy(update={"participant": code})
            for face, code in zip(report.faces, codes, strict=True)
        ]
        assert message.timing_ms.detect == 9.0
    assert [message.frame.dropped for message in messages] == [0, 0, 2, 0]  # type: ignore[union-attr]
    assert [stream.frames, stream.dropped, stream.last_track] == [4, 2, 2]


def test_a_frame_that_does_not_follow_is_refused() -> None:
    recorder, config = Recorder(), Config()
    stream = stream_of(config, Journal(config.journal), recorder)
    stream.start_epoch()
    stream.frame(frame_report(3, 1))
    for index in (3, 2):
        with pytest.raises(ReportRefused, match=f"frame {index} after frame 3"):
            stream.frame(frame_report(index, 1))
    stream.frame(frame_report(4, 1))
    seqs = [json.loads(part.partition(b" ")[2])["seq"] for part in recorder.frames]
    assert seqs == [1, 2]


def test_events_of_eyes_have_the_code_of_the_face_and_end_with_the_worker() -> None:
    config, recorder = Config(), Recorder()
    journal = Journal(config.journal)
    kept = StateKeeper(config, journal.identity)
    stream = MessageStream(config, journal, recorder, Metrics(), kept)  # type: ignore[arg-type]
    stream.start_epoch()
    stream.frame(frame_report(0, 1, 2))
    kept.participants.assign(1, "P07")
    for track in (1, 2):
        stream.event(EyesClosed(track=track, seat=f"seat-{track}", closed_s=2.0, sensor_ns=5))
    stream.event(Blink(track=2, duration_ms=120, sensor_ns=6))
    stream.event(EyesOpened(track=2, closed_s=2.5, sensor_ns=7))
    stream.end_tracks()
    stream.end_tracks()
    of_eyes = [each for each in recorder.messages if each.event.startswith(("blink", "eyes"))]
    assert [(each.event, each.detail["participant"]) for each in of_eyes] == [
        ("eyes_closed", "P07"),
        ("eyes_closed", None),
        ("blink", None),
        ("eyes_opened", None),
        ("eyes_lost", "P07"),
    ]
    assert of_eyes[-1].detail == {
        "track": 1,
        "participant": "P07",
        "seat": "seat-1",
        "reason": "worker_replaced",
        "closed_s": None,
        "sensor_ns": None,
    }
