"""``python -m exporters golden``: new golden answers, unchanged artifacts."""

import hashlib
import json
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from edge.errors import ModelError
from edge.vision.inference import find_model, load_manifest
from edge.vision.inference.golden_schema import TranslationGolden
from exporters.cli import main
from exporters.cyclegan.export import export_cyclegan
from exporters.golden import remake_golden
from tests.support.command_errors import refusal
from tests.support.generators import onnx_file

BUNDLED = (
    "centerface-320x192", "centerface-640x384", "centerface-96x96", "expression-nir",
    "nir-to-visible", "retinaface-320x192",
)  # fmt: skip


def copied(tmp_path: Path, model: str) -> Path:
    return Path(shutil.copytree(find_model(model), tmp_path / model))


@pytest.mark.parametrize("model", BUNDLED)
def test_the_bundled_golden_answers_are_up_to_date(tmp_path: Path, model: str) -> None:
    """If this fails after a change of resize or crop, the bundled golden answers are stale."""
    folder = copied(tmp_path, model)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["golden", "--model", str(folder)]) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_stale_answers_are_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied(tmp_path, "centerface-320x192")
    path = folder / "manifest.json"
    fresh = path.read_text()
    data = json.loads(fresh)
    data["golden"]["score"] = 0.75
    path.write_text(json.dumps(data))
    assert main(["golden", "--model", str(folder)]) == 0
    assert "every artifact gives them" in capsys.readouterr().out
    assert path.read_text() == fresh


def test_a_translators_answers_equal_those_of_its_export(tmp_path: Path) -> None:
    out = tmp_path / "net"
    exported = export_cyclegan(onnx_file(tmp_path / "g.onnx"), out, size=(64, 64), mono=True)
    remade = remake_golden(out)
    assert isinstance(exported.golden, TranslationGolden)
    assert isinstance(remade.golden, TranslationGolden)
    for one, other in zip(exported.golden.levels, remade.golden.levels, strict=True):
        assert one == pytest.approx(other, abs=0.2)
    assert load_manifest(out) == remade


def test_nothing_is_written_if_an_artifact_gives_other_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(tmp_path, "centerface-320x192")
    file = folder / "centerface.int8.onnx"
    model = onnx.load(folder / "centerface.onnx")
    for weight in model.graph.initializer:  # with all weights 0 it finds nothing
        values = numpy_helper.to_array(weight)
        weight.CopyFrom(numpy_helper.from_array(values * 0, weight.name))
    content = model.SerializeToString()
    file.write_bytes(content)
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    entry = next(each for each in data["artifacts"] if each["file"] == file.name)
    entry.update(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    path.write_text(json.dumps(data))
    before = path.read_bytes()
    line = refusal(main, ["golden", "--model", str(folder)], capsys)
    assert "centerface.int8.onnx: detector: golden face: no face found" in line
    assert "nothing was written" in line
    assert path.read_bytes() == before


def test_a_folder_without_a_float_network_is_refused(tmp_path: Path) -> None:
    folder = copied(tmp_path, "centerface-320x192")
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    data["artifacts"] = [each for each in data["artifacts"] if each["precision"] == "int8"]
    data["parity"] = {each["file"]: data["parity"][each["file"]] for each in data["artifacts"]}
    path.write_text(json.dumps(data))
    with pytest.raises(ModelError, match="no float artifact that passed parity"):
        remake_golden(folder)
