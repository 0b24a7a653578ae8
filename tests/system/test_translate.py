"""The daemon with a generator between the crop and the expression network: approach 1, for real."""

import json
import socket
import urllib.request
from pathlib import Path

import pytest

from tests.support.daemons import RunningDaemon, affect_edge
from tests.support.generators import translator_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generator's model folder; nobody writes into it."""
    return translator_folder(tmp_path_factory.mktemp("daemon"), formats=("onnx", "tflite"))


def named(folder: Path) -> list[str]:
    return ["--set", f'translator.model="{folder}"']


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_the_demo_runs_through_the_generator(tmp_path: Path, folder: Path) -> None:
    port = free_port()
    arguments = ["--source", "demo", "--no-pace", "--wait-for-subscriber", *named(folder)]
    metrics = f'metrics.address="127.0.0.1:{port}"'
    counted, scraped = 'stage_milliseconds_count{stage="translate"}', ""
    with RunningDaemon(tmp_path, *arguments, "--set", metrics, metrics=True) as daemon:
        while counted not in scraped:  # a frame is published first, counted then
            daemon.wait_for(lambda m: m["kind"] == "frame" and m["timing_ms"]["translate"] > 0)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
                scraped = page.read().decode()
        for _ in range(60):
            daemon.wait_for_frame()
        code, _ = daemon.stop()
        assert code == 0
    read = [frame for frame in daemon.frames if any(face["affect"] for face in frame["faces"])]
    assert len(read) > 30
    assert all(frame["timing_ms"]["translate"] > 0 for frame in read)
    (started,) = daemon.events("worker_started")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert started["detail"]["models"]["translator"] == {
        "name": "translator",
        "sha256": manifest["artifacts"][0]["sha256"],
    }


def test_without_one_nothing_is_timed(tmp_path: Path) -> None:
    with RunningDaemon(
        tmp_path, "--source", "demo", "--no-pace", "--wait-for-subscriber"
    ) as daemon:
        for _ in range(20):
            daemon.wait_for_frame()
        models = daemon.events("worker_started")[0]["detail"]["models"]
    assert {frame["timing_ms"]["translate"] for frame in daemon.frames} == {0.0}
    assert set(models) == {"detector", "expression"}


def test_check_asks_the_translator_too(folder: Path) -> None:
    done = affect_edge("check", *named(folder))
    assert done.returncode == 0
    assert f"ok     translator {folder}: golden face" in done.stdout


def test_check_tells_of_a_translator_that_outlasts_the_limit(folder: Path) -> None:
    done = affect_edge("check", *named(folder), "--set", "limits.inference_s=0.0001")
    assert done.returncode == 78
    assert "s a face on this board; limits.inference_s is 0.0001: raise it" in done.stdout


def broken(folder: Path, copy: Path) -> Path:
    """Return a copy whose weights have one bit changed."""
    copy.mkdir()
    content = bytearray((folder / "generator.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "generator.onnx").write_bytes(content)
    (copy / "generator.tflite").write_bytes((folder / "generator.tflite").read_bytes())
    (copy / "manifest.json").write_bytes((folder / "manifest.json").read_bytes())
    return copy


def answers_otherwise(folder: Path, copy: Path) -> Path:
    """Return a copy whose golden face was another."""
    copy.mkdir()
    for file in ("generator.onnx", "generator.tflite"):
        (copy / file).write_bytes((folder / file).read_bytes())
    data = json.loads((folder / "manifest.json").read_text())
    data["golden"]["levels"] = data["golden"]["levels"][::-1]
    (copy / "manifest.json").write_text(json.dumps(data))
    return copy


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ("nowhere", "no such folder"),
        ("expression-nir", "made for facial-expression, configured for spectrum-translation"),
        (broken, "the manifest says"),
        (answers_otherwise, "grey levels from the known picture"),
    ],
)
def test_a_wrong_translator_is_one_line_and_78(
    tmp_path: Path, folder: Path, command: str, model: object, complaint: str
) -> None:
    name = model(folder, tmp_path / "net") if callable(model) else model
    arguments = ["--set", f'translator.model="{name}"']
    if command == "run":
        endpoint = f'publish.endpoint="ipc://{tmp_path}/live"'
        arguments += ["--source", "demo", "--set", 'metrics.address=""', "--set", endpoint]
    done = affect_edge(command, *arguments)
    assert done.returncode == 78
    assert "Traceback" not in done.stderr
    told = done.stderr if command == "run" else done.stdout
    assert complaint in told
    if command == "run":
        assert sum(complaint in line for line in told.splitlines()) == 1


def test_an_artifact_of_the_translator_can_be_named(folder: Path, tmp_path: Path) -> None:
    lite = ["--set", 'translator.artifact="generator.tflite"']
    assert affect_edge("check", *named(folder), *lite).returncode == 0
    with RunningDaemon(
        tmp_path, "--source", "demo", "--no-pace", "--wait-for-subscriber", *named(folder), *lite
    ) as daemon:
        daemon.wait_for(lambda m: m["kind"] == "frame" and m["timing_ms"]["translate"] > 0)
        models = daemon.events("worker_started")[0]["detail"]["models"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert models["translator"]["sha256"] == manifest["artifacts"][1]["sha256"]
    absent = affect_edge("check", *named(folder), "--set", "translator.artifact=other.onnx")
    assert absent.returncode == 78
    assert "no artifact 'other.onnx'" in absent.stdout
