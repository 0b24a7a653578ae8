"""``benchmarks fps --compare``: both checkouts run, old layouts too, and mistakes are one line."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cli import main
from benchmarks.compare import TURN, checkout, ratio
from tests.support.command_errors import refusal
from tests.support.daemons import ROOT

SCENE = ("--faces", "1", "--motion", "pan", "--size", "320x180", "--frames", "20")
BEFORE_PACKAGES = "2152732aa5244ecbc659dc05e65d352712502770"  # edge/pipeline.py, edge/values.py


def compared(tmp_path: Path, revision: str, *arguments: str) -> dict[str, Any]:
    path = tmp_path / "result.json"
    command = ["fps", *SCENE, "--compare", revision, *arguments, "--json", str(path)]
    assert main(command) == 0
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def has_commit(commit: str) -> bool:
    command = ["git", "-C", str(ROOT), "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def old_checkout(folder: Path, pipeline: str) -> Path:
    """A checkout with the layout before ``edge/vision``, whose networks are invented."""
    files = {
        "edge/__init__.py": "",
        "edge/errors.py": "class AffectEdgeError(Exception): pass",
        "edge/config.py": "def load_config(path, *, settings, overrides): return list(settings)",
        "edge/clock.py": (
            "import time\n"
            "class Stopwatch:\n"
            "    def __init__(self): self.last, self.stage_ms = time.monotonic_ns(), {}\n"
            "    def lap(self, name):\n"
            "        now = time.monotonic_ns()\n"
            "        self.stage_ms[name], self.last = (now - self.last) / 1e6, now\n"
        ),
        "edge/values.py": (
            "from dataclasses import dataclass\n"
            "@dataclass\n"
            "class Frame:\n"
            "    luma: object\n    index: int\n    sensor_ns: int\n    clock: str\n"
            "    captured_ns: int\n"
        ),
        "edge/pipeline.py": pipeline,
        "benchmarks/__init__.py": "",
        "benchmarks/fps.py": (
            "def message_bytes(state):\n"
            '    return b\'affect.v1.frame.bench {"faces": [{"reading": 1}]}\'\n'
        ),
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


WAITING_PIPELINE = """
import os
import select
from types import SimpleNamespace
from edge.clock import Stopwatch
from edge.errors import AffectEdgeError

class Pipeline:
    detector = SimpleNamespace(
        info=SimpleNamespace(name="invented", artifact="a.onnx"), detect=lambda *_: ()
    )
    expression = detector

    @classmethod
    def open(cls, settings):
        if any("artifact" in each for each in settings):
            raise AffectEdgeError("no such artifact")
        assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
        return cls()

    def step(self, frame):
        assert frame.luma.shape == (180, 320)
        watch = Stopwatch()
        select.select([], [], [], 0.01)
        watch.lap("detect")
        if frame.index % 2:
            self.detector.detect(frame)
        return watch
"""


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git checkout")
def test_this_checkout_against_a_revision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = compared(tmp_path, "HEAD", "--compare-set", "detector.threshold=0.4")
    assert result["frames"] == 20
    assert result["distinct_frames"] == 20
    assert result["size"] == [320, 180]
    for side in (result["this"], result["other"]):
        assert side["faces_per_frame"] == 1
        assert 0 < side["full_looks_per_1000"] < 1000
        assert side["models"]["centerface-320x192"]
        assert not side["chose_artifacts"]
        assert 0 < side["outside_cpu_ms"] < side["cpu_ms"]["p50"]
        assert side["stage_cpu_ms"]["detect"] > 0
    assert result["this"]["models"] == result["other"]["models"]
    for figures in (*result["ratio_of_medians"].values(), *result["ratio_of_means"].values()):
        assert 0 < figures["low"] <= figures["value"] <= figures["high"]
    assert "invalid" in result
    assert "ratio: HEAD relative to this checkout" in capsys.readouterr().out


@pytest.mark.skipif(not has_commit(BEFORE_PACKAGES), reason="the history is not there")
def test_a_revision_of_another_layout(tmp_path: Path) -> None:
    result = compared(tmp_path, BEFORE_PACKAGES)
    assert result["other"]["faces_per_frame"] == 1
    assert result["other"]["predicted_per_frame"] == 1
    assert result["other"]["stage_cpu_ms"]["classify"] > 0


def test_an_old_layout_and_stages_in_processor_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The invented detector only waits: that takes time, and no processor time."""
    result = compared(tmp_path, str(old_checkout(tmp_path, WAITING_PIPELINE)))
    other = result["other"]
    assert other["models"] == {"invented": "a.onnx"}
    assert other["chose_artifacts"], "it has not the artifacts of this checkout"
    assert other["wall_ms"]["p50"] >= 10
    assert other["stage_cpu_ms"]["detect"] < 5
    assert other["predicted_per_frame"] == 1
    assert other["full_looks_per_1000"] == 500
    assert "The sides run different networks" in capsys.readouterr().out


def test_a_revision_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    with checkout("HEAD") as root:
        assert (root / "benchmarks" / "fps.py").is_file()
        assert (root / "models" / "expression-nir" / "expression.onnx").is_file()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("pipeline", "reason"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError"),
        ("import os; os.write(2, b'Illegal instruction\\n'); os._exit(3)", "Illegal instruction"),
    ],
)
def test_a_side_that_cannot_run_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], pipeline: str, reason: str
) -> None:
    root = str(old_checkout(tmp_path, pipeline))
    line = refusal(main, ["fps", *SCENE, "--compare", root], capfd)
    assert reason in line
    assert root in line


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--compare", "HEAD"], "--in-memory"),
        (["--in-memory", "--compare", "no-such-revision"], "no such revision"),
        (["--in-memory", "--compare", "--mirror"], "--compare"),
        (["--in-memory", "--compare", "HEAD", "--baseline"], "--baseline"),
        (["--compare-set", "a.b=1"], "--compare with it"),
        (
            ["--in-memory", "--frames", "1", "--compare", ".", "--compare-set", "a.b=1"],
            "a: unknown key",
        ),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str], named: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert named in refusal(main, ["fps", *arguments], capfd)


def test_the_interval_holds_the_ratio_and_shrinks_with_the_turns() -> None:
    random = np.random.default_rng(5)

    def turns(count: int, mean: float) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
        return [random.normal(mean, 0.3, TURN) for _ in range(count)]

    few, many = (ratio(turns(count, 6.0), turns(count, 3.0)) for count in (4, 60))
    assert few["low"] <= 2.0 <= few["high"]
    assert many["low"] <= 2.0 <= many["high"]
    assert many["high"] - many["low"] < few["high"] - few["low"]
    alone = ratio(turns(1, 6.0), turns(1, 3.0))
    assert alone["low"] == alone["value"] == alone["high"]


def test_what_disturbs_both_sides_cancels_out() -> None:
    """A machine that is busy in half of the turns: both sides are slower in the same ones."""
    slow = [1.0, 3.0] * 10
    figures = ratio(
        [np.full(TURN, 2.0 * each) for each in slow], [np.full(TURN, each) for each in slow]
    )
    assert figures["low"] == figures["high"] == 2.0
