"""Overlays from a log of each format: those of a new analysis, and only of the same recording."""

import csv
import json
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import av
import pytest

from edge.cli import run_command_line
from edge.client.logs import opened_log
from edge.client.logs.erasing import erase_session
from edge.client.logs.participant_edits import Edit, add
from edge.client.logs.sqlite_changes import open_log
from edge.errors import ConfigError, LogFileError
from edge.protocol.messages import EventMessage, FrameMessage
from edge.recordings.annotation.log_overlays import overlays_from
from edge.recordings.annotation.overlay import FrameOverlay
from edge.recordings.annotation.overlays import NewAnalysis
from edge.recordings.settings import Settings
from edge.vision.sources.video import DEMO_CLIP
from tests.support.daemons import PURPOSE, ROOT, RunningDaemon
from tests.support.logs import received
from tests.support.recorded import session
from tests.support.videos import content_of, gradient, make_video

Message = FrameMessage | EventMessage
FORMATS = ("sqlite", "jsonl", "csv", "parquet", "analysis")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two and a half seconds of the clip, in which a second face comes in."""
    with av.open(str(DEMO_CLIP)) as container:
        pictures = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    folder = tmp_path_factory.mktemp("recording")
    return make_video(folder / "session 1.mp4", pictures[40:100])


@pytest.fixture(scope="module")
def messages(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Message]:
    """What a daemon publishes of the recording."""
    folder = tmp_path_factory.mktemp("daemon")
    arguments = ("--source", str(recording), *PURPOSE, "--no-pace", "--wait-for-subscriber")
    with RunningDaemon(folder, *arguments) as daemon:
        assert daemon.run_to_end(110) == 0, daemon.stderr
        published = daemon.messages
    kinds = {"frame": FrameMessage, "event": EventMessage}
    return [kinds[each["kind"]].model_validate(each) for each in published if each["kind"] in kinds]


@pytest.fixture(scope="module")
def analysed(recording: Path) -> list[FrameOverlay]:
    """The overlays of a new analysis."""
    config = Settings(None, (), "research-consent").of_video(recording)
    return list(NewAnalysis(config).frames(0, None))


@pytest.fixture
def make_log(messages: list[Message], tmp_path: Path) -> Callable[[str], Path]:
    def make(kind: str, kept: Sequence[Message] = messages) -> Path:
        out = tmp_path / f"log.{'csv' if kind == 'analysis' else kind}"
        with opened_log(out) as log:
            log.cursors()
            for message in kept:
                log.write(received(message))
        if kind != "analysis":
            return out
        folder = tmp_path / "session 1"
        folder.mkdir()
        shutil.move(out, folder / "frames.csv")
        shutil.move(out.with_suffix(".events.csv"), folder / "events.csv")
        return folder

    return make


@pytest.mark.parametrize("kind", FORMATS)
def test_overlays_of_a_log_are_those_of_a_new_analysis(
    make_log: Callable[..., Path], analysed: list[FrameOverlay], recording: Path, kind: str
) -> None:
    found = list(overlays_from(make_log(kind), recording).frames(0, None))

    assert found == analysed
    assert len(found) == 60
    assert {len(frame.faces) for frame in found} == {1, 2}


@pytest.mark.parametrize("kind", FORMATS)
def test_what_a_network_or_detector_does_not_know_stays_unknown(
    make_log: Callable[..., Path], messages: list[Message], recording: Path, kind: str
) -> None:
    """In each format: no landmarks are not five at 0, and an unknown expression is not at 0."""
    changed: list[Message] = []
    for message in messages:
        raw = message.model_dump(mode="json", by_alias=True)
        for face in raw.get("faces", ()):
            face["landmarks"] = face["quality"]["yaw"] = None
            if face["expression"]:
                face["expression"]["probabilities"]["contempt"] = None
        changed.append(type(message).model_validate(raw))

    frames = list(overlays_from(make_log(kind, changed), recording).frames(0, None))

    faces = [face for frame in frames for face in frame.faces]
    read = [face.emotion for face in faces if face.emotion is not None]
    assert len(faces) > 60
    assert len(read) > 20
    assert {face.landmarks for face in faces} == {()}
    assert {emotion.probabilities[-1] for emotion in read} == {None}
    assert not any("contempt" in dict(emotion.likeliest(8)) for emotion in read)


def test_video_from_a_log_is_that_of_a_new_analysis(
    make_log: Callable[..., Path], recording: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.mp4", tmp_path / "second.mp4"
    log = make_log("sqlite")

    arguments = ["annotate", recording, first, "--purpose", "research-consent"]
    assert run_command_line(list(map(str, arguments))) == 0
    assert run_command_line(list(map(str, ["annotate", recording, second, "--from", log]))) == 0

    assert first.read_bytes() == second.read_bytes()


def test_folder_of_an_analysis_and_the_folder_around_it_are_logs(
    recording: Path, analysed: list[FrameOverlay], tmp_path: Path
) -> None:
    out = tmp_path / "results"
    arguments = ["analyse", recording, "--out", out, "--purpose", "medical", "--jobs", "1"]
    assert run_command_line(list(map(str, arguments))) == 0

    for log in (out / "session 1", out):
        assert list(overlays_from(log, recording).frames(0, None)) == analysed


def test_a_log_from_which_a_session_was_erased_is_drawn(
    make_log: Callable[..., Path],
    messages: list[Message],
    analysed: list[FrameOverlay],
    recording: Path,
) -> None:
    log = make_log("parquet", [*messages, *session("other", stream="other")])
    erase_session(str(log), "other", lambda _line: None)
    assert list(log.glob("events/*/*/*.erased.parquet"))

    assert list(overlays_from(log, recording).frames(0, None)) == analysed


@pytest.mark.parametrize("is_doubled", [False, True])
def test_a_parquet_log_is_drawn_with_what_is_not_in_files_yet(
    messages: list[Message],
    analysed: list[FrameOverlay],
    recording: Path,
    tmp_path: Path,
    is_doubled: bool,
) -> None:
    path = tmp_path / "log.parquet"
    spool = path / ".spool" / "messages.sqlite"
    with opened_log(path) as log:
        log.cursors()
        for number, message in enumerate(messages):
            log.write(received(message))
            if number == 30 and not is_doubled:
                log.commit()
                log.rotate()
        log.commit()
        if not is_doubled:
            assert list(overlays_from(path, recording).frames(0, None)) == analysed
        with closing(connect(spool)) as source, closing(connect(tmp_path / "kept")) as kept:
            source.backup(kept)
    if is_doubled:  # killed after the files had their names
        (tmp_path / "kept").rename(spool.with_name("messages.2025-11-24.sqlite"))
    assert list(overlays_from(path, recording).frames(0, None)) == analysed


def test_torn_last_rows_are_left_out(
    make_log: Callable[..., Path], analysed: list[FrameOverlay], recording: Path
) -> None:
    log = make_log("csv")
    for path in (log, log.with_suffix(".events.csv")):
        last = path.read_bytes().splitlines()[-1]
        with path.open("ab") as file:
            file.write(last[: len(last) // 2])

    assert list(overlays_from(log, recording).frames(0, None)) == analysed


def test_part_of_a_log_has_the_times_of_the_recording(
    make_log: Callable[..., Path], recording: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    arguments = ["annotate", recording, out, "--from", make_log("jsonl"), "--start", "1s"]

    assert run_command_line(list(map(str, arguments))) == 0

    assert len(content_of(out).pictures) == 35


def test_codes_that_were_assigned_in_the_log_are_drawn(
    make_log: Callable[..., Path], recording: Path, messages: list[Message]
) -> None:
    log = make_log("sqlite")
    with open_log(log) as connection:
        add(connection, Edit("P07", track=(messages[0].stream, messages[0].epoch, 1)))

    frames = list(overlays_from(log, recording).frames(0, None))

    assert {face.code for frame in frames for face in frame.faces} == {"P07", None}
    assert all((face.code == "P07") == (face.track == 1) for face in frames[-1].faces)


@pytest.mark.parametrize("kind", FORMATS)
def test_log_of_another_recording_is_refused(
    make_log: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    other = make_video(folder / "session 1.mp4", [gradient(1280, 720)] * 3)

    with pytest.raises(ConfigError, match=r"not a log of session 1\.mp4: it is of session 1\.mp4"):
        overlays_from(make_log(kind), other)


def test_renamed_recording_is_known_by_its_content(
    make_log: Callable[..., Path], recording: Path, tmp_path: Path
) -> None:
    renamed = tmp_path / "renamed.mp4"
    shutil.copy(recording, renamed)

    assert len(list(overlays_from(make_log("csv"), renamed).frames(0, None))) == 60


def test_log_of_a_camera_is_refused(
    make_log: Callable[..., Path], messages: list[Message], recording: Path
) -> None:
    of_camera = [
        each
        for each in messages
        if isinstance(each, FrameMessage) or not each.event.startswith("file_")
    ]

    with pytest.raises(ConfigError, match="it is of no video file"):
        overlays_from(make_log("sqlite", of_camera), recording)


def test_newest_of_several_runs_is_drawn(
    make_log: Callable[..., Path], messages: list[Message], recording: Path
) -> None:
    again = [each.model_copy(update={"epoch": each.epoch + 1}) for each in messages]
    lines: list[str] = []

    found = overlays_from(make_log("jsonl", [*messages, *again]), recording, lines.append)

    assert found.run.epoch == messages[0].epoch + 1
    assert len(list(found.frames(0, None))) == 60
    assert len(lines) == 1
    assert "2 runs read session 1.mp4" in lines[0]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing.sqlite", None, "no such log"),
        ("a.sqlite", b"nothing", "expected a SQLite log"),
        ("a.txt", b"nothing", "expected a log that ends in"),
        ("a.csv", b"a,b\n1,2\n", "a.events.csv is missing"),
        ("a.jsonl", b"nothing\n", "it is of no video file"),
        ("folder", None, "no log of this recording"),
    ],
)
def test_what_is_no_log_is_refused(
    recording: Path, tmp_path: Path, name: str, content: bytes | None, expected: str
) -> None:
    log = tmp_path / name
    if name == "folder":
        log.mkdir()
    elif content is not None:
        log.write_bytes(content)

    with pytest.raises(ConfigError, match=expected):
        overlays_from(log, recording)


def test_options_of_an_analysis_are_refused(
    capsys: pytest.CaptureFixture[str], recording: Path, tmp_path: Path
) -> None:
    log = tmp_path / "a.sqlite"
    log.touch()
    arguments = ["annotate", recording, tmp_path / "out.mp4", "--from", log]

    assert run_command_line([*map(str, arguments), "--purpose", "medical"]) == 78

    assert "nothing is analysed" in capsys.readouterr().err


def test_the_example_of_the_page_runs(
    make_log: Callable[..., Path],
    recording: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = (ROOT / "docs/annotate.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "results").mkdir()
    shutil.move(make_log("analysis"), tmp_path / "results" / "session")
    shutil.copy(recording, tmp_path / "session.mp4")
    monkeypatch.chdir(tmp_path)

    exec(code, {})

    assert len(content_of(tmp_path / "annotated.mp4").pictures) == 60


def damage_table(path: Path, is_damaged: Callable[[dict[str, str]], bool], **cells: str) -> None:
    """Replace cells of the rows that ``is_damaged`` chooses."""
    with path.open(newline="") as file:
        table = csv.DictReader(file)
        names, rows = table.fieldnames, list(table)
    assert names is not None
    with path.open("w", newline="") as file:
        written = csv.DictWriter(file, names)
        written.writeheader()
        written.writerows({**row, **cells} if is_damaged(row) else row for row in rows)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("box_x", value) for value in ("nan", "", "x", "1e30")),
        *(("box_width", value) for value in ("inf", "-inf")),
        *(("eye_left_x", "1e30"), ("p_happy", "nan"), ("p_happy", "-1"), ("valence", "1e30")),
        *(("valence_smoothed", "nan"), ("stable_label", "<b>"), ("reasons", "x" * 200_000)),
        *(("track", "9" * 5000), ("sensor_ns", "1.5"), ("frame_width", "")),
    ],
)
def test_damaged_rows_of_a_log_are_one_line(
    make_log: Callable[..., Path], recording: Path, column: str, value: str
) -> None:
    log = make_log("csv")
    damage_table(log, lambda row: row["frame_index"] == "30", **{column: value})

    with pytest.raises((LogFileError, ConfigError)) as raised:
        list(overlays_from(log, recording).frames(0, None))

    assert "log.csv" in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("event", "detail", "place"),
    [
        ("epoch_started", {"rotate_deg": 45}, "rotate_deg"),
        ("epoch_started", {"flip": "both"}, "flip"),
        ("epoch_started", {"config": []}, "config"),
        ("file_opened", {"bytes": "x"}, "bytes"),
        ("file_opened", {"sha256": 7}, "sha256"),
    ],
)
def test_damaged_events_of_a_log_are_named(
    make_log: Callable[..., Path],
    recording: Path,
    event: str,
    detail: dict[str, object],
    place: str,
) -> None:
    log = make_log("csv")
    events = log.with_suffix(".events.csv")
    damage_table(events, lambda row: row["event"] == event, detail=json.dumps(detail))

    with pytest.raises(LogFileError, match=f"the event {event} is damaged: {place}: "):
        overlays_from(log, recording)


@pytest.mark.parametrize("detail", ["[]", "null", "7", "[" * 100_000, "{"])
def test_events_that_are_no_objects_are_left_out(
    make_log: Callable[..., Path], recording: Path, detail: str
) -> None:
    log = make_log("csv")
    events = log.with_suffix(".events.csv")
    damage_table(events, lambda row: row["event"] != "file_opened", detail=detail)

    assert len(list(overlays_from(log, recording).frames(0, None))) == 60


def test_a_box_beyond_any_picture_is_damage_in_messages_too(
    make_log: Callable[..., Path], messages: list[Message], recording: Path
) -> None:
    def damaged(message: Message) -> Message:
        if isinstance(message, EventMessage) or message.frame.index != 30:
            return message
        face = message.faces[0].model_copy(update={"box": [0.0, 0.0, 1e30, 1.0]})
        return message.model_copy(update={"faces": [face]})

    for kind in ("jsonl", "sqlite"):
        log = make_log(kind, [damaged(each) for each in messages])
        with pytest.raises(LogFileError, match="a row is damaged: box"):
            list(overlays_from(log, recording).frames(0, None))
