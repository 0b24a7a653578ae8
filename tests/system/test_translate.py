"""The daemon with a translator between crop and expression network."""

import json
import urllib.request
from pathlib import Path

import pytest

from edge.check import check
from edge.cli import run_command_line
from tests.support.command_errors import the_error
from tests.support.daemons import RunningDaemon, affect_edge
from tests.support.generators import translator_folder
from tests.support.ports import free_port
from tests.support.waiting import HANG_S


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a small generator; tests do not change it."""
    return translator_folder(tmp_path_factory.mktemp("daemon"), formats=("onnx", "tflite"))


def translator_option(folder: Path) -> list[str]:
    return ["--set", f'translator.model="{folder}"']


def test_the_daemon_translates_the_faces_of_the_demo(tmp_path: Path, folder: Path) -> None:
    port = free_port()
    arguments = [
        "--source",
        "demo",
        "--no-pace",
        "--wait-for-subscriber",
        *translator_option(folder),
    ]
    metrics = f'metrics.address="127.0.0.1:{port}"'
    metric, scraped = 'stage_seconds_count{stage="translate"}', ""
    with RunningDaemon(tmp_path, *arguments, "--set", metrics, metrics=True) as daemon:
        while metric not in scraped:  # a frame is published first, then counted
            daemon.wait_for(lambda m: m["kind"] == "frame" and m["timing_ms"]["translate"] > 0)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=HANG_S) as page:
                scraped = page.read().decode()
        for _ in range(60):
            daemon.wait_for_frame()
        code, _ = daemon.stop()
        assert code == 0
    classified = [
        frame for frame in daemon.frames if any(face["affect"] for face in frame["faces"])
    ]
    assert len(classified) > 30
    assert all(frame["timing_ms"]["translate"] > 0 for frame in classified)
    (started,) = daemon.events("worker_started")
    manifest = json.loads((folder / "manifest.json").read_text())
    translator = started["detail"]["models"]["translator"]
    assert translator["name"] == "translator"
    assert translator["artifact"] == manifest["artifacts"][0]["file"]
    assert translator["sha256"] == manifest["artifacts"][0]["sha256"]


def test_the_demo_runs_with_the_bundled_generator() -> None:
    done = affect_edge("demo", *translator_option(Path("nir-to-visible")))
    assert done.returncode == 0, done.stderr
    assert "classified" in done.stdout


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ('translator.modell="nir-to-visible"', "modell"),
        ('translator.model="nowhere"', "no such folder"),
    ],
)
def test_the_demo_refuses_a_wrong_setting(setting: str, words: str) -> None:
    done = affect_edge("demo", "--set", setting)
    assert done.returncode == 78
    assert words in the_error(done.stderr)


def test_without_a_translator_its_time_is_zero(tmp_path: Path) -> None:
    with RunningDaemon(
        tmp_path, "--source", "demo", "--no-pace", "--wait-for-subscriber"
    ) as daemon:
        for _ in range(20):
            daemon.wait_for_frame()
        models = daemon.events("worker_started")[0]["detail"]["models"]
    assert {frame["timing_ms"]["translate"] for frame in daemon.frames} == {0.0}
    assert set(models) == {"detector", "region_detector", "expression"}


def test_check_verifies_the_translator(folder: Path) -> None:
    done = affect_edge("check", *translator_option(folder))
    assert done.returncode == 0
    assert f"ok     translator {folder}: golden face" in done.stdout


def test_check_reports_a_translator_slower_than_the_limit(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "elapsed_ms", lambda _start_ns: 4321.0)
    assert run_command_line(["check", *translator_option(folder)]) == 78
    line = "4.32 s per face on this board; limits.inference_s is 3: raise it"
    assert line in capsys.readouterr().out


def with_damaged_weights(folder: Path, copy: Path) -> Path:
    """Return a copy with one bit of the weights changed."""
    copy.mkdir()
    content = bytearray((folder / "generator.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "generator.onnx").write_bytes(content)
    (copy / "generator.tflite").write_bytes((folder / "generator.tflite").read_bytes())
    (copy / "manifest.json").write_bytes((folder / "manifest.json").read_bytes())
    return copy


def with_another_golden_answer(folder: Path, copy: Path) -> Path:
    """Return a copy with another stored golden answer."""
    copy.mkdir()
    for file in ("generator.onnx", "generator.tflite"):
        (copy / file).write_bytes((folder / file).read_bytes())
    data = json.loads((folder / "manifest.json").read_text())
    data["golden"]["levels"] = data["golden"]["levels"][::-1]
    (copy / "manifest.json").write_text(json.dumps(data))
    return copy


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("nowhere", "no such folder"),
        ("expression-nir", "made for facial-expression, configured for spectrum-translation"),
        (with_damaged_weights, "the manifest says"),
        (with_another_golden_answer, "mean difference from the expected picture"),
    ],
)
def test_an_invalid_translator_gives_a_one_line_error_and_exit_code_78(
    tmp_path: Path, folder: Path, command: str, model: object, words: str
) -> None:
    name = model(folder, tmp_path / "net") if callable(model) else model
    arguments = ["--set", f'translator.model="{name}"']
    if command == "run":
        endpoint = f'publish.endpoint="ipc://{tmp_path}/live"'
        arguments += ["--source", "demo", "--set", 'metrics.address=""', "--set", endpoint]
    done = affect_edge(command, *arguments)
    assert done.returncode == 78
    assert "Traceback" not in done.stderr
    output = done.stderr if command == "run" else done.stdout
    assert words in output
    if command == "run":
        assert sum(words in line for line in output.splitlines()) == 1


def test_the_artifact_of_the_translator_can_be_chosen(folder: Path, tmp_path: Path) -> None:
    lite = ["--set", 'translator.artifact="generator.tflite"']
    assert affect_edge("check", *translator_option(folder), *lite).returncode == 0
    with RunningDaemon(
        tmp_path,
        "--source",
        "demo",
        "--no-pace",
        "--wait-for-subscriber",
        *translator_option(folder),
        *lite,
    ) as daemon:
        daemon.wait_for(lambda m: m["kind"] == "frame" and m["timing_ms"]["translate"] > 0)
        models = daemon.events("worker_started")[0]["detail"]["models"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert models["translator"]["sha256"] == manifest["artifacts"][1]["sha256"]
    absent = affect_edge(
        "check", *translator_option(folder), "--set", "translator.artifact=other.onnx"
    )
    assert absent.returncode == 78
    assert "no artifact 'other.onnx'" in absent.stdout
