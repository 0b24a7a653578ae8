"""Plots: the same bytes again, units on the axes, many faces on several pages, odd texts."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import ConfigError
from edge.results.binned import CLASSIFIED, NOT_CLASSIFIED, NOT_IN_VIEW, NOT_RECORDED, bins_of
from edge.results.figures import EXPRESSION_COLOURS, clock_text, styled
from edge.results.join import Series
from edge.results.marks import Mark
from edge.results.plots import SUBJECTS_MAX, drawings, subjects_shown, write_plots
from edge.results.table import Table
from edge.results.tables import read_table
from edge.results.timeline import timeline
from edge.vocabulary import EXPRESSIONS
from tests.support.daemons import ROOT
from tests.support.recorded import face, frame, session, write_log

NAMES = [f"{name}.{suffix}" for name in ("circumplex", "expressions", "timeline")
         for suffix in ("png", "svg")]  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    folder = tmp_path_factory.mktemp("log")
    return read_table(write_log(folder / "log.sqlite", session()))


def test_plots_have_the_same_bytes_in_another_process(table: Table, tmp_path: Path) -> None:
    write_plots(table, tmp_path / "here")
    assert sorted(each.name for each in (tmp_path / "here").iterdir()) == NAMES
    code = (
        "from pathlib import Path; from edge.results.tables import read_table;"
        "from edge.results.plots import write_plots;"
        f"write_plots(read_table(Path({str(table.path)!r})), Path({str(tmp_path / 'there')!r}))"
    )
    (tmp_path / "config").mkdir()
    # a user's own style must not change a figure
    (tmp_path / "config" / "matplotlibrc").write_text("font.size: 30\nlines.linewidth: 9\n")
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)}
    environment["MATPLOTLIBRC"] = str(tmp_path / "config")
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    for name in NAMES:
        content = (tmp_path / "here" / name).read_bytes()
        assert (tmp_path / "there" / name).read_bytes() == content, name
        assert b"<dc:date>" not in content
        if name.endswith(".png"):
            picture = cv2.imread(str(tmp_path / "here" / name))
            assert picture is not None
            assert 600 < picture.shape[1] <= 1440
            assert len(np.unique(picture)) > 20


def test_what_a_panel_says(table: Table) -> None:
    marks = [Mark(7.5, "pressure $2.8$ bar"), Mark(99, "outside")]
    with styled():
        figure = timeline(table, [0, 1], marks, [Series("p_bar", *np.ones((2, 4)))])
        titles = [axes.get_title(loc="left") for axes in figure.axes]
        assert titles == ["P07", "track 2", "p_bar"]
        assert figure.axes[-1].get_xlabel() == "Time from the start (minutes:seconds)"
        assert figure.axes[0].get_ylabel() == "Valence, arousal"
        assert [text.get_text() for text in figure.axes[0].texts] == [r"1: pressure \$2.8\$ bar"]
        (legend,) = figure.legends
        labels = [text.get_text() for text in legend.get_texts()]
        assert labels == [
            "valence", "arousal", "standard deviation within 0.2 s", "not classified",
            "not in view", "not recorded",
        ]  # fmt: skip


def test_bins_say_what_was_not_classified_and_why(table: Table) -> None:
    first, second = (bins_of(table, rows, 1.0) for rows in table.rows_of)
    assert first.state.tolist() == [
        *[CLASSIFIED] * 5, NOT_CLASSIFIED, *[CLASSIFIED] * 4, *[NOT_RECORDED] * 10,
        *[CLASSIFIED] * 10,
    ]  # fmt: skip
    assert second.state.tolist() == [
        *[NOT_IN_VIEW] * 10, *[NOT_RECORDED] * 10, *[CLASSIFIED] * 10,
    ]  # fmt: skip
    assert first.stretches(NOT_CLASSIFIED) == [(5.0, 6.0)]
    assert first.expressions.sum(axis=0) == pytest.approx((first.state == CLASSIFIED) * 1.0)
    at = (table.frame_time_s[table.frame] >= 3) & (table.frame_time_s[table.frame] < 4)
    assert first.valence[3] == pytest.approx(table.valence[at & (table.subject == 0)].mean())


def test_many_faces_have_several_pages(tmp_path: Path) -> None:
    faces = [face(number, 0) for number in range(30)]
    faces[3]["participant"] = "P07"
    messages = [frame(at, at, *faces[: 30 - at]) for at in range(10)]
    crowd = read_table(write_log(tmp_path / "log.jsonl", messages))
    shown = [crowd.subjects[at].name for at in subjects_shown(crowd)]
    assert len(shown) == SUBJECTS_MAX
    assert shown[:2] == ["P07", "track 0"]
    assert "track 29" not in shown  # seen for the shortest time
    drawn = {each.name: each for each in drawings(crowd, [Mark(0.1, "x")] * 40)}
    names = ("timeline", "circumplex", "expressions")
    assert set(drawn) == {f"{name}{page}" for name in names for page in ("", "-2", "-3", "-4")}
    with styled():
        assert [axes.get_title(loc="left") for axes in drawn["timeline-4"].draw().axes] == shown[
            18:
        ]


@pytest.mark.parametrize(
    "messages",
    [
        [frame(0, 0, face(1, 0))],
        [frame(0, 0, face(1, 0, reasons=["blurred"])), frame(1, 5, face(1, 0, reasons=["x"]))],
        [frame(0, 0), frame(1, 1)],
    ],
    ids=["one picture", "never classified", "no faces"],
)
def test_small_records_have_plots_too(tmp_path: Path, messages: list) -> None:
    small = read_table(write_log(tmp_path / "log.jsonl", messages))
    written = write_plots(small, tmp_path / "plots")
    assert len(written) == (6 if small.subjects else 0)
    assert stat.S_IMODE((tmp_path / "plots").stat().st_mode) == 0o700


def test_texts_of_people_are_only_text(tmp_path: Path) -> None:
    messages = [frame(at, at, face(1, at, participant="P07")) for at in range(9)]
    table = read_table(write_log(tmp_path / "log.jsonl", messages))
    write_plots(table, tmp_path, (Mark(0.2, r"<b>&\$x^2$ \frac{ %"), Mark(0.3, "日本 ü")))
    svg = (tmp_path / "timeline.svg").read_text()
    assert "<b>" not in re.sub(r"<!--.*?-->", "", svg, flags=re.S)


def test_a_folder_without_rights_is_one_line(table: Table, tmp_path: Path) -> None:
    (tmp_path / "plots").touch()
    with pytest.raises(ConfigError, match="plots: cannot be written: File exists; name a place"):
        write_plots(table, tmp_path / "plots")


def test_each_expression_has_its_colour() -> None:
    assert tuple(EXPRESSION_COLOURS) == EXPRESSIONS
    assert len(set(EXPRESSION_COLOURS.values())) == len(EXPRESSIONS)


def test_times_on_an_axis() -> None:
    assert [clock_text(each) for each in (0, 59.99, 61, 3600, -5)] == [
        "0:00", "1:00", "1:01", "1:00:00", "-0:05",
    ]  # fmt: skip
    assert clock_text(1.25, step_s=0.5) == "0:01.2"
    assert [clock_text(each, hours=True) for each in (0, 600, 36000)] == [
        "0:00:00", "0:10:00", "10:00:00",
    ]  # fmt: skip


def test_ten_minutes_of_a_long_record_are_not_ten_hours(tmp_path: Path) -> None:
    long = read_table(write_log(tmp_path / "log.jsonl", [frame(at, at * 1000) for at in range(80)]))
    assert 3600 < long.end_s < 4200
    with styled():
        figure = timeline(long, [], (), [Series("x", long.frame_time_s, long.frame_time_s)])
        figure.canvas.draw()
        labels = [each.get_text() for each in figure.axes[-1].get_xticklabels()]
    assert "0:10:00" in labels
    assert "1:00:00" in labels
    assert figure.axes[-1].get_xlabel().endswith("(hours:minutes:seconds)")
