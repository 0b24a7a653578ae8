"""The tables of a CSV log as other programs read them: types, time axis, earlier columns."""

import re

import pytest

from edge.client import Gap
from edge.client.logs import opened_log
from edge.client.tidy import BOOLEANS, COLUMNS, EVENT_COLUMNS, INTEGERS, TEXTS
from edge.errors import ConfigError
from edge.protocol.messages import FrameMessage
from tests.support.logs import csv_rows, received
from tests.support.wire import event, face, frame, status


def changed(message, **parts):
    """Return a copy of a frame or event with other fields within its parts."""
    data = message.model_dump(mode="json", by_alias=True)
    for part, fields in parts.items():
        data[part] = data[part] | fields
    return type(message).model_validate(data)


def media(seq, sensor_s, **fields):
    return changed(
        frame(seq), time={"sensor_ns": round(sensor_s * 1e9), "clock": "media"}, frame=fields
    )


def write(out, *messages):
    with opened_log(out) as log:
        log.cursors()
        for message in messages:
            log.write(message if hasattr(message, "part") else received(message))


@pytest.fixture
def log(tmp_path):
    """A log with everything that may be missing in a row missing in one and present in another."""
    out = tmp_path / "log.csv"
    unknown = {"exposure_us": None, "max_error_us": None, "synchronized": False}
    write(
        out,
        event(0),
        frame(1, face(3) | {"participant": "P07"}, face(4, classified=False, reasons=("dark",))),
        changed(frame(2), time=unknown),
        changed(frame(3, face(3)), frame={"file": "scan.tif", "page": 2}),
        received(frame(9), Gap("s", 1, 4, 8)),
    )
    return out


def test_each_column_has_one_type(log):
    for path, columns in ((log, COLUMNS), (log.with_suffix(".events.csv"), EVENT_COLUMNS)):
        rows = csv_rows(path)
        for column in columns:
            cells = [row[column] for row in rows]
            if column in INTEGERS:
                assert all(re.fullmatch(r"-?\d+", cell) for cell in cells), (column, cells)
            elif column in BOOLEANS:
                assert set(cells) <= {"true", "false"}, (column, cells)
            elif column not in TEXTS:
                assert all(cell == "" or float(cell) is not None for cell in cells)


def test_pandas_finds_the_types(log):
    pandas = pytest.importorskip("pandas", reason="needs pandas, which the project does not use")
    for path in (log, log.with_suffix(".events.csv")):
        table = pandas.read_csv(path)
        for column in table:
            kind = table[column].dtype.kind
            if column in INTEGERS:
                assert kind == "i", column
            elif column in BOOLEANS:
                assert kind == "b", column
            elif column not in TEXTS:
                assert kind == "f", column


def test_values_that_are_missing_are_marked(log):
    first, second, empty, page, _ = csv_rows(log)
    assert (first["participant"], second["participant"]) == ("P07", "")
    assert (empty["track"], empty["quality_usable"], empty["detection_score"]) == (
        "-1",
        "false",
        "",
    )
    assert (empty["exposure_us"], empty["max_error_us"], empty["file"]) == ("-1", "-1", "")
    assert (page["file"], page["page"], page["track_age_s"]) == ("scan.tif", "2", "12.4")
    started, gap = csv_rows(log.with_suffix(".events.csv"))
    assert (started["first_missing"], started["last_missing"]) == ("-1", "-1")
    assert (gap["seq"], gap["first_missing"], gap["last_missing"]) == ("4", "4", "8")


def times(out):
    """Return the time_s of frames and events by their seq."""
    rows = csv_rows(out) + csv_rows(out.with_suffix(".events.csv"))
    return {int(row["seq"]): float(row["time_s"]) for row in rows}


def test_a_cameras_frames_and_events_lie_on_one_axis_over_restarts_of_the_logger(tmp_path):
    out = tmp_path / "log.csv"
    second = 10**9
    stamps = {"sensor_ns": 7 * second, "published_ns": 7 * second + 40_000_000}
    start = changed(event(0), time={"monotonic_ns": 5 * second})
    first = changed(frame(1), time=stamps)
    mark = changed(event(2, "mark"), time={"monotonic_ns": 8 * second + 250})
    write(out, start, first)
    write(out, mark, changed(frame(3), time={name: ns + 2 * second for name, ns in stamps.items()}))
    assert times(out) == {0: 0.0, 1: 2.0, 2: 3.0, 3: 4.0}
    new_epoch = changed(event(0, epoch=2), time={"monotonic_ns": 50 * second})
    write(out, new_epoch)
    assert times(out)[0] == 0.0


