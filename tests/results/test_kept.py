"""Marks and sensors that ``analyse`` was given, in a later report of its folder."""

import re
from pathlib import Path

import pytest

from edge.cli import run_command_line
from edge.results import after_analysis
from edge.results.join import read_sensors, series_of, write_joined
from edge.results.kept import kept_sensors
from edge.results.report import write_report
from edge.results.tables import read_table
from tests.support.recorded import analysed, event, session
from tests.support.report_page import Page


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_marks_and_sensors_of_an_analysis_are_in_its_report(tmp_path: Path, suffix: str) -> None:
    folder = analysed(tmp_path / "clip", session())
    for name in ("frames", "events"):
        (folder / f"{name}.{'csv' if suffix == 'parquet' else 'parquet'}").unlink()
    marks, pressure = tmp_path / "mine.csv", tmp_path / "chamber.csv"
    marks.write_text('time_s;mark\n12;"surface, at last"\n2,5;diving\n')
    pressure.write_text("time_s,pressure_bar,valve\n0,1,open\n20,2.8,shut\n")
    after_analysis(folder, marks=marks, joins=[pressure])
    assert (folder / "marks.used.csv").read_text() == (
        'time_s,mark\n2.5,diving\n12.0,"surface, at last"\n'
    )
    marks.unlink()
    pressure.unlink()
    for record in (folder, folder.parent) if suffix == "parquet" else (folder,):
        out = tmp_path / f"{record.name}.html"
        assert run_command_line(["report", str(record), "--out", str(out)]) == 0
        page = Page(out.read_text())
        assert "surface, at last" in page.text
        assert "mask" not in page.text.replace("mask 2", "").replace("masks", "")
        [series] = series_of(kept_sensors(record), read_table(record))
        assert series.name == "chamber_pressure_bar"
        assert set(series.values.tolist()) == {1.0, 2.8}
    other = tmp_path / "other.csv"
    other.write_text("time_s,mark\n1,ascent\n")
    write_report(folder, tmp_path / "other.html", marks=other)
    text = Page((tmp_path / "other.html").read_text()).text
    assert "ascent" in text
    assert "diving" not in text
    (folder / f"joined.{suffix}").unlink()
    write_report(folder, tmp_path / "no sensor.html")
    assert (tmp_path / "no sensor.html").stat().st_size < out.stat().st_size


def test_marks_that_name_another_file_are_left_out(tmp_path: Path) -> None:
    """One file of marks may be for several recordings; each had the marks of all."""
    opened = {
        "file": "clip.mp4", "bytes": 1, "sha256": None, "duration_s": None,
        "recorded_unix_ns": None, "recorded_by": "none",
    }  # fmt: skip
    messages = session(frames=40)
    messages.append(event(len(messages), 240, "file_opened", opened))
    folder = analysed(tmp_path / "clip", messages)
    marks = tmp_path / "marks.csv"
    marks.write_text("file,time_s,mark\nclip.mp4,0.5,dive\n,1,lamp\nother.mp4,1.5,ascent\n")
    after_analysis(folder, recording="clip.mp4", marks=marks)
    assert (folder / "marks.used.csv").read_text() == "time_s,mark\n0.5,dive\n1.0,lamp\n"
    assert "ascent" not in (folder / "summary.csv").read_text()

    said: list[str] = []
    write_report(folder, tmp_path / "page.html", marks=marks, report=said.append)
    assert "1 of 3 marks are left out: they name another file" in said
    text = Page((tmp_path / "page.html").read_text()).text
    assert "dive" in text
    assert "ascent" not in text

    (folder / "marks.used.csv").unlink()
    marks.write_text("time_s,mark,file\n1.5,ascent,other.mp4\n")
    after_analysis(folder, recording="clip.mp4", marks=marks)
    assert not (folder / "marks.used.csv").exists()
    assert len((folder / "summary.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_sensor_of_an_analysis_is_drawn_as_it_was_read(tmp_path: Path, suffix: str) -> None:
    folder = analysed(tmp_path / "clip", session())
    sensors = tmp_path / "chamber.csv"
    sensors.write_text(
        "time_s,bar,code,large,under,none,far\n"
        "0,1,007,9007199254740993,1_000,nan,1\n"
        "10,2,008,4,2,2,9007199254740993.5\n"
    )
    write_joined(folder, read_sensors([sensors], None))
    for each in folder.glob("joined.*"):
        if each.suffix != f".{suffix}":
            each.unlink()
    found = series_of(kept_sensors(folder), read_table(folder))
    assert [each.name for each in found] == ["chamber_bar", "chamber_large", "chamber_far"]
    assert found[1].values.tolist()[0] == 9007199254740992.0


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("joined.csv", b"", "lacks the columns time_s"),
        ("joined.csv", b'time_s,x\n0,1\n1,"2\n2,3\n', "line 3 is torn"),
        ("joined.csv", b"time_s,x\nsoon,1\n", "line 2: time_s is 'soon'"),
        ("joined.parquet", b"PAR1", "damaged|cannot be read"),
    ],
)
def test_kept_sensors_that_are_damaged_are_named_in_one_line(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    name: str,
    content: bytes,
    error: str,
) -> None:
    folder = analysed(tmp_path / "clip", session(frames=9))
    (folder / name).write_bytes(content)
    out = tmp_path / "r.html"
    assert run_command_line(["report", str(folder), "--out", str(out)]) == 78
    said = capfd.readouterr().err
    assert re.search(f"{name}: .*({error}).*; make it again with affect-edge analyse, or", said)
    assert said.count("\n") == 1
    assert not out.exists()
