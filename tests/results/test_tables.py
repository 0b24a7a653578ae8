"""One record read from every format, sessions and devices chosen, and damaged files refused."""

import dataclasses
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import Any

import numpy as np
import pytest

from edge.client.logs import opened_log, participant_edits
from edge.client.logs.participant_edits import Edit
from edge.client.logs.sqlite_changes import open_log
from edge.errors import ConfigError
from edge.results.facts import facts_of
from edge.results.summary import whole
from edge.results.table import Subject, Table
from edge.results.tables import read_table
from tests.support import recorded
from tests.support.logs import received
from tests.support.recorded import FORMATS, analysed, frame, session, write_log


def assert_equal(one: Table, other: Table) -> None:
    for field in dataclasses.fields(Table):
        if field.name not in ("path", "reasons", "reason_texts"):
            a, b = getattr(one, field.name), getattr(other, field.name)
            np.testing.assert_equal(a, b, err_msg=field.name)
    texts = [[each.reason_texts[code] for code in each.reasons] for each in (one, other)]
    assert texts[0] == texts[1]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log.sqlite", session())


def test_the_table_holds_frames_faces_and_events(log: Path) -> None:
    table = read_table(log)
    assert table.device == "edge"
    assert (len(table.frame_time_s), len(table.subject)) == (400, 396 + 200)
    assert table.subjects == (Subject("P07", None), Subject(None, 2))
    assert table.spacing_s == pytest.approx(0.05)
    assert table.recorded_s == pytest.approx(20.0)  # 10 s of 30 are missing
    assert table.gaps == [pytest.approx((10.0, 20.0))]
    assert table.end_s == pytest.approx(30.0)
    assert int((table.label < 0).sum()) == 20
    names = [each.event for each in table.events]
    assert names.count("mark") == 1
    assert next(each for each in table.events if each.event == "mark").time_s == 7.5


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_table(log: Path, name: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert_equal(read_table(write_log(tmp_path / "other" / name, session())), read_table(log))


def test_what_a_parquet_log_has_not_yet_converted_is_read_too(log: Path, tmp_path: Path) -> None:
    with opened_log(tmp_path / "live.parquet") as live:
        live.cursors()
        for message in session():
            live.write(received(message))
        live.commit()
        assert_equal(read_table(tmp_path / "live.parquet"), read_table(log))
        spool = tmp_path / "live.parquet" / ".spool" / "messages.sqlite"
        with closing(connect(spool)) as source, closing(connect(tmp_path / "kept")) as kept:
            source.backup(kept)
    # killed after the files had their names, and before the spool was deleted
    (tmp_path / "kept").rename(spool.with_name("messages.2025-11-24.sqlite"))
    table = read_table(tmp_path / "live.parquet")
    assert table.events == read_table(log).events
    assert table.recorded_s == pytest.approx(20.0)
    assert [row.classified_s for row in whole(table)] == pytest.approx(
        [row.classified_s for row in whole(read_table(log))]
    )


@pytest.mark.parametrize("name", FORMATS)
def test_a_session_is_chosen_by_name_and_begins_at_second_0(tmp_path: Path, name: str) -> None:
    first, second = session("P07-first"), session("P07-second", first=1000, seq=500)
    out = write_log(tmp_path / name, [*first, *second])
    with pytest.raises(ConfigError, match=r"2 sessions, P07-first, P07-second: choose one"):
        read_table(out)
    with pytest.raises(ConfigError, match=r"'P08': expected a session of .*: P07-first, P07"):
        read_table(out, session="P08")
    table = read_table(out, session="P07-second")
    assert table.session is not None
    assert table.session.name == "P07-second"
    assert len(table.frame_time_s) == 400
    assert table.frame_time_s[0] == 0.0
    assert next(each for each in table.events if each.event == "mark").time_s == pytest.approx(7.5)


def test_one_of_several_devices_must_be_chosen(tmp_path: Path) -> None:
    messages = [*session(device="a", stream="s"), *session(device="b", stream="t")]
    out = write_log(tmp_path / "log.sqlite", messages)
    with pytest.raises(ConfigError, match="several devices, such as a and b: choose one"):
        read_table(out)
    assert read_table(out, device="b").device == "b"
    with pytest.raises(ConfigError, match="'c': expected a device of"):
        read_table(out, device="c")


def of_a_file(messages: Sequence[Any], size: tuple[int, int]) -> list[Any]:
    """Return messages of a daemon that plays a file with pictures of that size."""

    def changed(message: Any) -> Any:
        if message.kind != "frame":
            return message
        info = message.frame.model_copy(update={"width": size[0], "height": size[1]})
        time = message.time.model_copy(update={"clock": "media"})
        return message.model_copy(update={"frame": info, "time": time})

    return [changed(each) for each in messages]


@pytest.mark.parametrize("name", ["log.sqlite", "log.csv", "out.parquet"])
def test_rows_of_others_say_nothing_of_clock_and_size(tmp_path: Path, name: str) -> None:
    other = of_a_file(session("other", frames=9, device="a", stream="a"), (64, 48))
    first = of_a_file(session("file", frames=9, device="b"), (320, 240))
    second = session("camera", frames=9, first=500, seq=100, device="b")
    out = write_log(tmp_path / name, [*other, *first, *second])
    table = read_table(out, device="b", session="camera")
    assert (table.is_file, table.picture_sizes) == (False, ((1280, 720),))
    assert facts_of(table).sizes == "1280 x 720 pixels"
    assert facts_of(table).started.startswith("2025-11-24 16:00:25")
    table = read_table(out, device="b", session="file")
    assert (table.is_file, table.picture_sizes) == (True, ((320, 240),))


def test_pictures_of_several_sizes_are_named_as_such(tmp_path: Path) -> None:
    sizes = [(720, 1280), (64, 48), (320, 240)]
    messages = [of_a_file([frame(at, at)], size)[0] for at, size in enumerate(sizes)]
    table = read_table(write_log(tmp_path / "log.jsonl", messages))
    assert table.picture_sizes == tuple(sorted(sizes))
    assert facts_of(table).sizes == "3 sizes from 64 x 48 to 720 x 1280 pixels"


def test_runs_follow_each_other_by_wall_time(tmp_path: Path) -> None:
    faces = [recorded.face(1, 0)]
    first = [frame(number, number, *faces) for number in range(20)]
    second = [
        frame(number, 100 + number, *faces, epoch=2).model_copy(
            update={"time": first[number].time.model_copy(
                update={"unix_ns": recorded.START_NS + (100 + number) * recorded.STEP_NS}
            )}
        )
        for number in range(20)
    ]  # fmt: skip
    table = read_table(write_log(tmp_path / "log.sqlite", [*first, *second]))
    assert table.frame_time_s[19:21].tolist() == pytest.approx([0.95, 5.0])
    assert table.recorded_s == pytest.approx(2.0)
    # the number of a track begins anew with each run: these are two faces
    assert [each.name for each in table.subjects] == ["track 1", "track 1, start 2"]


def test_a_changing_frame_rate_gives_the_time_of_each_frame(tmp_path: Path) -> None:
    messages = [frame(at, at) for at in (0, 1, 2, 3, 4, 10, 12, 14, 15)]
    table = read_table(write_log(tmp_path / "log.csv", messages))
    spaces = [0.05, 0.05, 0.05, 0.05, 0.3, 0.1, 0.1, 0.05]
    assert table.frame_s.tolist() == pytest.approx([*spaces, table.spacing_s])


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("none.sqlite", None, "there is no such file or folder; expected a log"),
        ("text.sqlite", b"hello", "expected a SQLite log"),
        ("a.txt", b"hello", "expected a log of affect-edge"),
        ("a.csv", b"x,y\n1,2\n", "lacks the columns device, stream, epoch, seq, unix_ns"),
        ("a.csv", b"", "lacks the columns"),
        ("a.jsonl", b"{}\n", "line 1 is no message"),
        ("a.parquet", b"PAR1", "damaged|cannot be read"),
        ("a.jsonl", b"", "holds no frames"),
    ],
)
def test_other_files_are_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes | None, error: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=error) as raised:
        read_table(path)
    assert "\n" not in str(raised.value)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no record"):
        read_table(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for table in ("frames", "events"):
            (tmp_path / name / f"{table}.parquet").touch()
    with pytest.raises(ConfigError, match="holds 2 recordings, a, b: name one of them"):
        read_table(tmp_path)


def test_the_only_recording_of_a_folder_is_read(log: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    clip = analysed(tmp_path / "out" / "clip", session())
    assert_equal(read_table(tmp_path / "out"), read_table(log))
    for name in ("frames", "events"):
        (clip / f"{name}.parquet").unlink()
    assert_equal(read_table(tmp_path / "out"), read_table(log))


def test_torn_last_lines_are_left_out(tmp_path: Path) -> None:
    for name in ("log.csv", "log.jsonl"):
        out = write_log(tmp_path / name, session())
        with out.open("ab") as file:
            file.write(b'edge,s,1,9,"half')
        assert len(read_table(out).frame_time_s) == 400


def test_an_open_quote_swallows_no_rows(tmp_path: Path) -> None:
    out = write_log(tmp_path / "log.csv", session())
    lines = out.read_bytes().split(b"\n")
    lines[200] = b'edge,s,1,9,"half'
    out.write_bytes(b"\n".join(lines))
    with pytest.raises(ConfigError, match=r"log.csv: line 201 is torn"):
        read_table(out)


def test_codes_assigned_afterwards_count(log: Path) -> None:
    with open_log(log) as database:
        participant_edits.add(database, Edit("P09", track=("s", 1, 2)))
    assert [each.name for each in read_table(log).subjects] == ["P07", "P09"]
