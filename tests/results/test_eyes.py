"""PERCLOS, blinks and closures in summary and report; tables from before they were measured."""

import csv
from pathlib import Path

import pytest

from edge.protocol.messages import EventMessage, FrameMessage
from edge.results.report import render
from edge.results.summary import whole, write_summary
from edge.results.tables import read_table
from edge.tools.export_log import run_export
from tests.support.recorded import FORMATS, event, face, frame, mesh, session, write_log
from tests.support.report_page import Page

_EYES = ("affect_source", "mesh_left_eye", "perclos", "blinks_per_min")


def measured() -> list[FrameMessage | EventMessage]:
    """Return 60 frames of 20 a second: PERCLOS is known in the last 20, measured in every second.

    A second face is never measured.
    """
    found: list[FrameMessage | EventMessage] = []
    for at in range(60):
        one, other = face(1, at, participant="P07"), face(2, at)
        if at % 2 == 0:
            is_known = at >= 40
            one["mesh"] = mesh(
                perclos=0.1 + 0.01 * (at - 40) if is_known else None,
                blinks_per_min=12.0 if is_known else None,
            )
        found.append(frame(len(found), at, one, other))
    for name, at in (("blink", 21), ("blink", 30), ("eyes_closed", 45)):
        more = {"duration_ms": 150} if name == "blink" else {"closed_s": 2.0, "participant": "P07"}
        found.append(event(len(found), at, name, {"track": 1, "sensor_ns": 1, **more}))
    return found


def words_of(path: Path) -> str:
    return " ".join(Page(render(read_table(path))).text.split()).replace("\u00a0", " ")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_what_was_measured_of_the_eyes(name: str, tmp_path: Path) -> None:
    one, other = whole(read_table(write_log(tmp_path / name, measured())))
    assert one.eyes.measured_s == pytest.approx(one.in_view_s / 2)
    assert one.eyes.perclos.mean == pytest.approx(0.19)  # of 0.1, 0.12, ... 0.28
    assert one.eyes.perclos_max == pytest.approx(0.28)
    assert one.eyes.blinks_per_min.mean == pytest.approx(12)
    assert (other.eyes.measured_s, other.eyes.perclos.mean, other.eyes.perclos_max) == (
        0,
        None,
        None,
    )


def test_the_summary_has_them_by_interval(tmp_path: Path) -> None:
    out = tmp_path / "summary.csv"
    write_summary(read_table(write_log(tmp_path / "log.jsonl", measured())), out, interval_s=1.0)
    with out.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["participant"] == "P07"]
    names = ("mesh_share", "perclos_mean", "perclos_max", "blinks_per_min_mean")
    assert [[row[name] for name in names] for row in rows] == [
        ["0.5", "", "", ""], ["0.5", "", "", ""], ["0.5", "0.19", "0.28", "12.0"],
    ]  # fmt: skip


def test_a_report_says_what_is_known_of_the_eyes_and_what_is_not(tmp_path: Path) -> None:
    text = words_of(write_log(tmp_path / "log.jsonl", measured()))
    assert "P07 50.0 19.0 28.0 12.0" in text
    assert "track 2 0.0 – – –" in text
    assert "blinks: 2; eyes that stayed closed: 1, reported at 0:02 (P07)." in text
    assert "a sign of drowsiness, not a measure of it" in text


def test_a_report_of_a_record_without_the_mesh_has_no_eyes(tmp_path: Path) -> None:
    assert "PERCLOS" not in words_of(write_log(tmp_path / "log.jsonl", session()))


def test_a_report_says_that_the_mesh_was_on_and_measured_nothing(tmp_path: Path) -> None:
    model = {"name": "face-mesh", "artifact": "mesh.onnx", "sha256": "ab" * 32}
    started = event(0, 0, "worker_started", {"models": {"mesh": model}, "memory_locked": False})
    log = write_log(
        tmp_path / "log.jsonl", [started, *(frame(at, at, face(1, at)) for at in (1, 2))]
    )
    text = words_of(log)
    assert "track 1 0.0 – – –" in text
    assert "were measured with face-mesh (artifact mesh.onnx" in text


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_from_before_can_be_read(suffix: str, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.sqlite", session())
    table = tmp_path / f"old.{suffix}"
    run_export(log, table)
    known = whole(read_table(table))
    if suffix == "csv":
        with table.open(newline="") as file:
            rows = list(csv.reader(file))
        kept = [at for at, name in enumerate(rows[0]) if name not in _EYES]
        with table.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(
                [row[at] for at in kept] for row in rows
            )
    else:
        from pyarrow import parquet

        parquet.write_table(parquet.read_table(table).drop_columns(list(_EYES)), table)
    assert whole(read_table(table)) == known
