"""The summary: laws that hold for any record, and the figures of a known one."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.errors import ConfigError
from edge.results import after_analysis, summary
from edge.results.columns import _durations, _usual_spacing
from edge.results.marks import Mark, intervals_of, read_marks
from edge.results.report import render
from edge.results.summary import COLUMNS, REASONS, SummaryRow, summarise, whole, write_summary
from edge.results.table import Subject, Table
from edge.results.tables import read_table
from edge.vision import quality
from tests.support.recorded import FORMATS, analysed, face, frame, session, write_log
from tests.support.report_page import Page

SUBJECTS = (Subject("P07", None), Subject(None, 4))


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Return any record: any frame times with gaps, two faces that come and go."""
    steps = draw(st.lists(st.sampled_from([0.0, 0.03, 0.05, 0.05, 0.4, 7.0]), max_size=40))
    time_s = np.cumsum([draw(st.sampled_from([0.0, 1.5])), *steps])
    run = np.zeros(len(time_s), np.int64)
    seen = [
        (frame, subject)
        for frame in range(len(time_s))
        # a participant may have the code of two tracks in one frame
        for subject in draw(st.sampled_from([(), (0,), (1,), (0, 1), (0, 0), (0, 0, 1)]))
    ]
    frame = np.array([each[0] for each in seen], np.int64)
    subject = np.array([each[1] for each in seen], np.int64)
    count = len(seen)
    label = np.array(draw(st.lists(st.integers(-1, 7), min_size=count, max_size=count)), np.int8)
    reasons = np.array(draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)), np.int64)
    values = draw(st.lists(st.floats(-1, 1), min_size=count, max_size=count))
    valence = np.where(label >= 0, np.array(values, np.float64), np.nan)
    spacing_s = _usual_spacing(time_s, run)
    return Table(
        path=Path("x"),
        device="edge",
        session=None,
        is_file=False,
        frame_time_s=time_s,
        frame_s=_durations(time_s, run, spacing_s),
        frame_unix_ns=(time_s * 1e9).astype(np.int64),
        spacing_s=spacing_s,
        synchronized=1.0,
        dropped=0,
        picture_sizes=((64, 64),),
        frame=frame,
        subject=subject,
        reasons=reasons,
        label=label,
        valence=valence,
        arousal=-valence,
        valence_relative=np.where(valence > 0, valence, np.nan),
        arousal_relative=np.where(valence > 0, -valence, np.nan),
        is_measured=label >= 0,
        perclos=np.where(valence > 0, valence, np.nan).astype(np.float32),
        blinks_per_min=np.where(valence > 0, 20 * valence, np.nan).astype(np.float32),
        affect_sources=(),
        unknown=(),
        subjects=SUBJECTS,
        reason_texts=("", "too_small", "blurred|too_dark", "new_reason"),
        events=(),
    )


def by_subject(rows: list[SummaryRow]) -> dict[str, list[SummaryRow]]:
    return {each.name: [row for row in rows if row.subject == each] for each in SUBJECTS}


@given(tables(), st.sampled_from([0.1, 0.37, 1.0, 60.0, None]), st.lists(st.floats(0, 60)))
@settings(max_examples=300, deadline=None)
def test_intervals_add_up_to_the_whole(
    table: Table, interval_s: float | None, marks: list[float]
) -> None:
    intervals = intervals_of(table, interval_s, [Mark(at, f"at {at}") for at in marks])
    parts, wholes = by_subject(list(summarise(table, intervals))), by_subject(whole(table))
    for name, rows in parts.items():
        (total,) = wholes[name] or [None]
        if total is None:
            assert not rows
            continue
        assert sum(row.frames for row in rows) == total.frames
        for field in ("in_view_s", "classified_s", "relative_s"):
            found = sum(getattr(row, field) for row in rows)
            assert found == pytest.approx(getattr(total, field), abs=1e-9), field
        for reason, seconds in total.reasons_s.items():
            assert sum(row.reasons_s[reason] for row in rows) == pytest.approx(seconds, abs=1e-9)
        label_s = np.sum([row.expressions_s for row in rows], axis=0)
        assert label_s == pytest.approx(total.expressions_s, abs=1e-9)
        means = [(row.values["valence"].mean, row.classified_s) for row in rows]
        weighed = [(mean, seconds) for mean, seconds in means if mean is not None and seconds > 0]
        if weighed:
            mean = sum(a * b for a, b in weighed) / sum(b for _, b in weighed)
            assert mean == pytest.approx(total.values["valence"].mean, abs=1e-9)


