"""The command ``annotate``: what it refuses before anything is computed, and a whole run."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge.cli import run_command_line
from edge.recordings.annotation.drawing import canvas
from edge.vision.golden import GOLDEN_FACE
from edge.vision.sources.video import DEMO_CLIP
from tests.support.analyses import analyse
from tests.support.rights import AS_PLAIN_USER
from tests.support.videos import content_of, gradient, make_video
from tests.support.waiting import HANG_S, wait_until

PURPOSE = ("--purpose", "medical")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return make_video(tmp_path / "in.mp4", [gradient(320, 240, number) for number in range(5)])


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command; check that it ends with one line and 78; return the line."""
    assert run_command_line(["annotate", *map(str, arguments)]) == 78
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("/dev/video0", "frames never leave memory"),
        ("rtsp://camera.lan/stream", "frames never leave memory"),
        ("http://camera.lan/stream", "frames never leave memory"),
        ("picamera", "frames never leave memory"),
        ("missing.mp4", "no such file"),
        (".", "is a folder"),
        ("/dev/null", "frames never leave memory"),
    ],
)
def test_cameras_and_what_is_no_file_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, source: str, expected: str
) -> None:
    assert expected in refusal(capsys, source, tmp_path / "out.mp4", *PURPOSE)


@pytest.mark.parametrize(
    ("out", "options", "expected"),
    [
        ("in.mp4", (), "is the recording itself"),
        ("out.avi", (), "ends in .mp4"),
        ("out", (), "ends in .mp4"),
        ("no/out.mp4", (), "a folder that exists"),
        ("old.mp4", (), "--force"),
        ("out.mp4", ("--start", "soon"), "--start 'soon'"),
        ("out.mp4", ("--start", "1min"), "the recording has 0.200 s"),
        ("out.mp4", ("--start", "2s", "--end", "1s"), "after --start"),
        ("out.mp4", ("--participants", "missing.csv"), "missing.csv"),
        ("out.mp4", ("--purpose", "fun"), "purpose 'fun'"),
        ("out.mp4", ("--set", "detector.nothing=1"), "detector.nothing"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_computed(
    capsys: pytest.CaptureFixture[str],
    recording: Path,
    out: str,
    options: tuple[str, ...],
    expected: str,
) -> None:
    tmp_path = recording.parent
    (tmp_path / "old.mp4").write_bytes(b"old")

    assert expected in refusal(capsys, recording, tmp_path / out, *PURPOSE, *options)

    assert (tmp_path / "old.mp4").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "old.mp4"]


def test_purpose_is_required(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, recording: Path
) -> None:
    assert "purpose" in refusal(capsys, recording, tmp_path / "out.mp4")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("track|participant\n1|P1\n", "columns track,participant"),
        ("track,participant\nx,P1\n", "line 2: track 'x'"),
        ("track,participant\n1,007\n", "line 2: participant '007'"),
        ("track,participant\n1,P1\n1,P2\n", "line 3: track 1 is P1 already"),
    ],
)
def test_wrong_participants_are_refused(
    capsys: pytest.CaptureFixture[str],
    recording: Path,
    content: str,
    expected: str,
) -> None:
    tmp_path = recording.parent
    codes = tmp_path / "codes.csv"
    codes.write_text(content)

    line = refusal(capsys, recording, tmp_path / "out.mp4", *PURPOSE, "--participants", codes)

    assert expected in line


def test_the_clip_is_annotated(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"old")
    arguments = ["annotate", DEMO_CLIP, out, *PURPOSE, "--end", "1s", "--force"]

    assert run_command_line([str(each) for each in arguments]) == 0

    last = capsys.readouterr().err.splitlines()[-1]  # progress is before it on a slow machine
    assert last == f"affect-edge: {out}: 25 pictures, 1 track"
    assert len(content_of(out).pictures) == 25