def test_a_board_that_was_suspended_keeps_one_axis(tmp_path):
    """Its boot time is hours ahead of the monotonic clock, on which events are stamped."""
    out, second = tmp_path / "log.csv", 10**9
    stamps = {"clock": "boottime", "sensor_ns": 9000 * second, "published_ns": 6 * second}
    start = changed(event(0), time={"monotonic_ns": 5 * second})
    write(out, start, changed(frame(1), time=stamps))
    assert times(out) == {0: 0.0, 1: 1.0}


@pytest.mark.parametrize("restarted", [False, True])
def test_a_files_events_have_the_time_within_the_file(tmp_path, restarted):
    """However fast it is read: the wall clock and the file's times differ."""
    out = tmp_path / "log.csv"
    started = event(0, "epoch_started", {"source": "video"})
    sent = [started, media(1, 0.0), media(2, 2.5), event(3, "frame_refused"), media(4, 7.5)]
    sent += [event(5, "epoch_ended")]
    if restarted:
        for message in sent:
            write(out, message)
    else:
        write(out, *sent)
    assert times(out) == {0: 0.0, 1: 0.0, 2: 2.5, 3: 2.5, 4: 7.5, 5: 7.5}


def test_a_gap_that_a_status_shows_has_a_place_on_the_axis(tmp_path):
    out = tmp_path / "log.csv"
    late = received(status(4), Gap("s", 1, 2, 4))
    write(out, media(1, 2.5), late)
    assert times(out) == {1: 2.5, 2: 2.5}


# -- tables of another version ---------------------------------------------------------------------

OLD = "device,stream,epoch,seq,unix_ns,sensor_ns,frame_index,track,participant,faces,score,age_s\n"
OLD_EVENTS = (
    "device,stream,epoch,seq,unix_ns,monotonic_ns,event,detail,first_missing,last_missing\n"
)


def test_a_table_of_another_version_is_set_aside_and_the_gap_since_it_reported(tmp_path):
    out, reports = tmp_path / "log.csv", []
    old = OLD + "edge,s,1,41,5,5,3,1,007,1,0.9,2.0\n"
    old_events = OLD_EVENTS + 'edge,s,1,42,5,5,mark,"{""text"":""x""}",,\n'
    out.write_text(old)
    out.with_suffix(".events.csv").write_text(old_events)
    (tmp_path / "log.old-1.csv").write_text("kept")
    with opened_log(out, reports.append) as log:
        assert max(log.cursors()).seq == 42
        log.write(received(frame(50)))
    assert (tmp_path / "log.old-2.csv").read_text() == old
    assert (tmp_path / "log.old-2.events.csv").read_text() == old_events
    assert (tmp_path / "log.old-1.csv").read_text() == "kept"
    assert [row["seq"] for row in csv_rows(out)] == ["50"]
    assert csv_rows(out.with_suffix(".events.csv")) == []
    assert reports == [
        f"{out}: has the columns of another version; renamed to log.old-2.csv (and"
        " log.old-2.events.csv), a new log is started"
    ]


def test_a_table_of_a_later_version_is_set_aside(tmp_path):
    out = tmp_path / "log.csv"
    later = ",".join([*COLUMNS, "more"]) + "\n"
    out.write_text(later)
    write(out, frame(1))
    assert (tmp_path / "log.old-1.csv").read_text() == later
    assert len(csv_rows(out)) == 1


def test_a_torn_frame_at_the_end_of_an_old_table_does_not_count_as_logged(tmp_path):
    out = tmp_path / "log.csv"
    out.write_text(OLD + "edge,s,1,40,5,5,3,1,,1,0.9,2.0\n" + "edge,s,1,41,5,5,3,1,,2,0.9,2.0\n")
    with opened_log(out) as log:
        assert max(log.cursors()).seq == 40
    assert "41" in (tmp_path / "log.old-1.csv").read_text()


def test_a_foreign_table_next_to_an_old_one_is_refused(tmp_path):
    out = tmp_path / "log.csv"
    out.write_text(OLD)
    out.with_suffix(".events.csv").write_text("a,b\n")
    with pytest.raises(ConfigError, match=r"log\.events\.csv: exists with other columns"):
        write(out, frame(1))
    assert out.read_text() == OLD


def test_frames_of_a_version_without_file_names_are_read():
    data = frame(1).model_dump(mode="json", by_alias=True)
    del data["frame"]["file"], data["frame"]["page"]
    assert FrameMessage.model_validate(data).frame.file is None
