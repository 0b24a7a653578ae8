"""``benchmarks suite`` and references: runs in one file, compared in both directions."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import reference as references
from benchmarks.cli import main
from benchmarks.reference import (
    FOLDER,
    board_slug,
    compare_with_reference,
    load_reference,
    missed_references,
)
from benchmarks.suite import RUNS
from edge.errors import ConfigError
from tests.support.command_errors import refusal


def pipeline_run(cpu_ms: float = 8.0, wall_ms: float = 9.0) -> dict[str, Any]:
    return {
        "mode": "pipeline", "command": "python -m benchmarks fps --source demo",
        "steady": {"cpu_ms": {"p50": cpu_ms}, "wall_ms": {"p50": wall_ms}},
        "models": {"a": {"a.onnx": "00"}}, "threads": {"detector": 1}, "invalid": [],
    }  # fmt: skip


def daemon_run(fps: float = 60.0, p50: float = 20.0, *, paced: bool = False) -> dict[str, Any]:
    run = pipeline_run() | {"mode": "daemon", "paced": paced, "fps": fps}
    return run | {"latency_ms": {"p50": p50}}


def suite(**runs: dict[str, Any]) -> dict[str, Any]:
    return {
        "benchmark": "suite", "board": "Raspberry Pi 5 Model B Rev 1.0", "cores": 4,
        "machine": "aarch64", "runs": runs, "invalid": [], "missed": [], "versions": {},
    }  # fmt: skip


def verdicts(now: dict[str, Any], before: dict[str, Any]) -> list[str]:
    return [row["verdict"] for row in compare_with_reference(now, before)]


def test_one_command_makes_one_file_of_all_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "board.json"
    command = ["suite", "--only", "one-face,baseline", "--frames", "4", "--json", str(path)]
    assert main(command) == 0
    result = json.loads(path.read_text())
    assert list(result["runs"]) == ["one-face", "baseline"]
    assert result["runs"]["one-face"]["faces"]["recall"] == 1
    assert result["runs"]["baseline"]["ratio"] > 1
    for name in ("board", "cores", "machine", "kernel", "governor", "commit", "date", "memory_mb"):
        assert name in result
    assert result["missed"] == []
    output, progress = capsys.readouterr()
    assert "times as fast as the earlier approach" in output
    assert progress.startswith("benchmarks: suite: one-face\n")
    result["invalid"] = []  # whatever else ran on this machine
    for run in result["runs"].values():
        run["invalid"] = []
    path.write_text(json.dumps(result))
    loaded = load_reference(str(path), result["board"])
    assert set(verdicts(result, loaded)) == {"same"}


def test_a_run_that_fails_is_named_and_the_baseline_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RUNS, "baseline", ("--source", "nowhere"))
    monkeypatch.setitem(RUNS, "demo", ("--source", "nowhere"))
    path = tmp_path / "board.json"
    assert main(["suite", "--only", "demo,baseline", "--json", str(path)]) == 1
    result = json.loads(path.read_text())
    (missed,) = result["missed"]
    assert missed.startswith("demo: ")
    assert "nowhere" in result["runs"]["baseline"]["failed"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-c", "/nowhere.toml"), "/nowhere.toml"),
        (("--frames", "0"), "--frames 0: expected 1 or more"),
        (("--json", "/nowhere/board.json"), "--json"),
        (("--set", "detector.threshold=7"), "detector.threshold"),
    ],
)
def test_wrong_arguments_are_refused_before_the_first_run(
    arguments: tuple[str, ...], expected: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(subprocess, "run", None)
    assert main(["suite", *arguments]) == 78
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cpu_ms", "wall_ms", "expected"),
    [
        (8.0, 9.0, ["same", "same"]),
        (8.6, 9.6, ["same", "same"]),
        (9.0, 9.0, ["slower", "same"]),
        (7.0, 12.0, ["faster", "slower"]),
    ],
)
def test_a_pipeline_is_compared_in_both_directions(
    cpu_ms: float, wall_ms: float, expected: list[str]
) -> None:
    assert (
        verdicts(suite(demo=pipeline_run(cpu_ms, wall_ms)), suite(demo=pipeline_run())) == expected
    )


def test_a_daemon_is_compared_by_its_rate_and_a_paced_one_by_its_latency() -> None:
    before = suite(daemon=daemon_run(), paced=daemon_run(paced=True))
    assert verdicts(before, before) == ["same", "same"]
    assert verdicts(suite(daemon=daemon_run(fps=50.0)), before) == ["slower"]
    assert verdicts(suite(daemon=daemon_run(fps=70.0)), before) == ["faster"]
    assert verdicts(suite(paced=daemon_run(p50=25.0, paced=True)), before) == ["slower"]


def test_every_difference_is_missed_with_its_figures() -> None:
    rows = compare_with_reference(suite(demo=pipeline_run(9.0, 7.0)), suite(demo=pipeline_run()))
    slower, faster = missed_references(rows)
    assert slower.startswith("demo, steady cpu_ms p50: slower than the reference: 9.00, expected")
    assert "+12 %" in slower
    assert "make a new reference" in faster


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"invalid": ["the machine was busy"]}, "invalid: the machine was busy"),
        ({"models": {"b": {}}}, "not compared: other networks"),
        ({"threads": {"detector": 2}}, "not compared: other numbers of threads"),
        ({"command": "python -m benchmarks fps --frames 9"}, "not compared: it was"),
    ],
)
def test_runs_of_other_work_are_not_compared(change: dict[str, Any], reason: str) -> None:
    rows = compare_with_reference(suite(demo=pipeline_run() | change), suite(demo=pipeline_run()))
    assert all(row["verdict"].startswith(reason) for row in rows)
    assert len(missed_references(rows)) == 2, "not compared is not passed"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"board": "Raspberry Pi 4 Model B Rev 1.4"}, "another board"),
        ({"cores": 2}, "another cores"),
        ({"runs": {}}, "none of these runs"),
    ],
)
def test_another_board_is_refused(change: dict[str, Any], named: str) -> None:
    before = suite(demo=pipeline_run()) | change
    with pytest.raises(ConfigError, match=named):
        compare_with_reference(suite(demo=pipeline_run()), before)


def test_revisions_of_a_board_are_one_board() -> None:
    assert board_slug("Raspberry Pi 4 Model B Rev 1.4") == "raspberry-pi-4-model-b"
    assert board_slug("Raspberry Pi 4 Model B Rev 1.1") == "raspberry-pi-4-model-b"
    assert board_slug("AMD EPYC") == "amd-epyc"
    assert board_slug("?") == "unknown"


def test_the_reference_of_this_board_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "FOLDER", tmp_path)
    with pytest.raises(ConfigError, match=r"none for 'Raspberry Pi 5.*none yet"):
        load_reference("", "Raspberry Pi 5 Model B Rev 1.0")
    (tmp_path / "raspberry-pi-5-model-b.json").write_text(json.dumps(suite(demo=pipeline_run())))
    assert load_reference("", "Raspberry Pi 5 Model B Rev 1.0")["cores"] == 4


def test_every_reference_that_ships_can_be_loaded() -> None:
    for path in FOLDER.glob("*.json"):
        reference = load_reference(str(path), "")
        assert path.stem == board_slug(reference["board"])
        compare_with_reference(copy.deepcopy(reference), reference)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "expected a result of"),
        ("[]", "expected a result of"),
        ('{"benchmark": "fps", "runs": {}}', "expected a result of"),
        (json.dumps(suite() | {"invalid": ["demo: throttled"]}), "its run was invalid"),
        (None, "No such file"),
    ],
)
def test_a_reference_that_is_none_is_one_line(
    text: str | None, named: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "reference.json"
    if text is not None:
        path.write_text(text)
    line = refusal(main, ["suite", "--reference", str(path)], capfd)
    assert named in line
    assert str(path) in line


def test_a_run_that_does_not_exist_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert "expected names of demo" in refusal(main, ["suite", "--only", "warp"], capfd)
