"""What the report says of models, and the words to cite."""

import shutil
from pathlib import Path

import pytest

from edge import __version__
from edge.cli import run_command_line
from edge.errors import ModelError
from edge.results.facts import REASON_WORDS
from edge.results.models import read_accuracy
from edge.results.summary import REASONS
from edge.vision.inference import folders
from edge.vocabulary import EXPRESSIONS
from tests.support.daemons import ROOT
from tests.support.recorded import session, write_log


def test_the_figures_are_those_of_the_model_card() -> None:
    accuracy = read_accuracy(ROOT / "models/expression-nir")
    assert accuracy is not None
    page = (ROOT / "docs/accuracy.md").read_text()

    def short(value: float, digits: int) -> str:
        return f"{value:.{digits}f}".removeprefix("0")

    for measure in accuracy.measures:
        low, high = measure.interval
        row = f"| {short(measure.value, 3)}, {short(low, 2)} to {short(high, 2)} |"
        if measure.jittered is not None:
            row += f" {short(measure.jittered, 3)} |"
        assert row in page, measure.name
    for each in accuracy.expressions:
        low, high = each.interval
        row = f"| {each.name} | {each.photographs} | {short(each.f1, 2)} |"
        assert f"{row} {short(low, 2)} to {short(high, 2)} |" in page, each.name
    assert tuple(each.name for each in accuracy.expressions) == EXPRESSIONS


def test_wrong_figures_are_refused(tmp_path: Path) -> None:
    (tmp_path / "accuracy.json").write_text('{"schema": "affect.accuracy.v1"}')
    with pytest.raises(ModelError, match=r"accuracy.json: model: Field required"):
        read_accuracy(tmp_path)


def test_a_damaged_manifest_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    log = write_log(tmp_path / "log.jsonl", session(frames=9))
    words = ["report", str(log), "--out", str(tmp_path / "r.html")]
    installed = tmp_path / "expression-nir"
    shutil.copytree(ROOT / "models/expression-nir", installed)
    monkeypatch.setattr(folders, "model_roots", lambda: (tmp_path,))
    for content in (b"{", b"[]", b'{"source": null}', b"\xff"):
        (installed / "manifest.json").write_bytes(content)
        assert run_command_line(words) == 78
        said = capfd.readouterr().err.splitlines()
        assert said[-1].startswith(f"affect-edge: error: {installed}/manifest.json: ")
        assert len(said) == 2  # after how many pictures were read
    assert not (tmp_path / "r.html").exists()


def test_the_words_to_cite_are_those_of_the_citation_file() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {__version__}\n" in citation
    assert "  - name: affect-edge contributors\n" in citation
    assert "license: Apache-2.0\n" in citation


def test_every_reason_has_words() -> None:
    assert set(REASON_WORDS) == {*REASONS, "other_reason"}