@given(tables())
@settings(max_examples=200, deadline=None)
def test_parts_never_exceed_what_they_are_part_of(table: Table) -> None:
    for row in whole(table):
        assert row.recorded_s == pytest.approx(table.recorded_s)
        assert row.in_view_s <= row.recorded_s + 1e-9
        assert row.classified_s <= row.in_view_s + 1e-9
        assert sum(row.expressions_s) == pytest.approx(row.classified_s, abs=1e-9)
        for seconds in row.reasons_s.values():
            assert seconds <= row.in_view_s - row.classified_s + 1e-9
        assert row.relative_s <= row.classified_s + 1e-9


@given(tables())
@settings(max_examples=100, deadline=None)
def test_no_time_is_longer_than_the_clock(table: Table) -> None:
    lasts = table.end_s - float(table.frame_time_s[0])
    gaps = sum(to - start for start, to in table.gaps)
    assert table.recorded_s + gaps == pytest.approx(lasts, abs=1e-6)


def test_every_reason_of_the_program_has_a_column() -> None:
    assert set(quality.REASONS) == set(REASONS)


def test_time_is_weighed_by_spacing_not_by_frames(tmp_path: Path) -> None:
    # 11 frames with one label in half a second, then one with another that stands for half a second
    sparse = [(at, 0) for at in range(11)] + [(20, 40), (30, 40), (40, 40)]
    messages = [frame(seq, at, face(1, look)) for seq, (at, look) in enumerate(sparse)]
    (row,) = whole(read_table(write_log(tmp_path / "log.jsonl", messages)))
    happy, sad = row.expressions_s[1], row.expressions_s[2]
    assert (happy, sad) == pytest.approx((1.0, 1.05))


def test_the_figures_of_a_known_session(tmp_path: Path) -> None:
    table = read_table(write_log(tmp_path / "log.sqlite", session()))
    out = tmp_path / "summary.csv"
    assert write_summary(table, out, interval_s=None) == 3
    rows = pandas.read_csv(out)
    assert tuple(rows.columns) == COLUMNS
    p07, second, other = rows.to_dict("records")
    assert (p07["participant"], p07["track"], p07["interval"]) == ("P07", -1, 1)
    assert (p07["from_s"], p07["to_s"], second["to_s"]) == (0, 7.5, 30.0)
    assert pandas.isna(p07["mark"])
    assert second["mark"] == 'pressure 2.8 bar & "mask" <on>'
    assert (p07["frames"], p07["in_view_s"], p07["classified_s"]) == (149, 7.45, 6.45)
    assert p07["classified_share"] == pytest.approx(6.45 / 7.45, abs=1e-4)
    assert (p07["too_small_s"], p07["blurred_s"], p07["too_dark_s"]) == (1.0, 1.0, 0.0)
    assert (second["relative_s"], second["valence_relative_mean"]) == (9.9, 0.1)
    assert (second["recorded_s"], second["from_s"]) == (12.5, 7.5)
    assert (other["track"], other["start"], other["in_view_s"]) == (2, 1, 10.0)
    assert sum(p07[f"{name}_s"] for name in ("neutral", "happy", "sad")) == pytest.approx(6.45)


