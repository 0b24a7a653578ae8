"""Recalibration on photographs, and evaluation of model folders."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.evaluation.metrics import ccc
from edge.vocabulary import EXPRESSIONS
from tests.support.command_errors import refusal
from tests.support.training_data import ferplus_file, synthetic_photographs

pytestmark = pytest.mark.export

torch = pytest.importorskip("torch", reason="needs the exporters' tools: make setup-export")


def test_a_recalibration_is_evaluated_on_people_left_out_of_the_fit() -> None:
    from exporters.recipes.adapt import (
        AdaptOptions,
        cross_validate,
        fit,
        predict_all,
        predictor_from_network,
    )
    from exporters.recipes.augmentation import normalise
    from exporters.recipes.networks import ExpressionNetwork, ResidualBlock

    torch.manual_seed(3)
    network, nir = ExpressionNetwork((16, 24, 48, 96)), synthetic_photographs(participants=6)
    for module in network.modules():  # random weights that all have an effect
        if isinstance(module, ResidualBlock):
            torch.nn.init.ones_(module.second_norm.weight)
    for _ in range(30):
        network.train()(normalise(nir.crops))
    network.eval()
    options = AdaptOptions(views=4, strength=0.0)
    predictions = predict_all(predictor_from_network(network), nir, options)
    result, shares, affect = cross_validate(predictions, nir, options)
    assert np.allclose(shares.sum(1), 1, atol=1e-5)
    assert np.abs(affect).max() <= 1
    again, _, _ = cross_validate(
        predict_all(predictor_from_network(network), nir, options), nir, options
    )
    assert again == result
    # jittered: other crops of the same faces, predicted with the same fits
    assert set(result["jittered"]) == {
        "top1", "macro_f1", "ccc_valence", "ccc_arousal", "log_loss", "ece"
    }  # fmt: skip
    assert abs(result["jittered"]["top1"] - result["top1"]["value"]) < 0.3
    # each person's first neutral photograph is not scored; the others are unchanged
    personal = result["personal_baseline"]
    assert personal["scored"] == len(nir) - 6
    scored = np.array([index for index in range(len(nir)) if index % 8])
    right = shares[scored].argmax(1) == np.asarray(nir.labels)[scored]
    assert personal["without"]["as_detected"]["top1"] == pytest.approx(right.mean())
    assert personal["as_detected"] != personal["without"]["as_detected"]
    # changes from the baseline are computed as in the daemon
    own = scored // 8 * 8
    kept = np.abs(affect[own]).max(1) <= 0.9
    predicted_change = np.tanh(
        np.arctanh(affect[scored].clip(-0.9999, 0.9999)) - np.arctanh(affect[own])
    )
    change = np.asarray(nir.affect[scored] - nir.affect[own])
    for axis, name in enumerate(("ccc_valence", "ccc_arousal")):
        agreed = ccc(predicted_change[kept, axis], change[kept, axis])
        assert personal["change"]["as_detected"][name] == pytest.approx(agreed, abs=2e-3)
        agreed = ccc(affect[scored][kept, axis], change[kept, axis])
        assert personal["change"]["without"]["as_detected"][name] == pytest.approx(agreed)
    # a person's predictions do not depend on that person's annotations
    changed_affect = nir.affect.clone()
    changed_affect[nir.indices_of({"2"})] = torch.tensor([-1.0, 1.0])
    changed = dataclasses.replace(nir, affect=changed_affect)
    _, _, other = cross_validate(predictions, changed, options)
    assert np.array_equal(other[nir.indices_of({"2"})], affect[nir.indices_of({"2"})])
    assert not np.array_equal(other, affect)
    # four of the eight expressions never occur: their offsets must be lower
    recalibration = fit(predictions, nir, nir.indices_of(set(nir.subjects)), options)
    assert recalibration.samples == len(nir)
    assert max(recalibration.offsets[4:]) < min(recalibration.offsets[:4])


def test_a_model_folder_is_recalibrated_for_another_domain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The golden face, annotated as sad and happy: sad must become more probable."""
    import cv2

    from edge.vision.golden import golden_picture
    from edge.vision.inference.manifest import Recalibration
    from exporters.recipes.cli import main

    face, _ = golden_picture()
    rows = ["file,subject,expression,valence,arousal"]
    for index in range(4):
        name = f"{index}.png"
        cv2.imwrite(str(tmp_path / name), np.clip(face * (0.7 + 0.1 * index), 0, 255))
        rows.append(f"{name},{index % 2},{('sad', 'happy')[index // 2]},-0.5,-0.2")
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(rows) + "\n")
    words = ["recalibrate", "--model", "expression-nir", "--images", str(tmp_path),
             "--labels", str(labels), "--out", str(tmp_path / "setting.json")]  # fmt: skip
    assert "--fitted-on: empty" in refusal(main, [*words, "--fitted-on", " "], capsys)
    assert main([*words, "--fitted-on", "the chamber's own camera"]) == 0
    assert json.loads(capsys.readouterr().out)["top1"]["value"] >= 0
    recalibration = Recalibration.model_validate_json((tmp_path / "setting.json").read_bytes())
    assert (recalibration.samples, recalibration.fitted_on) == (4, "the chamber's own camera")
    offsets = dict(zip(EXPRESSIONS, recalibration.offsets, strict=True))
    assert max(offsets, key=lambda name: offsets[name]) == "sad"
    labels.write_text("\n".join([rows[0], rows[1], rows[3]]) + "\n")  # of one person
    assert "one person only" in refusal(main, words, capsys)


