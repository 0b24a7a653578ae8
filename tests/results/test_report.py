"""The report: one page that holds everything, escapes everything, and says what is not known."""

import contextlib
import json
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from edge.cli import run_command_line
from edge.errors import ConfigError, LogFileError
from edge.results import pdf
from edge.results.facts import facts_of
from edge.results.figures import as_png, styled
from edge.results.marks import recorded_marks
from edge.results.markup import tag
from edge.results.methods import methods_paragraph
from edge.results.plots import drawings
from edge.results.report import render, write_report
from edge.results.summary import whole
from edge.results.tables import read_table
from tests.support import recorded
from tests.support.daemons import ROOT
from tests.support.recorded import analysed, event, face, frame, session, write_log
from tests.support.report_page import Page
from tests.support.rights import AS_PLAIN_USER

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("log") / "night.sqlite", session())


@pytest.fixture(scope="module")
def html(log: Path) -> str:
    table = read_table(log)
    return render(table, marks=recorded_marks(table))


def test_the_page_says_who_when_how_long_and_how_much(html: str) -> None:
    text = " ".join(Page(html).text.split()).replace("\u00a0", " ")
    for words in (
        "P07-first P07, track 2, 2025-11-24 16:00:00 UTC, 30.0 s",
        "Who P07; 1 track of faces without a code Note mask 2",
        "When 2025-11-24 16:00:00 UTC to 2025-11-24 16:00:30 UTC",
        "How long 30.0 s, of which 20.0 s were recorded Interruptions 1, together 10.0 s",
        "Pictures 400 of 1280 x 720 pixels, usually 20 a second; 0 were lost",
        "Purpose research with informed consent",
        "P07 19.8 99.0 18.8 94.9 the face was too small 5.1 %; blurred 5.1 %",
        '1 0:07.5 pressure 2.8 bar & "mask" <on>',
        "mark 1 0:07.5–0:30.0 P07 12.3 100.0 -0.16 ± 0.40 -0.18 ± 0.22 happy (36.0 %)",
        "P07 0:20 ready +0.12 -0.05 10.0",
        "A hint, not a measurement, and not a diagnosis.",
        "no diagnosis, and no lie detector",
        "Made by affect-edge",
    ):
        assert words in text, words


def test_the_page_is_complete_in_itself(html: str) -> None:
    page = Page(html)
    assert page.count("script") == page.count("link") == page.count("iframe") == 0
    assert page.count("svg") == 3
    identifiers = [each["id"] for _, each in page.elements if "id" in each]
    assert len(identifiers) == len(set(identifiers))
    assert html.isascii() or 'charset="utf-8"' in html
    for _, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("href", "src", "xlink:href"):
                assert value is not None
                assert value.startswith("data:image/png;base64,") or value[1:] in identifiers
            for target in re.findall(r"url\(([^)]*)\)", value or ""):
                assert target[1:] in identifiers
    assert not re.search(r"https?:|@import|//[a-z]", re.sub(r"base64,[^\"]*", "", html))


def test_a_screen_reader_finds_headers_captions_and_descriptions(html: str) -> None:
    page = Page(html)
    assert ("html", {"lang": "en"}) in page.elements
    assert page.count("h1") == page.count("main") == 1
    assert page.count("caption") == page.count("table") > 7
    assert all(each.get("scope") in ("col", "row") for name, each in page.elements if name == "th")
    drawings = [each for name, each in page.elements if name == "svg"]
    identifiers = {each["id"] for _, each in page.elements if "id" in each}
    for each in drawings:
        assert each["role"] == "img"
        assert set((each["aria-labelledby"] or "").split()) <= identifiers
    assert "P07: valence +0.02" in page.text.replace("\u00a0", " ")