def test_a_track_costs_the_intervals_that_it_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of tracks times thousands of intervals took longer than the analysis."""
    messages = [frame(at, at * 10, face(at // 2 + 1, at)) for at in range(80)]
    table = read_table(write_log(tmp_path / "log.jsonl", messages))
    intervals = intervals_of(table, 1.0, [])
    assert len(table.subjects) == 40
    assert len(intervals) >= 40
    touching, looked_at = summary._touching, []

    def counted(*arguments: Any) -> tuple[int, int]:
        looked_at.append(arguments)
        return touching(*arguments)

    monkeypatch.setattr(summary, "_touching", counted)
    rows = list(summarise(table, intervals))

    assert sum(row.in_view_s for row in rows) == pytest.approx(table.recorded_s)
    assert len(looked_at) <= len(intervals) + 5 * len(table.subjects)


def test_fixed_intervals_count_from_second_0_and_name_the_newest_mark(tmp_path: Path) -> None:
    table = read_table(write_log(tmp_path / "log.sqlite", session()))
    found = intervals_of(table, 8.0, [Mark(7.5, "a"), Mark(16.0, "b")])
    assert [(each.from_s, each.to_s, each.mark) for each in found] == [
        (0.0, 8.0, ""),
        (8.0, 16.0, "a"),
        (16.0, 24.0, "b"),
        (24.0, pytest.approx(30.0), "b"),
    ]
    with pytest.raises(ConfigError, match="makes 300000 intervals of 30 s; expected 100000"):
        intervals_of(table, 0.0001, [])


@given(
    st.sampled_from([0.1, 0.3, 0.6, 1.2, 0.05, 7.0, 60.0]),
    st.integers(1, 400),
    st.sampled_from([20.0, 25.0, 29.97, 30.0, 30000 / 1001]),
)
@example(0.3, 6, 20.0)
@example(0.6, 12, 20.0)
@example(1.2, 24, 20.0)
@settings(max_examples=300, deadline=None)
def test_no_interval_is_empty(interval_s: float, count: int, rate: float) -> None:
    """The end of the record is a border of intervals, or near to one, but for rounding."""
    for end_s in (count * interval_s, round(count * interval_s, 6), count / rate):
        table = lasting(end_s)
        found = intervals_of(table, interval_s, [])
        assert all(each.to_s - each.from_s > 1e-6 for each in found)
        assert found[-1].to_s == table.end_s
        assert [each.from_s for each in found] == pytest.approx(
            [at * interval_s for at in range(len(found))]
        )


def lasting(end_s: float) -> Table:
    """Return a record without faces, of two frames, that ends at ``end_s``."""
    times, none = np.array([0.0, end_s / 2]), np.zeros(0, np.int64)
    return Table(
        path=Path("x"),
        device="edge",
        session=None,
        is_file=False,
        frame_time_s=times,
        frame_s=np.array([end_s / 2, end_s - end_s / 2]),
        frame_unix_ns=(times * 1e9).astype(np.int64),
        spacing_s=end_s / 2,
        synchronized=1.0,
        dropped=0,
        picture_sizes=((64, 64),),
        frame=none,
        subject=none,
        reasons=none,
        label=none.astype(np.int8),
        valence=none.astype(np.float64),
        arousal=none.astype(np.float64),
        valence_relative=none.astype(np.float64),
        arousal_relative=none.astype(np.float64),
        is_measured=none.astype(np.bool_),
        perclos=none.astype(np.float32),
        blinks_per_min=none.astype(np.float32),
        affect_sources=(),
        unknown=(),
        subjects=(),
        reason_texts=(),
        events=(),
    )


def test_after_analysis_writes_the_same_bytes_again(tmp_path: Path) -> None:
    marks = tmp_path / "marks.csv"
    marks.write_text("time_s;mark\n7,5;diving\n99;afterwards\n")
    folder = analysed(tmp_path / "clip", session())
    after_analysis(folder, interval_s=None, marks=marks)
    first = (folder / "summary.csv").read_bytes()
    (folder / "summary.csv").unlink()
    after_analysis(folder, interval_s=None, marks=marks)
    assert (folder / "summary.csv").read_bytes() == first
    rows = list(csv.DictReader(first.decode().splitlines()))
    assert [row["mark"] for row in rows] == ["", "diving", "diving"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", "is empty; expected a line of column names"),
        ("time,mark\n1,a\n", r"has the columns time, mark; expected the columns time_s"),
        ("time_s,mark\n", "holds no mark"),
        ("time_s,mark\nsoon,a\n", "line 2: time_s is 'soon'; expected seconds"),
        ("time_s,mark\nnan,a\n", "line 2: time_s is 'nan'"),
        ("time_s,mark\n1\n", "line 2 has 1 cells, the first line 2"),
        ("time_s,mark\n1,\n", "line 2: has no text"),
        ('time_s,mark\n1,a\n\n2,"dive\n3,b\n4,c\n', "line 4: unexpected end of data; a quote ends"),
        ('time_s,mark\n1,a\n2,"dive" now\n', "line 3: ',' expected after '\"'; a quote ends"),
        (b"time_s,mark\n1,\xe9\n", "byte 14 is no UTF-8"),
        (None, "cannot be read: No such file"),
    ],
)
def test_wrong_marks_are_refused(tmp_path: Path, content: str | bytes | None, error: str) -> None:
    path = tmp_path / "marks.csv"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError, match=error) as raised:
        read_marks(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("character", ["\u0085", "\u2028", "\x0c", "\x1e"])
def test_lines_of_marks_end_at_line_feeds_alone(tmp_path: Path, character: str) -> None:
    path = tmp_path / "marks.csv"
    path.write_text(f"time_s,mark\n1,first{character}words\n2,second\n", encoding="utf-8")
    assert read_marks(path) == (Mark(1, "first words"), Mark(2, "second"))
    path.write_text(f"time_s,mark\n1,first{character}words\nx,second\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 3: time_s is 'x'"):
        read_marks(path)


def test_marks_of_one_time_are_all_named() -> None:
    marks = [Mark(2.0, "c"), Mark(1.0, "a"), Mark(1.0, "b")]
    found = intervals_of(lasting(4.0), None, marks)
    assert [(each.from_s, each.mark) for each in found] == [(0, ""), (1, "a | b"), (2, "c")]


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_texts_of_others_are_no_formulas(tmp_path: Path, first: str) -> None:
    text = f"{first}SUM(A1:A9)"
    messages = [frame(seq, seq, face(1, 0, participant=text)) for seq in range(4)]
    table = read_table(write_log(tmp_path / "log.jsonl", messages))
    write_summary(table, tmp_path / "s.csv", marks=(Mark(0.0, text), Mark(0.1, "4 - 1")))
    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    escaped = "'" + " ".join(text.splitlines())
    assert [row["participant"] for row in rows] == [escaped, escaped]
    assert [row["mark"] for row in rows] == [escaped, "4 - 1"]
    assert rows[0]["track"] == "-1"  # a number stays one
    assert not any(row[name].startswith("'") for row in rows for name in COLUMNS[7:])


def test_marks_of_a_spreadsheet_are_read(tmp_path: Path) -> None:
    path = tmp_path / "marks.csv"
    path.write_bytes("\ufefftime_s;mark;note\r\n12,5; dive ;x\r\n;;\r\n3;begin;\r\n".encode())
    assert read_marks(path) == (Mark(3, "begin"), Mark(12.5, "dive"))


@pytest.mark.parametrize("name", FORMATS)
def test_an_expression_that_the_network_does_not_know_has_no_share(
    name: str, tmp_path: Path
) -> None:
    messages = []
    for at in range(20):
        one = face(1, at)
        one["expression"]["probabilities"] |= {"anger": 0.1, "contempt": None}
        messages.append(frame(at, at, one, face(2, at, reasons=["blurred"])))
    table = read_table(write_log(tmp_path / name, messages))
    assert table.unknown == ("contempt",)
    for row in whole(table):
        cells = dict(zip(COLUMNS, row.cells(), strict=True))
        assert (cells["contempt_s"], cells["contempt_share"]) == (None, None)
        assert cells["anger_s"] == 0.0
    text = " ".join(Page(render(table)).text.split()).replace("\u00a0", " ")
    assert "track 1 0.0 100.0 0.0 0.0 0.0 0.0 0.0 –" in text
    assert "A dash: the network does not know contempt." in text
    assert "gave probabilities of 7 expressions (it does not know contempt)" in text
    every = read_table(write_log(tmp_path / "every.jsonl", session()))
    assert every.unknown == ()
    assert "does not know" not in render(every)
