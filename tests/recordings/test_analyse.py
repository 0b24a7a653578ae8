"""``affect-edge analyse``: recordings to folders of results, and every way in which that ends."""

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import av
import pyarrow.parquet
import pytest

from edge.client.tidy import COLUMNS, EVENT_COLUMNS
from tests.support.analyses import (
    PURPOSE,
    analyse,
    kill_after,
    make_pictures,
    make_recordings,
    start,
    tree,
)
from tests.support.daemons import ROOT
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_recordings(tmp_path_factory.mktemp("in") / "videos", 3)


@pytest.fixture(scope="module")
def results(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of an undisturbed run, which no test changes."""
    out = tmp_path_factory.mktemp("out") / "results"
    code, text = analyse(recordings, "--out", out)
    assert code == 0, text
    return out


def session(folder: Path) -> dict:
    return json.loads((folder / "session.json").read_text())


def test_each_recording_has_a_folder_of_tables(recordings, results):
    assert sorted(path.name for path in results.iterdir()) == [".analyse.lock", "r00", "r01", "r02"]
    folder = results / "r01"
    assert {path.name for path in folder.iterdir()} >= {
        "events.csv", "events.parquet", "frames.csv", "frames.parquet", "session.json",
        "summary.csv", "tracks.csv",
    }  # fmt: skip
    table = pyarrow.parquet.read_table(folder / "frames.parquet")
    assert tuple(table.column_names) == COLUMNS
    with (folder / "frames.csv").open() as file:
        assert len(list(csv.DictReader(file))) == table.num_rows
    events = pyarrow.parquet.read_table(folder / "events.parquet")
    assert tuple(events.column_names) == EVENT_COLUMNS
    found = session(folder)
    assert found["recording"]["file"] == "r01.mp4"
    assert found["frames"]["analysed"] == len(set(table["frame_index"].to_pylist())) == 33
    assert found["frames"]["share_read"] > 0.5
    assert found["recording"]["damage"] == []
    assert set(found["models"]) >= {"detector", "expression"}
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()}
    assert modes == {0o600}


def test_a_second_run_gives_the_same_bytes(recordings, results, tmp_path):
    assert analyse(recordings, "--out", tmp_path / "again", "--jobs", "1")[0] == 0
    assert tree(tmp_path / "again") == tree(results)


def test_what_is_done_is_not_done_again(recordings, tmp_path):
    out = tmp_path / "out"
    assert analyse(recordings / "r00.mp4", "--out", out)[0] == 0
    before = (out / "r00").stat().st_ino
    code, text = analyse(recordings, "--out", out)
    assert code == 0
    assert "1 of 3 recordings are done already: r00" in text
    assert (out / "r00").stat().st_ino == before
    assert {"r00", "r01", "r02"} <= {path.name for path in out.iterdir()}


def test_other_settings_need_again(recordings, tmp_path):
    out, video = tmp_path / "out", recordings / "r00.mp4"
    assert analyse(video, "--out", out)[0] == 0
    before = tree(out)
    code, text = analyse(video, "--out", out, "--set", "detector.threshold=0.4", "--every", "2")
    assert code == 78
    assert "other settings (detector.threshold 0.5, now 0.4; every 1, now 2); add --again" in text
    assert tree(out) == before
    assert analyse(video, "--out", out, "--every", "2", "--again")[0] == 0
    assert session(out / "r00")["frames"]["analysed"] == 15


def test_another_recording_of_the_same_name_needs_again(recordings, tmp_path):
    out, video = tmp_path / "out", tmp_path / "r00.mp4"
    assert analyse(recordings / "r00.mp4", "--out", out)[0] == 0
    video.write_bytes((recordings / "r01.mp4").read_bytes())
    code, text = analyse(video, "--out", out)
    assert code == 78
    assert "holds the results of another r00.mp4" in text


def test_codes_are_assigned_afterwards_without_a_new_analysis(recordings, results, tmp_path):
    out, video, codes = tmp_path / "out", recordings / "r00.mp4", tmp_path / "codes.csv"
    assert analyse(video, "--out", out)[0] == 0
    lines = (out / "r00/tracks.csv").read_text().splitlines()
    first = lines[1].split(",")
    assert first[:2] == ["r00.mp4", "1"]
    codes.write_text("\n".join([lines[0], ",".join([*first[:2], "P07", *first[3:]])]) + "\n")
    code, text = analyse(video, "--out", out, "--participants", codes)
    assert code == 0, text
    table = pyarrow.parquet.read_table(out / "r00/frames.parquet")
    pairs = set(zip(table["track"].to_pylist(), table["participant"].to_pylist(), strict=True))
    assert (1, "P07") in pairs
    fresh = tmp_path / "fresh"
    assert analyse(video, "--out", fresh, "--participants", codes)[0] == 0
    assert tree(fresh) == tree(out)
    assert analyse(video, "--out", out)[0] == 0
    assert tree(out / "r00") == tree(results / "r00")


def test_what_is_not_asked_for_again_is_removed_with_a_line(recordings, tmp_path):
    out, video, marks = tmp_path / "out", recordings / "r00.mp4", tmp_path / "marks.csv"
    marks.write_text("time_s,mark\n0.4,begin\n")
    assert analyse(video, "--out", out, "--marks", marks, "--video")[0] == 0
    code, text = analyse(video, "--out", out)
    assert code == 0
    line = "r00: removes annotated.mp4, the marks of a file: --video and --marks are not given"
    assert f"affect-edge: {line}\n" in text
    assert not (out / "r00/annotated.mp4").exists()


def test_codes_that_were_filled_into_the_results_are_not_lost_in_silence(recordings, tmp_path):
    out, video = tmp_path / "out", recordings / "r00.mp4"
    assert analyse(video, "--out", out)[0] == 0
    tracks = out / "r00/tracks.csv"
    head, first, *rest = tracks.read_text().splitlines()
    cells = first.split(",")
    filled = "\n".join([head, ",".join([*cells[:2], "P07", *cells[3:]]), *rest]) + "\n"
    tracks.write_text(filled)
    code, text = analyse(video, "--out", out)
    assert (code, f"to use them give --participants {tracks}\n" in text) == (0, True), text
    code, text = analyse(video, "--out", out, "--interval", "1s")
    assert (code, "writes it anew, without them" in text) == (78, True), text
    assert tracks.read_text() == filled
    assert analyse(video, "--out", out, "--participants", tracks)[0] == 0
    code, text = analyse(video, "--out", out)
    assert "r00: removes the codes of tracks: --participants is not given" in text
    tracks.write_text(filled.replace(",", "|"))
    code, text = analyse(video, "--out", out)
    words = f"{tracks}: no such columns; expected a CSV file with the columns track,participant"
    assert (code, f"affect-edge: {words}" in text) == (0, True), text
    code, text = analyse(video, "--out", out, "--interval", "1s")
    assert (code, "copy it first, this command writes it anew" in text) == (78, True), text


def test_the_time_of_the_recording_is_that_of_its_first_picture(recordings, tmp_path):
    setting = "source.recorded_at=2026-11-03T09:30:00+01:00"
    code, text = analyse(
        recordings / "r00.mp4", "--out", tmp_path / "out", "--set", setting, "--start", "0.4s"
    )
    assert code == 0, text
    table = pyarrow.parquet.read_table(tmp_path / "out/r00/frames.parquet")
    begin_ns = 1_793_694_600_000_000_000
    for unix_ns, sensor_ns in zip(
        *(table[name].to_pylist() for name in ("unix_ns", "sensor_ns")), strict=False
    ):
        assert unix_ns - begin_ns == sensor_ns >= 400_000_000
    assert session(tmp_path / "out/r00")["recording"]["recorded_at"] == "2026-11-03T08:30:00.000Z"


def test_a_track_or_file_that_is_not_there_is_named(recordings, tmp_path):
    codes = tmp_path / "codes.csv"
    codes.write_text("file,track,participant\n,1,P01\n,99,P02\nR00.mp4,1,P03\nr01.mp4,2,\n")
    marks = tmp_path / "marks.csv"
    marks.write_text("file,time_s,mark\nr00.mp4,0.1,dive\nr0.mp4,0.2,ascent\n")
    arguments = ("--participants", codes, "--marks", marks)
    code, text = analyse(recordings / "r00.mp4", "--out", tmp_path / "out", *arguments)
    assert code == 0
    assert "r00.mp4: no track 99, which --participants names" in text
    assert "affect-edge: --participants: 'R00.mp4': none of these recordings\n" in text
    assert "affect-edge: --marks: 'r0.mp4': none of these recordings\n" in text
    assert b"ascent" not in tree(tmp_path / "out/r00")["marks.used.csv"]


def test_a_summary_by_intervals_or_marks_without_a_new_analysis(recordings, tmp_path):
    out, marks = tmp_path / "out", tmp_path / "marks.csv"
    marks.write_text("time_s,mark\n0.4,dive\n")
    video = recordings / "r00.mp4"
    assert analyse(video, "--out", out, "--interval", "0.5s")[0] == 0
    by_interval = tree(out / "r00")
    code, text = analyse(video, "--out", out, "--marks", marks)
    assert code == 0, text
    by_mark = tree(out / "r00")
    assert b"dive" in by_mark["summary.csv"]
    assert by_mark["frames.csv"] == by_interval["frames.csv"]
    assert analyse(video, "--out", out, "--interval", "0.5s")[0] == 0
    assert tree(out / "r00") == by_interval


def test_an_annotated_video_of_the_part_that_is_analysed(recordings, tmp_path):
    out, video = tmp_path / "out", recordings / "r00.mp4"
    code, text = analyse(video, "--out", out, "--end", "0.8s")
    assert code == 0, text
    code, text = analyse(video, "--out", out, "--end", "0.8s", "--video")
    assert code == 0, text
    with av.open(out / "r00/annotated.mp4") as annotated:
        pictures = sum(1 for _ in annotated.decode(video=0))
    assert pictures == session(out / "r00")["frames"]["analysed"] == 20


def test_a_folder_of_pictures_is_one_recording(tmp_path):
    pictures = make_pictures(tmp_path / "faces")
    code, text = analyse(pictures, "--out", tmp_path / "out", "--no-csv")
    assert code == 0, text
    folder = tmp_path / "out/faces"
    table = pyarrow.parquet.read_table(folder / "frames.parquet")
    assert table["file"].to_pylist() == ["face-1.png", "face-2.png", "face-10.png"]
    assert not (folder / "frames.csv").exists()
    (pictures / "face-2.png").write_bytes((pictures / "face-1.png").read_bytes())
    code, text = analyse(pictures, "--out", tmp_path / "out", "--no-csv")
    assert (code, "holds the results of another faces" in text) == (78, True)


def test_a_damaged_recording_does_not_stop_the_others(recordings, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    whole = (recordings / "r00.mp4").read_bytes()
    (folder / "good.mp4").write_bytes(whole)
    (folder / "none.mp4").write_bytes(b"")
    (folder / "text.mp4").write_bytes(b"not a video " * 1000)
    code, text = analyse(folder, "--out", tmp_path / "out")
    assert code == 1
    assert (tmp_path / "out/good/session.json").exists()
    assert "1 of 3 recordings are done; failed: " in text
    assert "none.mp4': no video in it" in text
    assert "Traceback" not in text
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {".analyse.lock", "good"}


def test_a_process_that_dies_fails_its_recording_only(recordings, tmp_path):
    out = tmp_path / "out"
    process = start(recordings, "--out", out, "--jobs", "1")
    parts = []
    wait_until(lambda: parts.extend(out.glob(".r*.part")) or parts)
    os.kill(int(parts[0].name.split(".")[2].split("-")[0]), signal.SIGKILL)
    text = process.communicate(timeout=110)[1]
    assert process.returncode == 1
    (name,) = re.findall(r"(r0\d\.mp4): its process was killed \(SIGKILL\)", text)
    assert f"2 of 3 recordings are done; failed: {name}" in text
    code, text = analyse(recordings, "--out", out)
    assert (code, sorted(out.glob(".r*"))) == (0, [])


def test_damaged_results_fail_their_recording_in_one_line(recordings, results, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(results, out)
    (out / "r00/frames.parquet").write_bytes(b"PAR1 damaged PAR1")
    code, text = analyse(recordings, "--out", out, "--interval", "0.5s", "--jobs", "1")
    assert code == 1
    assert "FAILED" in text
    assert "r00/frames.parquet: cannot be read: " in text
    assert "2 of 3 recordings are done; failed: r00.mp4" in text
    assert "Traceback" not in text


def test_a_damaged_session_is_one_line(recordings, results, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(results, out)
    path = out / "r00/session.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "models": 7}))
    code, text = analyse(recordings, "--out", out)
    line = f"affect-edge: error: {path}: is damaged, or of another version: models: "
    assert (code, text.startswith(line), text.count("\n")) == (78, True, 1), text


def test_killed_and_started_again_it_ends_with_the_same_bytes(recordings, results, tmp_path):
    arguments = (recordings, "--out", tmp_path / "out")
    for wait_s in (1.5, 2.5, 3.5):
        if kill_after(arguments, wait_s):
            break
    code, text = analyse(*arguments)
    assert code == 0, text
    assert tree(tmp_path / "out") == tree(results)


def test_ctrl_c_leaves_complete_results_only(recordings, tmp_path):
    out = tmp_path / "out"
    process = start(recordings, "--out", out, "--jobs", "1")
    wait_until(lambda: list(out.glob(".r*.part")))
    process.send_signal(signal.SIGINT)
    text = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "recordings are done; the same command does the rest" in text
    assert "Traceback" not in text
    for path in out.iterdir():
        assert (
            path.name == ".analyse.lock" or (path / "session.json").exists() or ".part" in path.name
        )
    assert analyse(recordings, "--out", out)[0] == 0
    assert not list(out.glob(".r*"))


def handles_sigterm(process: int) -> bool:
    """Return whether a program has its own handlers already, and not those of Python alone."""
    (caught,) = re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{process}/status").read_text())
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def test_ctrl_c_in_a_terminal_is_one_line_at_any_time(recordings, tmp_path):
    """The terminal sends it to the whole group of processes, also while they import."""
    arguments = (recordings, "--out", tmp_path / "out", "--jobs", "3", *PURPOSE)
    for wait_s in (0.0, 0.2, 0.5, 0.9, 1.3, 1.7, 2.1):
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "edge", "analyse", *map(str, arguments)],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip
        wait_until(partial(handles_sigterm, process.pid))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(wait_s)
        if process.returncode is None:  # else a fast machine has done it
            os.killpg(process.pid, signal.SIGINT)
        text = process.communicate(timeout=60)[1]
        if process.returncode == 0:
            assert wait_s > 0.5, text
            break
        lines = [line for line in text.splitlines() if "r0" not in line]
        assert process.returncode == 130, text
        assert len(lines) == 1, text
        assert lines[0].startswith("affect-edge: interrupted: "), text


def test_two_analyses_do_not_write_into_one_folder(recordings, tmp_path):
    out = tmp_path / "out"
    first = start(recordings, "--out", out, "--jobs", "1")
    wait_until(lambda: list(out.glob(".r*.part")))
    first.send_signal(signal.SIGSTOP)  # or it might end before the second one begins
    code, text = analyse(recordings, "--out", out)
    first.send_signal(signal.SIGCONT)
    assert (code, "another analysis writes to it" in text) == (78, True)
    first.communicate(timeout=110)
    assert first.returncode == 0


def test_a_folder_with_other_contents_is_left_alone(recordings, tmp_path):
    (tmp_path / "out/r00").mkdir(parents=True)
    (tmp_path / "out/r00/thesis.tex").write_text("mine")
    code, text = analyse(recordings, "--out", tmp_path / "out", "--again")
    assert code == 78
    assert "r00: exists, and holds no results of an analysis" in text
    assert (tmp_path / "out/r00/thesis.tex").read_text() == "mine"


def test_without_pyarrow_the_extra_is_named(recordings, tmp_path):
    code = "import sys; sys.modules['pyarrow'] = None; from edge.__main__ import main; main()"
    arguments = ["analyse", str(recordings), "--out", str(tmp_path / "out"), *PURPOSE]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 78
    assert "pip install 'affect-edge[recordings]'" in done.stderr
