"""The translator in measurements of speed: a stage, an inference, and a model of its own."""

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from tests.support.generators import translator_folder


@pytest.mark.parametrize("translated", [True, False])
def test_the_stage_is_measured_where_there_is_a_translator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], translated: bool
) -> None:
    out = tmp_path / "result.json"
    arguments = ["fps", "--source", "demo", "--in-memory", "--frames", "40", "--json", str(out)]
    if translated:
        arguments += ["--set", f'translator.model="{translator_folder(tmp_path)}"']
    assert main(arguments) == 0
    result = json.loads(out.read_text())
    if translated:
        assert result["stage_ms"]["translate"] > 0
        assert result["threads"]["translator"] == 1
        assert "translator" in result["models"]
    else:
        assert result["stage_ms"]["translate"] is None
        assert "translator" not in result["threads"]
    assert "translate" in capsys.readouterr().out
