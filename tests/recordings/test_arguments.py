"""Arguments of ``affect-edge analyse``: what is wrong is refused before anything is computed."""

import os
from pathlib import Path

import pytest

from tests.support.analyses import analyse, make_pictures, make_recordings


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_recordings(tmp_path_factory.mktemp("in") / "videos", 3)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["no.mp4"], "no.mp4: no such file or folder; expected a video file"),
        (["{empty}"], "no recording in it; expected videos such as .mp4"),
        (["{mixed}"], "holds 1 videos and 1 pictures; expected one kind"),
        (["{mixed}/a.png"], "is a picture; expected a video, or the folder of the pictures"),
        (["rtsp://user:secret@camera/live"], "a camera or an address is no recording"),
        (["/dev/video0"], "a camera or an address is no recording"),
        (["{videos}", "--start", "soon"], "--start 'soon': expected a time"),
        (["{videos}", "--start", "9s", "--end", "3s"], "--end 3 s: expected more than start 9 s"),
        (["{videos}", "--every", "0"], "--every 0: expected a whole number"),
        (["{videos}", "--jobs", "0"], "--jobs 0: expected 1 or more"),
        (["{videos}", "--scheduler", "host"], "--scheduler 'host': expected tcp://HOST:PORT"),
        (["{videos}", "--set", "detector.threshold=7"], "detector.threshold"),
        (["{videos}", "--set", "source.recorded_at=2026-11-03T09:30:00Z"], "one time for 3"),
        (["{videos}", "--set", 'expression.model="none"'], "no such folder, and no bundled model"),
        (["{pictures}", "--video"], "is a folder of pictures; expected videos"),
        (["{videos}", "--marks", "no.csv"], "--marks no.csv: cannot be read: No such file"),
        (["{videos}", "--interval", "0"], "--interval '0': expected 0.1 s or more"),
        (["{videos}", "--interval", "1ms"], "--interval '1ms': expected a time"),
        (["{videos}", "--interval", "0.001s"], "--interval '0.001s': expected 0.1 s or more"),
        (["{videos}", "--participants", "no.csv"], "--participants no.csv: No such file"),
        (["{videos}", "--join", "{dates}"], "r00.mp4 was recorded: give source.recorded_at"),
        (["{pictures}", "--join", "{dates}"], "pictures was recorded: give source.recorded_at"),
        (["{videos}", "--marks", "{pipe}"], "/pipe: is a pipe or a descriptor; expected"),
        (["{videos}", "--join", "/dev/stdin"], "--join /dev/stdin: is a pipe or a descriptor;"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_computed(
    arguments, text, recordings, tmp_path
):
    (tmp_path / "empty").mkdir()
    mixed = make_pictures(tmp_path / "mixed")
    for name in ("face-2.png", "face-10.png"):
        (mixed / name).unlink()
    (mixed / "face-1.png").rename(mixed / "a.png")
    (mixed / "b.mp4").write_bytes((recordings / "r00.mp4").read_bytes())
    pictures = make_pictures(tmp_path / "pictures")
    (dates := tmp_path / "dates.csv").write_text("time,bar\n2026-11-03T09:30:00Z,2.8\n")
    os.mkfifo(pipe := tmp_path / "pipe")
    names = {
        "dates": dates,
        "pipe": pipe,
        "pictures": pictures,
        "empty": tmp_path / "empty",
        "mixed": mixed,
        "videos": recordings,
    }
    code, found = analyse(*(each.format(**names) for each in arguments), "--out", tmp_path / "out")
    assert code == 78, found
    assert found.startswith("affect-edge: error: ")
    assert found.count("\n") == 1
    assert text in found
    assert "secret" not in found
    assert [path.name for path in (tmp_path / "out").glob("*")] in ([], [".analyse.lock"])
