"""Where results may be written: never over what is read, or over what an analysis made."""

import os
import re
from pathlib import Path

import pytest

from edge.cli import run_command_line
from edge.results.files import opened_result
from tests.support.recorded import analysed, session, write_log


def contents(folder: Path) -> dict[str, bytes]:
    return {str(each): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def test_two_that_write_one_result_do_not_mix(tmp_path: Path) -> None:
    """Both wrote into one new file, and the second to end found none."""
    with opened_result(tmp_path / "page.html") as first:
        first.write(b"first")
        with opened_result(tmp_path / "page.html") as second:
            second.write(b"second")
    assert contents(tmp_path) == {str(tmp_path / "page.html"): b"first"}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["out.csv", "--summary", "out.csv"], "--summary .*out.csv: would replace a file of"),
        (["out.csv", "--summary", "link.csv"], "would replace a file of .*out.csv; name another"),
        (["out.csv", "--summary", "hard.csv"], "would replace a file of .*out.csv; name another"),
        (["hard.csv", "--summary", "out.csv"], "would replace a file of .*hard.csv; name another"),
        (["out.csv", "--out", "hard.html"], "--out .*hard.html: would replace a file of"),
        (["out.csv", "--summary", "out.events.csv"], "would replace the events of .*out.csv"),
        (["link.csv", "--summary", "link.events.csv"], "would replace the events of .*link.csv"),
        (["out.csv", "--marks", "m.csv", "--summary", "m.csv"], "replace the file of --marks"),
        (["out.csv", "--join", "j.csv", "--summary", "j.csv"], "replace the file of --join"),
        (["out.csv", "--plots", "links"], "--plots .*timeline.png: would replace a file of"),
        (["clip", "--summary", "clip/frames.csv"], "would replace a result of affect-edge analyse"),
        (["clip", "--summary", "clip/events.csv"], "would replace a result of affect-edge analyse"),
        (["clip", "--summary", "clip/joined.csv"], "would replace a result of affect-edge analyse"),
        (["clip", "--summary", "clip/tracks.csv"], "would replace a result of affect-edge analyse"),
        (["clip", "--summary", "clip/summary.csv"], "replace a result of affect-edge analyse"),
        (["clip", "--summary", "clip/plots/s.csv"], "replace a result of affect-edge analyse"),
        (["out.csv", "--summary", "clip/frames.csv"], "replace a result of affect-edge analyse"),
        (["clip", "--summary", "frames.csv"], "would replace a result of affect-edge analyse"),
        (["clip", "--out", "clip/frames.html"], "would replace a result of affect-edge analyse"),
        (["clip", "--plots", "clip"], "--plots .*clip: holds results of affect-edge analyse"),
        (["clip", "--plots", "clip/plots"], "plots: holds results of affect-edge analyse"),
        (["out.csv", "--plots", "clip"], "--plots .*clip: holds results of affect-edge analyse"),
    ],
)
def test_nothing_that_is_read_is_replaced(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], error: str
) -> None:
    table = write_log(tmp_path / "out.csv", session())
    clip = analysed(tmp_path / "clip", session())
    (tmp_path / "m.csv").write_text("time_s,mark\n2,diving\n")
    (tmp_path / "j.csv").write_text("time_s,bar\n0,1\n")
    (tmp_path / "links").mkdir()
    for name in ("hard.csv", "hard.html", "links/timeline.png"):
        os.link(table, tmp_path / name)
    (tmp_path / "link.csv").symlink_to("out.csv")
    (tmp_path / "link.events.csv").symlink_to("out.events.csv")
    (tmp_path / "frames.csv").symlink_to(clip / "frames.csv")
    before = contents(tmp_path)
    words = [
        each if each.startswith("--") else str(tmp_path / each)
        for each in (arguments if "--out" in arguments else [*arguments, "--out", "r.html"])
    ]
    assert run_command_line(["report", "--force", *words]) == 78
    said = capfd.readouterr().err
    assert re.search(error, said)
    assert said.count("\n") == 1
    assert contents(tmp_path) == before


def test_a_report_in_the_folder_of_an_analysis_can_be_made_again(tmp_path: Path) -> None:
    folder = analysed(tmp_path / "clip", session())
    words = ["report", str(folder), "--out", str(folder / "report.html")]
    words += ["--summary", str(folder / "minutes.csv"), "--plots", str(folder / "more")]
    for force in ([], ["--force"]):
        assert run_command_line([*words, *force]) == 0
    log = write_log(tmp_path / "night.parquet", session())
    words = ["report", str(log), "--out", str(log / "report.html"), "--plots"]
    for force in ([], ["--force"]):
        assert run_command_line([*words, str(log / "plots"), *force]) == 0
    faces = next(log.glob("faces/**/*.parquet")).parent
    assert run_command_line([*words, str(faces), "--force"]) == 78
