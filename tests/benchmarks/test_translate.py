"""``benchmarks fps`` with and without a translator."""

import json
from pathlib import Path

import pytest

from benchmarks.cli import main
from tests.support.generators import translator_folder


@pytest.mark.parametrize("translated", [True, False])
def test_the_translate_stage_is_measured_if_a_translator_is_configured(
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
