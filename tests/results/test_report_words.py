"""What a report says to a reader who was not there: terms, limits, what is not known."""

import dataclasses
from pathlib import Path

import pytest

from edge.results.facts import facts_of
from edge.results.marks import Mark
from edge.results.methods import methods_paragraph
from edge.results.report import render
from edge.results.summary import whole
from edge.results.tables import read_table
from tests.support.recorded import FORMATS, event, face, frame, session, write_log
from tests.support.report_page import Page


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("log") / "night.sqlite", session())


@pytest.fixture(scope="module")
def html(log: Path) -> str:
    return render(read_table(log))


def test_terms_and_clipped_values_are_explained(html: str, tmp_path: Path) -> None:
    text = " ".join(Page(html).text.split())
    for words in ("[BOARD]", "Artifact", "Macro F1", "CCC", "Device"):
        assert words in text[text.index("Terms") :], words
    assert "clipped there" not in text
    top = face(1, 0)
    top["affect"] |= {"valence": 1.0, "smoothed": {"valence": 1.0, "arousal": 0.2}}
    log = write_log(tmp_path / "top.jsonl", [frame(0, 0, top), frame(1, 1, top)])
    assert "larger estimates are clipped there" in render(read_table(log))


def test_tracks_are_not_taken_for_people(tmp_path: Path) -> None:
    """One person who left and came back was two faces, and one frame was a row as any other."""
    faces = [frame(at, at, face(1, at)) for at in range(21)]
    faces += [frame(21 + at, 41 + at, face(2, at)) for at in range(20)]
    marks = (Mark(1.0, "out"), Mark(2.1, "in"))
    page = Page(render(read_table(write_log(tmp_path / "log.jsonl", faces)), marks=marks))
    text = " ".join(page.text.split()).replace("\u00a0", " ")
    assert "Who no participant was assigned; 2 tracks of faces without a code" in text
    assert "Tracks are not people" in text
    assert "Track : the time in which one face was followed" in text
    assert "mark 1 0:01.0–0:02.1 track 1 < 0.1 100.0" in text


def test_a_record_says_how_long_nobody_was_in_view(tmp_path: Path) -> None:
    messages = [frame(at, at, *([face(1, 0), face(2, 0)] if at < 30 else [])) for at in range(40)]
    table = read_table(write_log(tmp_path / "log.jsonl", messages))
    assert table.empty_s == pytest.approx(0.5)
    text = " ".join(Page(render(table)).text.split())
    assert "Nobody in view 0.5 s, 25.0 % of the recorded time" in text
    assert "Nobody in view" not in render(read_table(write_log(tmp_path / "one.jsonl", [
        frame(0, 0, face(1, 0))
    ])))  # fmt: skip


def test_times_of_a_long_record_are_written_with_hours(tmp_path: Path) -> None:
    messages = [frame(at, at * 1000, face(1, at, participant="P07")) for at in range(80)]
    ready = event(99, 12_000, "baseline_ready", {"participant": "P07", "valence": 0, "arousal": 0})
    table = read_table(write_log(tmp_path / "log.jsonl", [*messages, ready]))
    text = " ".join(Page(render(table, marks=(Mark(600, "in"),))).text.split())
    assert "1 0:10:00.0 in" in text
    assert "0:00:00–0:10:00" in text
    assert "P07 0:10:00 ready" in text


def test_how_well_each_expression_is_found_is_said(html: str) -> None:
    text = " ".join(Page(html).text.split())
    assert "reliable: F1 (0 to 1) from anger (0.19) and disgust (0.26) to happy (0.60)" in text
    assert "Expression Photographs F1 95 % interval neutral 27 0.42 0.26 to 0.56 happy 19" in text
    # this session has the priors neutral = 0.7
    assert "These figures were measured with uniform class priors." in text


def test_the_accuracy_of_another_version_is_named_as_such(log: Path) -> None:
    table = read_table(log)
    facts = facts_of(table)
    words = "That is another version of expression-nir than the one that was used."
    assert words in methods_paragraph(table, facts, whole(table))
    same = tuple(dataclasses.replace(each, is_same=True) for each in facts.models)
    of_same = dataclasses.replace(facts, models=same)
    assert words not in methods_paragraph(table, of_same, whole(table))


def test_the_paragraph_says_which_head_was_measured(log: Path) -> None:
    table = read_table(log)
    text = methods_paragraph(table, facts_of(table), whole(table))
    assert "with people left out and the head without the face mesh, the developers report" in text


def test_the_paragraph_of_a_file_does_not_say_that_no_pictures_are_stored(log: Path) -> None:
    of_camera = read_table(log)
    of_file = dataclasses.replace(of_camera, is_file=True)
    texts = [methods_paragraph(each, facts_of(each), whole(each)) for each in (of_camera, of_file)]
    assert "no pictures were stored by the software." in texts[0]
    assert "no pictures were stored" not in texts[1]
    assert texts[1].endswith("the recording is kept [WHERE, BY WHOM AND UNTIL WHEN].")


def test_a_session_of_a_file_without_a_date_says_when_it_was_processed(log: Path) -> None:
    table = dataclasses.replace(read_table(log), is_file=True)
    text = " ".join(Page(render(table)).text.split())
    assert "When processed 2025-11-24 16:00:00 UTC to 2025-11-24 16:00:30 UTC;" in text


def test_a_record_of_one_frame_that_begins_with_an_event_has_a_report(tmp_path: Path) -> None:
    """The frame has no length and is the end of the record: it lay in no interval."""
    started = event(0, 0, "worker_started", {"models": {}, "memory_locked": False})
    table = read_table(write_log(tmp_path / "log.jsonl", [started, frame(1, 1, face(1, 1))]))
    assert [row.frames for row in whole(table)] == [1]
    assert "track 1" in Page(render(table)).text.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("anchors", "the mean of class anchors of the literature"),
        ("recalibration", "fitted to annotated photographs, weighted"),
        ("network", None),
    ],
)
@pytest.mark.parametrize("name", FORMATS)
def test_the_paragraph_says_where_valence_and_arousal_come_from(
    name: str, source: str, words: str | None, tmp_path: Path
) -> None:
    one = face(1, 0)
    one["affect"]["source"] = source
    table = read_table(write_log(tmp_path / name, [frame(at, at, one) for at in range(3)]))
    assert table.affect_sources == (source,)
    text = methods_paragraph(table, facts_of(table), whole(table))
    assert ("Valence and arousal are the mean" in text) == (words is not None)
    assert words is None or words in text
