"""What ``check`` reports of the number of threads of each network."""

import re
from pathlib import Path

import pytest

from edge.check.check import run_check
from edge.config import Config, DetectorConfig, ExpressionConfig, JournalConfig
from edge.vision.inference.threads import MostThreads


def test_the_number_is_shown_where_there_was_a_choice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MostThreads, "here", lambda: MostThreads(detect=2, classify=1))
    onnx = "centerface.onnx"
    config = Config(
        detector=DetectorConfig(artifact=onnx, region_artifact=onnx),
        expression=ExpressionConfig(artifact="expression.onnx"),
        journal=JournalConfig(path=str(tmp_path)),
    )
    run_check(config)
    found = re.findall(
        r"^ok +(\w+) \S+: auto chose threads = [12] \(1 [\d.]+ ms, 2 [\d.]+ ms; measured \S+\)$",
        capsys.readouterr().out,
        re.MULTILINE,
    )
    assert found == ["detector", "region_detector"], "the expression network has one core"
