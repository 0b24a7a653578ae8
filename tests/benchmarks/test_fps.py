"""The fields, conditions and refusals of ``benchmarks fps``. Speed itself is never asserted."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from benchmarks import fps_baseline
from benchmarks.board import BUSY_PERCENT
from benchmarks.cli import main
from benchmarks.daemon import _tree_cpu_s, growth_mb
from benchmarks.figures import Spent
from benchmarks.fps_baseline import BaselineLoop
from benchmarks.inference_alone import noted_inference
from benchmarks.pipeline import FullLooks, Samples
from benchmarks.scene import make_scene
from edge.clock import Stopwatch
from edge.config import Config, DemoSource
from edge.errors import ConfigError
from edge.vision.inference.runtimes import OnnxSession
from edge.vision.pipeline import Pipeline
from edge.vision.sources import open_source
from edge.vocabulary import EXPRESSIONS
from tests.support.command_errors import refusal
from tests.support.daemons import ROOT

ONNX = "centerface.onnx"
STAGES = {"decode", "resize", "detect", "decode_boxes", "track", "quality", "crop", "translate",
          "classify", "message"}  # fmt: skip


def measured(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    path = tmp_path / "result.json"
    assert main(["fps", *arguments, "--json", str(path)]) == 0
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def assert_conditions(result: dict[str, Any]) -> None:
    for name in ("board", "governor", "throttled", "threads", "versions", "models", "commit",
                 "date", "command", "load_1m", "other_cpu_percent", "throttled_during",
                 "soc_celsius_max", "mhz", "memory_mb", "kernel", "machine"):  # fmt: skip
        assert name in result
    busy = [reason for reason in result["invalid"] if "the machine was busy" in reason]
    assert bool(busy) == (result["other_cpu_percent"] > BUSY_PERCENT)
    assert result["other_cpu_percent"] >= 0
    assert result["versions"]["onnxruntime"]
    (digest,) = result["models"]["expression-nir"].values()
    assert len(digest) == 64


def test_the_pipeline_in_memory_against_the_baseline(tmp_path: Path) -> None:
    every = ("--set", 'detector.schedule="every-frame"')
    arguments = ("--source", "demo", "--frames", "30", "--in-memory", "--baseline")
    result = measured(tmp_path, *arguments, *every)
    assert_conditions(result)
    assert result["frames"] == 30
    assert set(result["latency_ms"]) == {"p50", "p95", "p99"}
    assert set(result["stage_ms"]) >= STAGES
    assert result["stage_ms"]["translate"] is None
    figures = [
        result[name]
        for name in (
            "fps",
            "inference_ms",
            "overhead",
            "overhead_cpu",
            "first_result_ms",
            "baseline_fps",
            "ratio",
            "ratio_cpu",
            "same_size_ratio",
            "rss_mb",
            "cpu_percent",
        )
    ]
    figures += [value for value in result["stage_ms"].values() if value is not None]
    assert all(math.isfinite(value) and value > 0 for value in figures)
    assert "ours 320x192" in result["baseline_note"]
    assert "a thread for every core" in result["baseline_note"]
    assert result["full_looks_per_1000"] == 1000
    assert result["worst"]["full_look"] is None, "every frame is one: that is the steady state"
    for name in ("wall_ms", "cpu_ms"):
        row = result["steady"][name]
        assert 0 < row["p50"] <= row["p95"] <= row["p99"] <= row["max"]
    assert result["worst"]["frame_cpu_ms"] == result["steady"]["cpu_ms"]["max"]
    for name in ("detect", "classify", "message"):
        assert 0 < result["stage_cpu_ms"][name] < result["worst"]["frame_cpu_ms"]
    # the whole cannot be less than its parts: one thread, no overlap
    parts = sum(result["stage_ms"][stage] or 0 for stage in STAGES - {"decode"})
    assert parts < 1.5 * result["latency_ms"]["p95"] + 5


def test_the_pipeline_with_decoding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = measured(tmp_path, "--frames", "12")
    assert "benchmarks: fps: 0 of 12 frames measured\n" in capsys.readouterr().err
    assert result["frames"] == 12
    assert result["stage_ms"]["decode"] > 0
    assert result["stage_cpu_ms"]["decode"] > 0
    assert "ratio" not in result


def test_the_threads_of_the_baseline_can_be_named(tmp_path: Path) -> None:
    arguments = ["--frames", "2", "--in-memory", "--baseline", "--baseline-threads", "1"]
    result = measured(tmp_path, *arguments)
    assert result["baseline_threads"] == 1
    assert "1 thread each" in result["baseline_note"]


def test_full_looks_are_counted_by_frame() -> None:
    detector = Pipeline.open(Config()).detector
    looks = FullLooks(detector)
    assert not looks.take()
    frame = make_scene(1, "still", (320, 180)).frames[0]
    for _ in range(2):
        (face,) = detector.detect(frame, Stopwatch())
        assert face.score > 0.5
    assert looks.take()
    assert not looks.take()


def test_steady_state_and_full_looks_are_apart() -> None:
    samples = Samples(
        spent=[Spent(1.0, 0.5), Spent(8.0, 4.0), Spent(1.0, 0.5), Spent(1.0, 0.5)],
        inference=[Spent(0.5, 0.5)] * 4,
        sensor_ns=[0, 40_000_000, 80_000_000, 120_000_000],
        full_looks=[False, True, False, False],
    )
    figures = samples.figures()
    assert figures["steady"]["wall_ms"] == dict.fromkeys(("p50", "p95", "p99", "max"), 1.0)
    assert figures["worst"]["full_look"]["cpu_ms"]["max"] == 4.0
    assert figures["full_looks_per_1000"] == 250
    assert figures["worst"]["second_ms"] is None, "shorter than a second"


def test_overhead_compares_each_frame_with_its_own_inference() -> None:
    samples = Samples(
        spent=[Spent(4.0, 3.0), Spent(2.0, 2.0), Spent(0.25, 0.25)],
        inference=[Spent(3.0, 2.0), Spent(1.0, 1.0), Spent(0.0, 0.0)],  # the last shows nobody
        sensor_ns=[0, 40_000_000, 80_000_000],
        full_looks=[True, False, False],
    )
    figures = samples.figures()
    assert figures["overhead"] == pytest.approx((4 / 3 + 2) / 2)
    assert figures["overhead_cpu"] == pytest.approx((3 / 2 + 2) / 2)
    assert figures["outside_ms"] == 1.0
    assert figures["outside_cpu_ms"] == 1.0
    samples.inference = [Spent(0.0, 0.0)] * 3
    figures = samples.figures()
    assert figures["overhead"] is None
    assert figures["outside_ms"] == 2.0


@pytest.mark.parametrize("schedule", ["region", "every-frame"])
def test_inference_alone_is_what_ran_in_the_frame(
    schedule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "detector": {"schedule": schedule, "artifact": ONNX, "region_artifact": ONNX},
        "expression": {"artifact": "expression.onnx"},
        "translator": {"model": "nir-to-visible", "artifact": "generator.onnx"},
        "mesh": {"enabled": True, "artifact": "mesh.onnx"},
    }
    pipeline = Pipeline.open(Config.model_validate(settings))
    got: list[bytes] = []
    genuine = OnnxSession.run

    def run(session: OnnxSession, tensor: Any) -> Any:
        got.append(tensor.tobytes())
        return genuine(session, tensor)

    monkeypatch.setattr(OnnxSession, "run", run)
    counts = []
    with noted_inference() as inference:
        for frame in make_scene(1, "pan", (640, 360)).frames[:20]:
            pipeline.step(frame)
            in_frame = got.copy()
            got.clear()
            spent = inference.measure()
            assert got == in_frame
            assert spent.cpu_ms > 0
            counts.append(len(got))
            got.clear()
        inference.measure()
        assert got == [], "nothing is left"
    assert 4 in counts, "detector or region, translator, expression and mesh"
    pipeline.step(frame)
    in_frame = got.copy()
    inference.measure()
    assert got == in_frame, "it notes no more"


def test_daemon_mode(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = measured(tmp_path, "--mode", "daemon")
    assert_conditions(result)
    assert result["frames"] == 290
    assert result["latency_ms"]["p50"] > 0
    assert result["cpu_percent"] > 0
    assert set(result["stage_ms"]) >= STAGES
    assert result["inference_ms"] is None
    assert result["overhead"] is None
    assert result["dropped"] == 0
    assert set(result["threads_ms"]) == {"capture", "detect", "classify"}
    slowest_ms = max(result["threads_ms"].values())
    assert result["threads_ms"][result["slowest_thread"]] == slowest_ms
    assert result["efficiency"] == pytest.approx(result["fps"] * slowest_ms / 1e3)
    assert result["frame_cpu_ms"] == pytest.approx(10 * result["cpu_percent"] / result["fps"])
    assert result["cores_limit_fps"] == pytest.approx(
        1e3 * len(os.sched_getaffinity(0)) / result["frame_cpu_ms"]
    )
    assert result["start_to_first_result_ms"] > 0
    assert result["hub_rss_mb"] > 10
    assert abs(result["hub_rss_growth_mb"]) < 10
    output, progress = capfd.readouterr()
    assert "frames a second" in output
    assert progress.startswith("benchmarks: fps: 1 frames of the daemon received\n")


def test_growth_is_that_of_the_second_half_of_a_run() -> None:
    assert growth_mb([100.0, 150.0, 160.0, 161.0, 163.0]) == 3.0
    assert growth_mb([100.0, 150.0, 160.0]) is None


def test_the_daemon_at_the_rate_of_the_recording(tmp_path: Path) -> None:
    arguments = ["--mode", "daemon", "--paced", "--faces", "2", "--frames", "25"]
    result = measured(tmp_path, *arguments, "--size", "640x360")
    assert result["paced"]
    assert result["frames"] == 25
    assert result["fps"] < 40, "the scene has 25 frames a second"
    assert result["efficiency"] is None
    assert result["latency_p99_to_median"] >= 1
    faces = result["faces"]
    assert faces["recall"] > 0.9
    assert faces["counted"] == 2 * 25


@pytest.mark.parametrize(("size", "extra"), [("320x240", []), ("640x360", ["--faces", "1"])])
def test_the_size_of_frames_in_memory(tmp_path: Path, size: str, extra: list[str]) -> None:
    result = measured(tmp_path, *(extra or ["--in-memory"]), "--size", size, "--frames", "5")
    assert result["frames"] == 5
    assert ("faces" in result) == bool(extra)


def test_the_processor_time_of_an_ended_child_still_counts() -> None:
    """The last messages were received after the worker had ended, and 0 % was reported."""
    burn = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    code = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print('ended')"
    )
    command = [sys.executable, "-uc", f"{code}; input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ended\n"
        assert _tree_cpu_s(parent.pid) >= 0.3
        parent.communicate(b"\n")


def test_daemon_mode_does_not_touch_the_journal(tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text(f"""
        [device]
        purpose = "research-consent"
        [journal]
        path = "{tmp_path / "journal"}"
    """)
    result = measured(
        tmp_path, "--mode", "daemon", "--frames", "5", "-c", str(tmp_path / "edge.toml")
    )
    assert result["frames"] == 5
    assert not (tmp_path / "journal").exists()


def test_the_configuration_file_names_the_source(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "edge.toml").write_text('[source]\nkind = "v4l2"\n')
    assert main(["fps", "-c", str(tmp_path / "edge.toml")]) == 78
    assert "'v4l2' is live" in capfd.readouterr().err


@pytest.mark.parametrize("size", [None, (320, 192)])
def test_the_baseline_finds_the_same_faces(size: tuple[int, int] | None) -> None:
    pipeline = Pipeline.open(Config())
    baseline = BaselineLoop("expression-nir", threshold=0.5, size=size)
    faces = 0
    with open_source(DemoSource(), small_size=(0, 0)) as source:
        for index in range(100):
            frame = source.read()
            if index % 33 == 0:
                found = pipeline.detector.detect(frame, Stopwatch())
                labels = baseline.step(cv2.cvtColor(frame.luma, cv2.COLOR_GRAY2BGR))
                assert len(labels) == len(found)
                assert set(labels) <= set(EXPRESSIONS)
                faces += len(labels)
    assert faces >= 4


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "required"),
        (["zoo"], "zoo"),
        (["speed", "--hours", "1"], "invalid choice: 'speed'"),
        (["fps", "--frames", "0"], "--frames"),
        (["fps", "--frames", "many"], "--frames"),
        (["fps", "--source", "nowhere"], "nowhere"),
        (["fps", "--source", "/dev/video0"], "live"),
        (["fps", "--mode", "warp"], "--mode"),
        (["fps", "--set", "detector.model=none"], "none"),
        (["fps", "--mode", "daemon", "--baseline"], "--baseline"),
        (["fps", "--baseline", "--baseline-threads", "0"], "--baseline-threads"),
        (["fps", "--paced"], "--mode daemon"),
        (["fps", "--faces", "0"], "--faces 0"),
        (["fps", "--faces", "49"], "1 to 48"),
        (["fps", "--motion", "dance"], "--motion"),
        (["fps", "--faces", "2", "--source", "demo"], "--source"),
        (["fps", "--faces", "2", "--size", "big"], "WIDTHxHEIGHT"),
        (["fps", "--faces", "2", "--size", "100x720"], "160 to 4096"),
        (["fps", "--size", "640x360"], "--in-memory"),
        (["fps", "--mode", "daemon", "--set", "detector.model=none"], "none"),
        (["fps", "--mode", "daemon", "--source", __file__], "no video in it"),
        (["fps", "--frames", "1", "--json", "/nowhere/x.json"], "/nowhere/x.json"),
        (["fps", "-c", "/nowhere.toml"], "/nowhere.toml"),
    ],
)
def test_wrong_input_is_refused_in_one_line(
    arguments: list[str], named: str, capfd: pytest.CaptureFixture[str]
) -> None:
    line = refusal(main, arguments, capfd)
    assert line.startswith("benchmarks: error: ")
    assert named in line


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [("onnx", "install the extra bench"), ("network", "the folder of the repository")],
)
def test_a_baseline_that_cannot_run_names_the_remedy(
    missing: str, remedy: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An installed package has neither the onnx package nor the published network."""
    if missing == "onnx":
        monkeypatch.setitem(sys.modules, "onnx", None)
    else:
        monkeypatch.setattr(fps_baseline, "_ROOT", tmp_path)
        monkeypatch.chdir(tmp_path)
        (tmp_path / fps_baseline.PUBLISHED).parent.mkdir(parents=True)
        (tmp_path / fps_baseline.PUBLISHED).write_bytes(b"another file")
    with pytest.raises(ConfigError, match=remedy):
        BaselineLoop("expression-nir", threshold=0.5)


def test_an_installed_copy_takes_the_published_network_of_the_current_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fps_baseline, "_ROOT", tmp_path)
    monkeypatch.chdir(ROOT)
    assert BaselineLoop("expression-nir", threshold=0.5, size=(64, 64))
