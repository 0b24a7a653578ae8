"""The folder of one recording's results: what is not ours in it, and around it, is kept."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.recordings.analysis.results_folder import locked_out, new_folder
from tests.support.analyses import analyse, make_recordings, tree
from tests.support.daemons import ROOT
from tests.support.rights import AS_PLAIN_USER

OURS = ("frames.csv", "tracks.csv", "joined.csv", "annotated.mp4", "plots/timeline-2.png")

KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from edge.recordings.analysis import results_folder
from tests.recordings.test_results_folder import publish

calls = 0

def killed(real):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    return call

for module, name in (
    (os, "rename"), (os, "link"), (os, "mkdir"), (os, "unlink"), (os, "rmdir"), (os, "fsync"),
):
    setattr(module, name, killed(getattr(module, name)))
if sys.argv[3] == "no exchange":
    results_folder._RENAME_EXCHANGE = 1 << 20
publish(Path(sys.argv[1]), b"new", OURS_HERE)
"""


def publish(out: Path, content: bytes, names: tuple[str, ...] = OURS) -> None:
    """Publish results, as an analysis does."""
    with locked_out(out), new_folder(out, "demo") as folder:
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        (folder / "session.json").write_text(json.dumps({"analysis": {}}))


def add_files_of_the_user(folder: Path) -> dict[str, bytes]:
    (folder / "notes").mkdir()
    files = {"marks.csv": b"marks", "notes/a.txt": b"a", "plots/mine.png": b"mine", ".b": b"b"}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return files


def test_hidden_folders_of_others_are_left_alone(tmp_path):
    foreign = (
        ".thesis.part",
        ".ssh.old",
        ".proj.old",
        ".demo.1234-0123abcd.part",
        ".results.1234-0123abcd.affect-edge.part",
    )
    for name in (*foreign, "proj"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "text").write_text("mine")
    before = tree(tmp_path)
    publish(tmp_path, b"1")
    shutil.rmtree(tmp_path / "demo")
    (tmp_path / ".analyse.lock").unlink()
    assert tree(tmp_path) == before


@pytest.mark.parametrize("owner", ["", "[]", '{"folder": "../proj"}', '{"folder": 7}'])
def test_an_owner_that_is_none_moves_nothing(owner, tmp_path):
    part = tmp_path / "out/.results.1-0123abcd.affect-edge.part"
    (part / "old").mkdir(parents=True)
    (part / "old/text").write_text("mine")
    (part / "affect-edge.owner").write_text(owner)
    with locked_out(tmp_path / "out"):
        pass
    assert (part / "old/text").read_text() == "mine"


@pytest.mark.parametrize("exchange", [True, False])
def test_files_of_the_user_stay_in_the_folder_of_results(exchange, tmp_path, monkeypatch):
    if not exchange:
        monkeypatch.setattr("edge.recordings.analysis.results_folder._RENAME_EXCHANGE", 1 << 20)
    publish(tmp_path, b"1")
    mine = add_files_of_the_user(tmp_path / "demo")
    publish(tmp_path, b"2", ("frames.csv",))
    expected = {**mine, "frames.csv": b"2", "session.json": b'{"analysis": {}}'}
    assert tree(tmp_path / "demo") == expected
    assert {path.name for path in tmp_path.iterdir()} == {".analyse.lock", "demo"}


@pytest.mark.parametrize("way", ["exchange", "no exchange"])
def test_a_kill_at_any_moment_loses_nothing_of_the_user(way, tmp_path):
    code = KILLED.replace("OURS_HERE", repr(("frames.csv",)))
    publish(tmp_path / "first", b"old")
    mine = add_files_of_the_user(tmp_path / "first/demo")
    for moment in range(1, 200):
        out = tmp_path / str(moment)
        shutil.copytree(tmp_path / "first", out)
        done = subprocess.run([sys.executable, "-c", code, str(out), str(moment), way], check=False)
        with locked_out(out):
            pass
        found = tree(out / "demo")
        assert found.items() >= mine.items(), moment
        assert found["frames.csv"] in (b"old", b"new")
        assert {path.name for path in out.iterdir()} == {".analyse.lock", "demo"}, moment
        assert not [name for name in found if ".old-" in name], moment
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        shutil.rmtree(out)
    assert moment > 15
    assert found["frames.csv"] == b"new"


def test_a_folder_that_holds_something_else_meanwhile_is_not_replaced(tmp_path):
    def publish_late() -> None:
        with new_folder(tmp_path, "demo"):
            (tmp_path / "demo").mkdir()
            (tmp_path / "demo/thesis.tex").write_text("mine")

    with pytest.raises(ConfigError, match="holds no results"):
        publish_late()
    assert tree(tmp_path) == {"demo/thesis.tex": b"mine"}


def test_inputs_may_lie_in_the_folder_of_results(tmp_path):
    video, out = make_recordings(tmp_path / "in", 1) / "r00.mp4", tmp_path / "out"
    sensor, marks, codes = (out / "r00" / name for name in ("eda.csv", "marks.csv", "codes.csv"))
    assert analyse(video, "--out", out)[0] == 0
    before = tree(out)
    sensor.write_text("t,eda\n0.1,5\n0.4,6\n")
    marks.write_text("time_s,mark\n0.4,dive\n")
    codes.write_text("track,participant\n1,P07\n")
    mine = {path.name: path.read_bytes() for path in (sensor, marks, codes)}
    arguments = ("--join", sensor, "--time-column", "t", "--marks", marks, "--video")
    code, text = analyse(video, "--out", out, "--participants", codes, *arguments)
    assert code == 0, text
    found = tree(out / "r00")
    assert found.items() >= mine.items()
    assert {"joined.csv", "joined.parquet", "annotated.mp4"} <= set(found)
    assert b"P07" in found["frames.csv"]
    assert analyse(video, "--out", out, "--again")[0] == 0
    assert tree(out) == before | {f"r00/{name}": content for name, content in mine.items()}
    assert os.listdir(tmp_path / "out/r00/plots")


def test_a_name_that_is_too_long_is_a_fault_of_the_recording(tmp_path):
    with locked_out(tmp_path), new_folder(tmp_path, "n" * 255) as folder:
        (folder / "session.json").write_text("{}")
    assert (tmp_path / ("n" * 255) / "session.json").exists()
    with pytest.raises(ConfigError, match="rename the recording"):
        new_folder(tmp_path, "n" * 256).__enter__()


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_computed(tmp_path: Path):
    with locked_out(tmp_path):
        pass
    tmp_path.chmod(0o500)
    code = (
        "import sys; from pathlib import Path;"
        " from edge.recordings.analysis.results_folder import locked_out;"
        " locked_out(Path(sys.argv[1])).__enter__()"
    )
    done = subprocess.run(
        [*AS_PLAIN_USER, sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    tmp_path.chmod(0o700)
    assert f"ConfigError: --out {tmp_path}: Permission denied; expected a folder" in done.stderr