def test_damaged_recording_is_annotated_and_said_as_by_analyse(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    recording, out = tmp_path / "cut.mp4", tmp_path / "out.mp4"
    recording.write_bytes(DEMO_CLIP.read_bytes()[:300_000])

    code = run_command_line(["annotate", *map(str, (recording, out, *PURPOSE))])

    last = capsys.readouterr().err.splitlines()[-1]
    damage = "1 picture could not be decoded, it ends at 5.2 s, and states 12.0 s"
    assert last == f"affect-edge: {out}: 130 pictures, 2 tracks; DAMAGED: {damage}"
    assert (code, len(content_of(out).pictures)) == (1, 130)
    code, text = analyse(recording, "--out", tmp_path / "results")
    assert (code, "130 frames" in text, f"DAMAGED: {damage}\n" in text) == (1, True, True)


def test_track_that_is_not_there_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    codes, out = tmp_path / "codes.csv", tmp_path / "out.mp4"
    codes.write_text("track,participant\n1,P1\n9,P2\n")
    arguments = (DEMO_CLIP, out, *PURPOSE, "--end", "1s", "--participants", codes)

    assert run_command_line(["annotate", *map(str, arguments)]) == 0

    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "affect-edge: demo.mp4: no track 9, which --participants names"


def test_missing_log_is_named_before_options_that_do_not_fit(
    capsys: pytest.CaptureFixture[str], recording: Path
) -> None:
    out, log = recording.with_name("out.mp4"), recording.with_name("missing.sqlite")

    assert "no such log" in refusal(capsys, recording, out, *PURPOSE, "--from", log)


@pytest.mark.parametrize(
    ("package", "options"), [("av", ()), ("PIL", ()), ("av", ("--still", "--at", "0s"))]
)
def test_missing_package_is_one_line_that_names_the_extra(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    recording: Path,
    package: str,
    options: tuple[str, ...],
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    canvas._font.cache_clear()
    out = recording.with_name("out.png" if options else "out.mp4")

    line = refusal(capsys, recording, out, *PURPOSE, *options)

    assert "pip install 'affect-edge[recordings]'" in line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_leaves_nothing(tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-m", "edge", "annotate", DEMO_CLIP, tmp_path / "out.mp4", *PURPOSE]
    with subprocess.Popen([str(each) for each in command], stderr=subprocess.PIPE) as process:
        wait_until(lambda: any(tmp_path.iterdir()), timeout_s=60.0)
        os.kill(process.pid, number)
        assert process.wait(timeout=HANG_S) == 128 + number
        assert process.stderr is not None
        (line,) = process.stderr.read().splitlines()
        assert line.startswith(b"affect-edge: interrupted: nothing was written; ")

    assert not list(tmp_path.iterdir())


def test_interrupted_stills_are_counted(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(200):
        (folder / f"{number}.png").symlink_to(GOLDEN_FACE)
    command = [sys.executable, "-m", "edge", "annotate", "--still", folder, out, *PURPOSE]
    with subprocess.Popen([str(each) for each in command], stderr=subprocess.PIPE) as process:
        wait_until(lambda: len(list(out.glob("*.png"))) > 1, timeout_s=60.0)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=HANG_S) == 130
        assert process.stderr is not None
        *_, line = process.stderr.read().decode().splitlines()

    found = re.fullmatch(
        r"affect-edge: interrupted: (\d+) of 200 pictures are done; --force starts again", line
    )
    made = len(list(out.iterdir()))
    assert found, line
    assert int(found[1]) in (made - 1, made)  # the newest may be there, and not yet on the disk


@pytest.mark.parametrize("place", ["in", "out", "from"])
def test_a_name_that_is_too_long_is_refused_before_anything_is_computed(
    capsys: pytest.CaptureFixture[str], recording: Path, place: str
) -> None:
    named = {
        "in": recording,
        "out": recording.with_name("out.mp4"),
        "from": recording.with_name("log.sqlite"),
    }
    named[place] = recording.with_name("x" * 300 + named[place].suffix)
    options = ("--from", named["from"]) if place == "from" else PURPOSE

    line = refusal(capsys, named["in"], named["out"], *options)

    assert "no such log" in line if place == "from" else "File name too long" in line


def test_a_link_to_nothing_is_not_replaced_without_force(
    capsys: pytest.CaptureFixture[str], recording: Path
) -> None:
    out = recording.with_name("out.mp4")
    out.symlink_to("nothing")

    assert "exists; expected another name, or --force" in refusal(capsys, recording, out, *PURPOSE)
    assert out.is_symlink()


def test_a_folder_that_this_user_may_not_enter_is_one_line(recording: Path) -> None:
    closed = recording.parent / "closed"
    closed.mkdir(mode=0o000)
    for arguments in (
        ("annotate", closed / "a.mp4", recording.with_name("out.mp4"), *PURPOSE),
        ("annotate", recording, recording.with_name("out.mp4"), "--from", closed / "log.csv"),
        ("analyse", closed / "a.mp4", "--out", recording.parent / "results", *PURPOSE),
    ):
        command = [*AS_PLAIN_USER, sys.executable, "-m", "edge", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (78, 1), done.stderr
