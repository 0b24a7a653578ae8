"""Heads fitted to photographs: what they learn, and that people left out stay out."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.vocabulary import EXPRESSIONS
from tests.support.command_errors import refusal

pytestmark = pytest.mark.export

torch = pytest.importorskip("torch", reason="needs the exporters' tools: make setup-export")


def head_data(people: int = 6, *, without_mesh: tuple[int, ...] = ()) -> Any:
    """Photographs whose features tell smiles from the rest, and whose coefficients tell fear."""
    from exporters.recipes.adapt import Predictions
    from exporters.recipes.fitted_heads import HeadData, HeadInputs
    from exporters.recipes.nirfaces import NirFaces

    random = torch.Generator().manual_seed(3)
    count = 8 * people
    labels = torch.arange(count) % 8
    logits = torch.randn(3, count, 8, generator=random) * 0.2
    logs = torch.log_softmax(logits, 2)
    features = torch.randn(3, count, 5, generator=random) * 0.3
    features[..., 2] += 4.0 * (labels == 1)
    coefficients = 0.2 + 0.1 * torch.rand(3, count, 52, generator=random)
    coefficients[..., 9] += 0.6 * (labels == 4)
    for place in without_mesh:
        coefficients[:, place] = torch.nan
    affect = torch.stack([(labels == 1).float(), (labels == 4).float() - 0.2], 1)
    empty = torch.zeros(count, 1, 2, 2)
    nir = NirFaces(
        empty, empty, empty[None].repeat(2, 1, 1, 1, 1), labels, affect,
        tuple(str(index // 8) for index in range(count)), (None,) * count, coefficients,
    )  # fmt: skip
    predictions = Predictions(logs[0], logs[1:], logs)
    return HeadData(nir, predictions, HeadInputs(logs, features, coefficients))


def fitted(data: Any, people: set[str], *, mesh: bool) -> tuple[Any, Any]:
    from exporters.recipes.adapt import AdaptOptions, fit
    from exporters.recipes.fitted_heads import DEFAULT_OPTIONS, fit_head, fits_of

    options = AdaptOptions()
    recalibration = fit(data.predictions, data.nir, data.nir.indices_of(people), options)
    steps: list[None] = []
    head = fit_head(
        data, people, recalibration, (DEFAULT_OPTIONS, options), mesh=mesh,
        done=lambda: steps.append(None),
    )  # fmt: skip
    assert len(steps) == fits_of(len(people))
    return recalibration, head


def test_heads_use_features_and_coefficients_and_give_what_they_predict_better() -> None:
    from exporters.recipes.head_evaluation import decoded

    data = head_data(without_mesh=(12,))
    everybody = set(data.nir.subjects)
    recalibration, plain = fitted(data, everybody, mesh=False)
    _, with_mesh = fitted(data, everybody, mesh=True)
    assert (plain.samples, with_mesh.samples, plain.people) == (48, 47, 6)
    labels = np.asarray(data.nir.labels)
    heads = (plain, with_mesh)
    shares, _ = decoded(data.inputs, recalibration, heads, mesh=False)
    better, affect = decoded(data.inputs, recalibration, heads, mesh=True)
    smiles, fears = labels == 1, labels == 4
    assert (shares[0][smiles].argmax(1) == 1).all()
    assert (shares[0][fears].argmax(1) == 4).mean() < 0.7
    seen = fears.copy()
    seen[12] = False  # without a mesh: predicted by features
    assert (better[0][seen].argmax(1) == 4).all()
    np.testing.assert_array_equal(better[0][12], shares[0][12])
    # fear shows in coefficients alone, and so does its arousal
    assert with_mesh.arousal is not None
    assert affect[0][seen, 1].mean() > affect[0][~fears, 1].mean() + 0.3


def test_fits_use_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that wait for one another took four times as long on a busy machine."""
    seen: set[int] = set()
    genuine = torch.optim.LBFGS.step

    def step(optimiser: Any, closure: Any) -> Any:
        seen.add(torch.get_num_threads())
        return genuine(optimiser, closure)

    monkeypatch.setattr(torch.optim.LBFGS, "step", step)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        data = head_data(people=2)
        fitted(data, set(data.nir.subjects), mesh=True)
        assert (seen, torch.get_num_threads()) == ({1}, 2)
    finally:
        torch.set_num_threads(before)


def test_the_head_of_others_does_not_depend_on_a_person_left_out() -> None:
    data = head_data()
    others = set(data.nir.subjects) - {"2"}
    _, before = fitted(data, others, mesh=True)
    rows = data.nir.indices_of({"2"})
    labels, coefficients = data.nir.labels.clone(), data.inputs.coefficients.clone()
    labels[rows], coefficients[:, rows] = 6, 0.9
    nir = dataclasses.replace(data.nir, labels=labels)
    inputs = dataclasses.replace(data.inputs, coefficients=coefficients)
    _, after = fitted(dataclasses.replace(data, nir=nir, inputs=inputs), others, mesh=True)
    assert after == before
    _, everybody = fitted(data, set(data.nir.subjects), mesh=True)
    assert everybody != before


def test_one_command_makes_a_model_folder_of_photographs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The golden face, annotated as happy, and its dark half as sad."""
    import cv2

    from edge.vision.golden import golden_picture, network_findings
    from edge.vision.inference import load_manifest, open_network
    from exporters.recipes.cli import main

    face, _ = golden_picture()
    rows = ["file,subject,expression,valence,arousal,glasses"]
    for index in range(8):
        name = f"{index}.png"
        cv2.imwrite(str(tmp_path / name), np.clip(face * (0.6 + 0.05 * index), 0, 255))
        label = ("happy", "sad")[index % 2]
        worn = "yes" if index < 2 else "no"
        rows.append(f"{name},{index // 2},{label},{0.5 - index % 2},0.1,{worn}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    out = tmp_path / "mine"
    words = ["recalibrate", "--model", "expression-nir", "--images", str(tmp_path),
             "--labels", str(tmp_path / "labels.csv"), "--out", str(out)]  # fmt: skip
    assert main([*words, "--fitted-on", "a test"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["heads"]) == {"recalibration", "features", "mesh"}
    assert [each["person"] for each in result["heads"]["mesh"]["chosen"]] == list("0123")
    assert set(result["heads"]["mesh"]["gain"]) >= {"top1", "macro_f1"}
    for head in result["heads"].values():
        groups = head["glasses"]
        assert (groups["with"]["n"], groups["without"]["n"]) == (2, 6)
        assert groups["with"]["annotated"] == head["people"]["0"]["annotated"]
        assert groups["with"]["annotated"]["happy"] == 0.5
        assert sum(groups["without"]["predicted"].values()) == pytest.approx(1)
    manifest = load_manifest(out)
    assert [(head.people, head.fitted_on) for head in manifest.heads or ()] == [(4, "a test")] * 2
    network = open_network(out, task="facial-expression", artifact="expression.onnx")
    assert network_findings(network) == []
    assert manifest.parity["expression.onnx"].passed
    assert manifest.name == "mine"
    assert "new name in a folder" in refusal(main, words, capsys)  # it is there now
    assert all(name in EXPRESSIONS for name in manifest.labels)