@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs chromium")
def test_a_browser_and_axe_find_no_fault(html: str, tmp_path: Path) -> None:
    """In a process of its own: Playwright keeps an event loop of its own."""
    path = tmp_path / "report.html"
    path.write_text(html)
    code = f"""
import json
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(
        executable_path={str(CHROMIUM)!r}, args=["--no-sandbox"])
    page = browser.new_page(viewport={{"width": 1000, "height": 1400}})
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.goto({path.as_uri()!r})
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.set_viewport_size({{"width": 400, "height": 800}})
    found = [each["id"] for each in Axe().run(page)["violations"]]
    print(json.dumps([asked, said, wide, found]))
    browser.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    asked, said, wide, found = json.loads(done.stdout)
    assert [each for each in asked if not each.startswith("data:")] == [path.as_uri()]
    assert (said, found) == ([], [])
    assert wide <= 1000


def test_nothing_that_people_wrote_is_markup(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script> & \"'`\x00\x07"
    messages = session(nasty)
    messages.append(event(len(messages), 700, "mark", {"text": nasty}))
    faces = [face(1, 0, participant="<b>P07</b>")]
    messages += [frame(len(messages) + at, 700 + at, *faces) for at in range(9)]
    log = write_log(tmp_path / "<i>.jsonl", messages)
    table = read_table(log)
    html = render(table, marks=recorded_marks(table))
    page = Page(html)
    assert {name for name, _ in page.elements}.isdisjoint({"script", "b", "i"})
    assert "<script>alert(1)</script>" in page.text
    assert "\x00" not in html
    assert "\x07" not in html
    assert tag("p", "<&>", title='"<') == '<p title="&quot;&lt;">&lt;&amp;&gt;</p>'


def test_the_same_record_gives_the_same_page_in_another_process(
    log: Path, html: str, tmp_path: Path
) -> None:
    out = tmp_path / "report.html"
    command = [sys.executable, "-m", "edge", "report", str(log), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"}
    environment["MPLCONFIGDIR"] = str(tmp_path)  # as at the first use on a machine
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"")
    assert all(line.startswith(b"affect-edge: ") for line in done.stderr.splitlines())
    assert out.read_text() == html
    assert out.stat().st_mode & 0o777 == 0o600


def test_weasyprint_makes_the_same_pdf_again(html: str, capfd: pytest.CaptureFixture[str]) -> None:
    writer = pdf.pdf_writer()
    content = writer(html)
    assert writer(html) == content
    assert capfd.readouterr() == ("", "")
    assert content.startswith(b"%PDF-")
    assert 3 <= pages_of(content) <= 6


def pages_of(content: bytes) -> int:
    """Return how many pages a PDF has; its objects may be compressed."""
    parts = [content]
    for match in re.finditer(rb"stream\r?\n", content):
        with contextlib.suppress(zlib.error):
            parts.append(zlib.decompressobj().decompress(content[match.end() :]))
    return max(len(re.findall(rb"/Type ?/Page\b", part)) for part in parts)


def test_a_browser_prints_where_weasyprint_is_not_there(
    log: Path, html: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    if CHROMIUM.exists():
        content = pdf.pdf_writer()(html)
        assert content.startswith(b"%PDF-")
        assert 3 <= pages_of(content) <= 6
        assert b"(D:20000101000000" in content
    monkeypatch.setattr(pdf, "BROWSERS", ("no-such-browser",))
    with pytest.raises(ConfigError, match=r"needs WeasyPrint, which is not installed, or Chromium"):
        write_report(log, tmp_path / "3.pdf")
    assert not (tmp_path / "3.pdf").exists()


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("no program", "made no PDF: it cannot be started: Exec format error; write a .html"),
        ("#!/bin/sh\necho no display >&2; exit 3\n", "made no PDF: no display; write a .html"),
        ("#!/bin/sh\nexit 3\n", "made no PDF: it ended with 3; write a .html"),
    ],
)
def test_a_browser_that_makes_no_pdf_is_one_line(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, error: str
) -> None:
    browser = tmp_path / "chromium"
    browser.write_text(program)
    browser.chmod(0o700)
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    monkeypatch.setattr(pdf, "BROWSERS", (str(browser),))
    with pytest.raises(LogFileError, match=error):
        pdf.pdf_writer()("<p>page</p>")


def test_a_session_within_a_run_knows_how_the_run_was_recorded(tmp_path: Path) -> None:
    messages = [
        event(0, 0, "epoch_started", recorded.EPOCH_STARTED),
        event(1, 0, "worker_started", recorded.WORKER_STARTED),
        event(2, 1, "baseline_ready", recorded.BASELINE),
    ]
    messages += [frame(3 + at, 2 + at, face(1, at, participant="P07")) for at in range(50)]
    began = {"session": "0123456789ab", "name": "late", "note": ""}
    messages.append(event(53, 60, "session_began", began))
    messages += [frame(54 + at, 62 + at, face(1, at, participant="P07")) for at in range(50)]
    messages.append(event(104, 120, "session_ended", {**began, "frames": 50, "restarts": 0}))
    table = read_table(write_log(tmp_path / "log.sqlite", messages), session="late")
    facts = facts_of(table)
    assert (facts.title, facts.versions, facts.boards) == (
        "late", ("0.1.0",), ("Raspberry Pi 5 Model B Rev 1.0",),
    )  # fmt: skip
    assert [model.name for model in facts.models] == ["centerface-320x192", "expression-nir"]
    (baseline,) = facts.baselines
    assert baseline.time_s == pytest.approx(-2.95)
    text = methods_paragraph(table, facts, whole(table))
    for words in (
        "affect-edge 0.1.0 on Raspberry Pi 5 Model B Rev 1.0",
        "20 frames per second",
        "centerface-320x192 (artifact centerface.onnx, sha256 abababababababab)",
        "(class priors: neutral 0.7)",
        "a top-1 accuracy of 0.38 (0.31 to 0.45), a macro F1 of 0.36 (0.26 to 0.44)",
        "for valence, and 0.38 (0.27 to 0.48) for arousal",
        "[WAVELENGTH]",
        "not known: accuracy by sex",
    ):
        assert words in text, words


def test_the_folder_of_an_analysis_is_reported(tmp_path: Path) -> None:
    folder = analysed(tmp_path / "clip", session())
    marks = tmp_path / "marks.csv"
    marks.write_text("time_s,mark\n2,diving\n")
    pressure = tmp_path / "chamber.csv"
    pressure.write_text("time_s,pressure_bar\n0,1\n20,2.8\n")
    out = tmp_path / "report.html"
    arguments = ["report", str(folder), "--out", str(out), "--marks", str(marks)]
    assert run_command_line([*arguments, "--join", str(pressure)]) == 0
    page = Page(out.read_text())
    assert "diving" in page.text
    assert "mask" not in page.text.replace("mask 2", "").replace("masks", "")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--plots", "{tmp}/file"], "expected a folder that exists, and {tmp}/file is none"),
        (["--plots", "{tmp}/file/a/b"], "expected a folder that exists, and {tmp}/file is none"),
        (["--summary", "{tmp}/s.csv", "--interval", "0.0001s"], "expected 0.1 s or more"),
        (["--summary", "{tmp}/none/s.csv"], "s.csv: expected a folder that exists, and"),
    ],
)
def test_no_page_is_there_without_what_was_asked_for_beside_it(
    log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], words: list[str], error: str
) -> None:
    (tmp_path / "file").touch()
    arguments = ["report", str(log), "--out", str(tmp_path / "r.html")]
    assert run_command_line([*arguments, *(each.format(tmp=tmp_path) for each in words)]) == 78
    (said,) = capfd.readouterr().err.splitlines()  # before the record was read
    assert error.format(tmp=tmp_path) in said
    assert {each.name for each in tmp_path.iterdir()} == {"file"}


@pytest.mark.parametrize("option", ["--out", "--plots"])
def test_a_place_that_cannot_be_written_is_refused_before_the_record_is_read(
    log: Path, tmp_path: Path, option: str
) -> None:
    """It was said when everything had been read and drawn."""
    (folder := tmp_path / "folder").mkdir(mode=0o500)
    words = ["--out", tmp_path / "r.html", option, folder / "new.html"]
    command = [*AS_PLAIN_USER, sys.executable, "-m", "edge", "report", log, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    assert f"{folder}/new.html: this user may not write in {folder}" in line


def test_more_sensors_than_are_drawn_are_counted(
    log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sensors = tmp_path / "s.csv"
    sensors.write_text("time_s,a,b,c,d,e,f\n0,1,2,3,4,5,6\n")
    out = tmp_path / "r.html"
    assert run_command_line(["report", str(log), "--out", str(out), "--join", str(sensors)]) == 0
    said = capfd.readouterr().err
    assert "6 columns of sensors: drawn are the first 4, s_a, s_b, s_c, s_d\n" in said
    assert "2 more columns of other sensors are not drawn." in Page(out.read_text()).text


def test_summary_and_plots_of_a_log(
    log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--summary", str(tmp_path / "s.csv"), "--interval", "10s"]
    arguments += ["--plots", str(tmp_path / "plots"), "--out", str(tmp_path / "r.html")]
    (tmp_path / "plots").mkdir()
    for name in ("timeline-2.png", "mine.png"):
        (tmp_path / "plots" / name).touch()
    assert run_command_line(["report", str(log), *arguments]) == 0
    rows = (tmp_path / "s.csv").read_text().splitlines()
    # nothing was recorded between 10 s and 20 s
    assert [row.split(",")[:6] for row in rows[1:]] == [
        ["P07", "-1", "-1", "1", "0.0", "10.0"],
        ["P07", "-1", "-1", "3", "20.0", "30.0"],
        ["", "2", "1", "3", "20.0", "30.0"],
    ]
    assert len(list((tmp_path / "plots").iterdir())) == 8
    said = capfd.readouterr().err
    assert f"{tmp_path}/plots: holds plots of an earlier report, too: timeline-2.png\n" in said


def test_marks_outside_the_record_are_counted(
    log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    marks = tmp_path / "marks.csv"
    marks.write_text("time_s,mark\n-1,before\n0,begin\n30,end\n30.5,after\n")
    words = ["report", str(log), "--out", str(tmp_path / "r.html"), "--marks", str(marks)]
    assert run_command_line(words) == 0
    assert (
        "affect-edge: 2 of 4 marks are outside the record of 0.000 to 30.000 s: they are in no plot"
        " and begin no interval; the newest one before the start names the first\n"
    ) in capfd.readouterr().err


def test_a_page_is_replaced_with_force_only_and_named_at_the_end(
    log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.html"
    arguments = ["report", str(log), "--out", str(out)]
    out.write_text("a page of mine")
    assert run_command_line(arguments) == 78
    assert (
        capfd.readouterr()
        .err.strip()
        .endswith(f"--out {out}: exists; expected another name, or --force to replace it")
    )
    assert out.read_text() == "a page of mine"
    assert run_command_line([*arguments, "--force"]) == 0
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "affect-edge: 400 pictures read; drawing the figures"
    assert lines[-1] == f"affect-edge: {out}: written"
    assert out.read_text().startswith("<!DOCTYPE html>")


def test_one_participant_alone(log: Path, tmp_path: Path) -> None:
    words = ["--participant", "P07", "--summary", str(tmp_path / "s.csv")]
    words += ["--plots", str(tmp_path / "plots"), "--out", str(tmp_path / "c.html")]
    assert run_command_line(["report", str(log), *words]) == 0
    assert "track" not in Page((tmp_path / "c.html").read_text()).text.replace("tracked", "")
    rows = (tmp_path / "s.csv").read_text().splitlines()[1:]
    assert {row.split(",")[0] for row in rows} == {"P07"}
    alone = read_table(log).only("P07")
    assert [each.subjects for each in drawings(alone, ())] == [(0,)] * 3
    with styled():
        of_alone = as_png(next(drawings(alone, recorded_marks(alone))).draw())
    assert (tmp_path / "plots" / "timeline.png").read_bytes() == of_alone
    with pytest.raises(ConfigError, match="'P08': expected a participant of this record: P07"):
        write_report(log, tmp_path / "b.html", participant="P08")


@pytest.mark.parametrize(
    "messages",
    [
        [frame(0, 0)],
        [frame(0, 0, face(1, 0))],
        [frame(0, 0, face(1, 0, reasons=["blurred", "of a later version"])), frame(1, 9)],
    ],
    ids=["no face", "one picture", "never classified"],
)
def test_small_records_have_a_report(tmp_path: Path, messages: list) -> None:
    table = read_table(write_log(tmp_path / "log.jsonl", messages))
    page = Page(render(table))
    assert "[VERSION]" in page.text
    assert "nan" not in page.text.replace("\u00a0", " ").split()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["{log}", "--out", "{tmp}/r.txt"], r"expected a name that ends in .html or .pdf"),
        (["{log}", "--out", "{tmp}/none/r.html"], "expected a folder that exists"),
        (["{log}", "--out", "{tmp}"], "expected a name that ends in"),
        (["{tmp}/none.sqlite", "--out", "{tmp}/r.html"], "there is no such file or folder"),
        (["{tmp}", "--out", "{tmp}/r.html"], "holds no record"),
        (["{log}", "--out", "{tmp}/r.html", "--session", "x"], "expected a session of .*P07-first"),
        (["{log}", "--out", "{tmp}/r.html", "--marks", "{log}"], "is no UTF-8"),
        (["{log}"], "Missing option '--out'"),
        (["{log}", "--out", "{tmp}/r.html", "--interval", "9s"], "name it with --summary"),
        (["{log}", "--out", "{tmp}/r.html", "--summary", "s.txt"], "ends in .csv"),
        (["{log}", "--out", "/proc/r.html"], "/proc/r.html: cannot be written: No such file"),
        (["postgresql://x/y", "--out", "{tmp}/r.html"], "fetch the session with affect-edge log"),
    ],
)
def test_wrong_arguments_are_one_line(
    log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], error: str
) -> None:
    words = [each.format(log=log, tmp=tmp_path) for each in arguments]
    assert run_command_line(["report", *words]) == 78
    said = capfd.readouterr().err
    assert re.search(error, said)
    assert said.count("affect-edge: error") == 1
    assert not list(tmp_path.iterdir())
