"""Golden answers of expression networks, and recalibrations in the manifest."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import ModelError
from edge.vision.inference import load_manifest
from edge.vision.inference.golden_schema import ExpressionGolden
from edge.vision.inference.manifest import Recalibration
from edge.vocabulary import EXPRESSIONS
from exporters.cli import main
from exporters.expression import export as exporter
from exporters.expression.export import export_expression
from exporters.expression.golden import Predict
from tests.support.command_errors import refusal
from tests.support.expression_networks import OURS


def test_a_recalibration_is_stored_and_applied_to_the_golden_answers(tmp_path: Path) -> None:
    recalibration = {"fitted_on": "a test", "samples": 9, "temperature": 2.0, "offsets": [0.5] * 8,
               "points": [[0.5, -0.5]] * 8}  # fmt: skip
    path = tmp_path / "setting.json"
    path.write_text(json.dumps(recalibration))
    words = ["mobilenet-fer", "--weights", str(OURS), "--recalibration", str(path)]
    assert main([*words, "--out", str(tmp_path / "net")]) == 0
    made, plain = load_manifest(tmp_path / "net"), export_expression(OURS, tmp_path / "plain")
    assert made.recalibration is not None
    assert made.recalibration.temperature == 2
    assert plain.recalibration is None
    assert isinstance(made.golden, ExpressionGolden)
    assert isinstance(plain.golden, ExpressionGolden)
    for soft, sharp in zip(made.golden.readings, plain.golden.readings, strict=False):
        if soft.box == sharp.box:
            roots = {name: share**0.5 for name, share in sharp.probabilities.items()}
            for name, share in soft.probabilities.items():
                assert share == pytest.approx(roots[name] / sum(roots.values()), abs=2e-3)
        assert (soft.valence, soft.arousal) == (0.5, -0.5)


def test_a_recalibration_narrows_the_golden_tolerances(
    tmp_path: Path,
) -> None:
    recalibration = {"fitted_on": "a test", "samples": 9, "temperature": 2.0, "offsets": [0.5] * 8}
    narrowed = []
    for name, mixing in (("plain", None), ("mixed", (np.eye(8) / 4).tolist())):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(recalibration | {"mixing": mixing}))
        words = ["mobilenet-fer", "--weights", str(OURS), "--recalibration", str(path)]
        assert main([*words, "--out", str(tmp_path / name)]) == 0
        golden = load_manifest(tmp_path / name).golden
        assert isinstance(golden, ExpressionGolden)
        narrowed.append(golden.log_probability_max)
    assert narrowed == pytest.approx([0.15 / 2, 0.15 * (1 / 2 + 1 / 4)])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file"),
        ("", "Invalid JSON"),
        ("[]", "should be an object"),
        ('{"fitted_on": "x", "samples": 1, "temperature": 1, "offsets": [0]}', "offsets: "),
    ],
)
def test_an_invalid_recalibration_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, complaint: str
) -> None:
    path = tmp_path / "setting.json"
    if content is not None:
        path.write_text(content)
    words = ["mobilenet-fer", "--weights", str(OURS), "--recalibration", str(path)]
    err = refusal(main, [*words, "--out", str(tmp_path / "net")], capsys)
    assert "--recalibration" in err
    assert complaint in err


def test_an_artifact_that_misses_the_golden_answers_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sad(
        predict: Predict, recalibration: Recalibration | None, **options: Any
    ) -> ExpressionGolden:
        known = golden(predict, recalibration, **options)
        reading = known.readings[0].model_copy(update={"valence": -0.5})
        return known.model_copy(update={"readings": (reading, *known.readings[1:])})

    golden = exporter.expression_golden
    monkeypatch.setattr(exporter, "expression_golden", sad)
    with pytest.raises(ModelError, match=r"valence -?0.\d\d, expected -0.50; nothing was exported"):
        export_expression(OURS, tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_the_golden_predictions_separate_all_labels(tmp_path: Path) -> None:
    """So swapped labels are detected in any network; the second region is chosen for that."""
    manifest = export_expression(OURS, tmp_path / "net")
    golden = manifest.golden
    assert isinstance(golden, ExpressionGolden)
    for one in EXPRESSIONS:
        for other in EXPRESSIONS:
            difference = max(
                abs(np.log(each.probabilities[one] / each.probabilities[other]))
                for each in golden.readings
            )
            assert one == other or difference > 2 * golden.log_probability_max
