"""``benchmarks table``: one table of artifacts, schedules and translator."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import table
from benchmarks.cli import main
from edge.errors import EXIT_CONFIG
from tests.support.generators import translator_folder


def test_each_cell_names_its_artifacts_and_what_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []

    def fps_apart(arguments: list[str]) -> tuple[int, dict[str, Any]]:
        asked.append(arguments)
        if len(asked) == 2:
            return 1, {"failed": "the camera burns"}
        return 0, {
            "fps": 40.0, "latency_cpu_ms": {"p50": 5.0}, "outside_cpu_ms": 0.5, "models": {},
            "invalid": [], "board": "here", "cores": 2, "governor": None, "throttled": None,
            "threads": {}, "versions": {}, "commit": "0", "date": "today",
        }  # fmt: skip

    monkeypatch.setattr(table, "fps_apart", fps_apart)
    translator = f"translator.model={json.dumps(str(translator_folder(tmp_path)))}"
    path = tmp_path / "table.json"
    command = ["table", "--frames", "7", "--set", translator, "--json", str(path)]
    assert main(command) == 1  # a cell failed
    result = json.loads(path.read_text())
    assert len(result["cells"]) == len(asked) == 12
    assert result["missed"] == ["float, region: the camera burns"]
    by_name = {cell["name"]: words for cell, words in zip(result["cells"], asked, strict=True)}
    words = by_name["int8 ONNX, region"]
    for setting in (
        'detector.artifact="centerface.int8.onnx"',
        'detector.region_artifact="centerface.onnx"',
        'expression.artifact="expression.int8.onnx"',
        'detector.schedule="region"',
        'translator.model=""',
    ):
        assert words[words.index(setting) - 1] == "--set"
    assert words[words.index("--frames") + 1] == "7"
    assert "centerface-96x96" in result["cells"][4]["instead"]
    words = by_name["float, every-frame, translated"]
    assert 'translator.model=""' not in words
    assert words[words.index("--frames") + 1] == str(table.TRANSLATED_FRAMES)
    shown = capsys.readouterr().out
    assert "in float instead: centerface-96x96" in shown
    assert "MISSED: float, region: the camera burns" in shown


def test_a_cell_is_measured_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "ARTIFACTS", {"float": table.ARTIFACTS["float"]})
    monkeypatch.setattr(table, "SCHEDULES", ("region",))
    path = tmp_path / "table.json"
    assert main(["table", "--frames", "2", "--json", str(path)]) == 0
    (cell,) = json.loads(path.read_text())["cells"]
    assert cell["result"]["frames"] == 2
    assert list(cell["result"]["models"]["centerface-96x96"]) == ["centerface.onnx"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--frames", "0"), "--frames 0: expected 1 or more"),
        (("--translated-frames", "-1"), "--translated-frames -1: expected 1 or more"),
        (("--set", 'detector.schedule="every-frame"'), 'expected "region"'),
        (("--set", 'translator.model="/nowhere"'), "/nowhere"),
    ],
)
def test_wrong_arguments_are_refused_before_the_first_cell(
    arguments: tuple[str, ...], expected: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(subprocess, "run", None)
    assert main(["table", *arguments]) == EXIT_CONFIG
    assert expected in capsys.readouterr().err