def test_a_model_folder_is_evaluated_on_ferplus_with_and_without_priors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from exporters.recipes.cli import main

    data = str(ferplus_file(tmp_path / "a.npz"))
    assert main(["rated", "--model", "expression-nir", "--data", data]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["crops"] == 80
    assert sum(result["priors"].values()) == pytest.approx(1)
    rows = [
        result[name]
        for name in ("network", "recalibrated", "recalibrated_neutral_prior", "recalibrated_priors")
    ]
    assert all(0 <= row["top1"] <= 1 and 0 < row["log_loss"] < 20 for row in rows)
    assert len({row["log_loss"] for row in rows}) == 4
    command = ["rated", "--model", "mobilenet-fer-of-96", "--data", data]
    assert "no bundled model of that name" in refusal(main, command, capsys)


def test_error_free_predictions_give_a_valid_recalibration() -> None:
    from edge.vision.inference.manifest import Recalibration
    from exporters.recipes.adapt import AdaptOptions, Predictions, fit

    nir = synthetic_photographs(participants=2)
    confident = 50 * torch.nn.functional.one_hot(nir.labels, 8).float()
    recalibration = fit(
        Predictions(confident, confident[None], confident[None]),
        nir,
        nir.indices_of({"0", "1"}),
        AdaptOptions(),
    )
    Recalibration.model_validate_json(recalibration.model_dump_json())


@pytest.mark.parametrize(
    "words",
    [
        ["recalibrate", "--model", "expression-nir", "--out", "{tmp}/gone/x.json"],
        ["recalibrate", "--model", "expression-nir", "--out", "{tmp}"],
        ["adapt", "--run", "{tmp}", "--out", "{tmp}/x.json"],
    ],
)
def test_an_unwritable_output_is_refused_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    from exporters.recipes.cli import main

    given = [word.format(tmp=tmp_path) for word in words]
    command = [*given, "--images", str(tmp_path), "--labels", str(tmp_path / "no.csv")]
    assert "--out" in refusal(main, command, capsys)


def test_known_priors_are_recovered() -> None:
    from exporters.recipes.adapt import fit_priors

    random = torch.Generator().manual_seed(2)
    true = torch.tensor([1.0, 0.5, 0.0, -0.5, 0.5, 0.0, -0.5, -1.0])
    logits = 3 * torch.randn(40_000, 8, generator=random)
    shares = torch.softmax(logits / 2 + true, 1)
    labels = torch.multinomial(shares, 1, generator=random).flatten()
    temperature, offsets = fit_priors(logits, labels, balance=0.0, offset_penalty=0.0)
    assert temperature == pytest.approx(2, rel=0.03)
    assert offsets == pytest.approx(true.tolist(), abs=0.06)


def test_the_mixing_uses_the_logits_of_other_expressions() -> None:
    """Surprise raises the logit of disgust and happiness lowers it; nobody shows disgust."""
    from edge.vision.expression.readout import Readout
    from exporters.recipes.adapt import AdaptOptions, Predictions, fit

    nir = synthetic_photographs(participants=6)  # of expressions 0 to 3
    random = torch.Generator().manual_seed(4)
    logits = torch.randn(12, len(nir), 8, generator=random) * 0.3
    logits[:, :, 5] += 2.0 * (nir.labels == 3) - 2.0 * (nir.labels == 1)  # 5: shown by nobody
    logs = torch.log_softmax(logits, 2)
    everybody = nir.indices_of(set(nir.subjects))
    recalibration = fit(Predictions(logs[0], logs[:1], logs), nir, everybody, AdaptOptions())
    assert recalibration.mixing is not None
    assert recalibration.mixing[3][5] > 0.1 > -0.1 > recalibration.mixing[1][5]

    def right(mixing: Any) -> float:
        readout = Readout(np.arange(8), False, recalibration.model_copy(update={"mixing": mixing}))
        shares, _ = readout.decode(np.asarray(logs[0].exp()), np.zeros((len(nir), 2), np.float32))
        return float((shares.argmax(1) == np.asarray(nir.labels)).mean())

    assert right(recalibration.mixing) > right(None) + 0.1
