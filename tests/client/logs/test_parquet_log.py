"""Parquet logs: files that are closed as a whole, as pandas and DuckDB read them."""

import stat

import duckdb
import pandas
import pytest

from edge.client import Cursor, Gap
from edge.client.logs import opened_log
from edge.client.logs import parquet_log as parquet
from edge.client.tidy import BOOLEANS, COLUMNS, INTEGERS
from edge.errors import ConfigError, LogUnavailable
from tests.support.logs import received
from tests.support.wire import event, face, frame, status

DAY_NS = 86_400 * 10**9


def on_day(message, days):
    data = message.model_dump(mode="json", by_alias=True)
    data["time"]["unix_ns"] += days * DAY_NS
    return type(message).model_validate(data)


def write(out, *messages):
    with opened_log(out) as log:
        cursors = log.cursors()
        for message in messages:
            log.write(message if hasattr(message, "part") else received(message))
    return cursors


def read(out, table, columns="*"):
    return duckdb.sql(f"SELECT {columns} FROM '{out}/{table}/**/*.parquet' ORDER BY epoch, seq")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "log.parquet"


def test_files_lie_by_device_and_day(out):
    other = on_day(frame(1, face(), device="b/ä", stream="t"), 0)
    write(out, event(0), frame(1, face(), face(5)), on_day(frame(2), 1), other, status(2))
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*.parquet"))
    assert files == [
        "events/device=edge/day=2023-11-14/s-1-0.parquet",
        "faces/device=b%2F%C3%A4/day=2023-11-14/t-1-1.parquet",
        "faces/device=edge/day=2023-11-14/s-1-1.parquet",
        "faces/device=edge/day=2023-11-15/s-1-2.parquet",
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*.parquet")} == {0o600}
    found = read(out, "faces", "device, day, seq, track").fetchall()
    assert sorted((row[0], str(row[1]), *row[2:]) for row in found) == [
        ("b/ä", "2023-11-14", 1, 4),
        ("edge", "2023-11-14", 1, 4),
        ("edge", "2023-11-14", 1, 5),
        ("edge", "2023-11-15", 2, -1),
    ]


def test_pandas_and_duckdb_read_types_without_options(out):
    write(out, frame(1, face(), face(5, classified=False)), frame(2))
    table = pandas.read_parquet(out / "faces")
    assert set(table.columns) == {*COLUMNS, "day"}
    for column in COLUMNS:
        kind = table[column].dtype.kind
        if column in INTEGERS:
            assert kind == "i", column
        elif column in BOOLEANS:
            assert kind == "b", column
    described = duckdb.sql(f"DESCRIBE SELECT * FROM '{out}/faces/**/*.parquet'").fetchall()
    by_name = {row[0]: row[1] for row in described}
    assert by_name["quality_usable"] == "BOOLEAN"
    assert by_name["seq"] == "BIGINT"
    assert by_name["valence"] == "DOUBLE"


def test_the_log_is_continued_with_its_cursors_and_time_axis(out):
    assert write(out, event(0), received(frame(5, face()), Gap("s", 1, 1, 4))) == []
    assert write(out, frame(6)) == [Cursor("s", 1, 5)]
    times = read(out, "faces", "seq, time_s").fetchall()
    assert times == [(5, 0.005), (6, 0.005000001)] or times[0][1] <= times[1][1]
    gap = read(out, "events", "event, first_missing, last_missing").fetchall()
    assert gap == [("epoch_started", -1, -1), ("gap", 1, 4)]


def test_a_large_spool_is_turned_into_files_at_the_commit(out, monkeypatch):
    monkeypatch.setattr(parquet, "SPOOL_BYTES", 50_000)
    with opened_log(out) as log:
        log.cursors()
        for seq in range(40):
            log.write(received(frame(seq, face(), face(5))))
            log.commit()
        assert len(list(out.rglob("*.parquet"))) > 1
        assert not list(out.rglob("*.new"))
    found = read(out, "faces", "seq").fetchall()
    assert [seq for (seq,) in found] == [seq for seq in range(40) for _ in range(2)]


def test_a_conversion_without_space_is_done_later(out, monkeypatch):
    with opened_log(out) as log:
        log.cursors()
        log.write(received(frame(1, face())))
        log.commit()
        with monkeypatch.context() as patch:
            patch.setattr(parquet, "opened_table", no_space)
            with pytest.raises(LogUnavailable):
                log.rotate()
            with pytest.raises(LogUnavailable):
                log.commit()
        log.commit()
        assert read(out, "faces", "seq").fetchall() == [(1,)]


def no_space(path, columns):
    raise LogUnavailable("full")


def test_a_conversion_that_was_killed_is_done_again_with_the_same_names(out):
    with opened_log(out) as log:
        log.cursors()
        log.write(received(frame(1, face())))
        log.commit()
        spool = (out / ".spool/messages.sqlite").read_bytes()
    assert spool
    before = {path: path.read_bytes() for path in out.rglob("*.parquet")}
    sealed = out / ".spool/messages.2023-11-14.sqlite"
    with opened_log(out.with_name("copy.sqlite")) as log:
        log.cursors()
        log.write(received(frame(1, face())))
    out.with_name("copy.sqlite").rename(sealed)
    write(out, frame(2))
    assert not sealed.exists()
    assert {path: path.read_bytes() for path in before} == before
    assert read(out, "faces", "seq").fetchall() == [(1,), (2,)]


def test_a_folder_with_other_contents_is_refused(out):
    out.mkdir()
    (out / "diary.txt").write_text("dear diary")
    with pytest.raises(ConfigError, match="exists and is no log"), opened_log(out):
        pass
    assert [path.name for path in out.iterdir()] == ["diary.txt"]


def test_a_name_that_ends_in_a_slash_is_a_folder(tmp_path):
    with opened_log(f"{tmp_path}/record/") as log:
        log.cursors()
        log.write(received(frame(1)))
    assert read(tmp_path / "record", "faces", "seq").fetchall() == [(1,)]


def test_a_second_logger_is_refused(out):
    with opened_log(out), pytest.raises(ConfigError, match="another process"), opened_log(out):
        pass
