"""Recalibration on photographs, and evaluation of model folders."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.evaluation.metrics import ccc
from edge.vocabulary import EXPRESSIONS
from tests.support.training_data import ferplus_file, synthetic_photographs

pytestmark = pytest.mark.export

torch = pytest.importorskip("torch", reason="needs the exporters' tools: make setup-export")


def test_a_recalibration_is_evaluated_on_people_it_was_not_fitted_to() -> None:
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
    for module in network.modules():  # random weights, but all of them at work
        if isinstance(module, ResidualBlock):
            torch.nn.init.ones_(module.second_norm.weight)
    for _ in range(30):
        network.train()(normalise(nir.crops))
    network.eval()
    options = AdaptOptions(views=4, strength=0.0)
    predictions = predict_all(predictor_from_network(network), nir, options)
    told, shares, affect = cross_validate(predictions, nir, options)
    assert np.allclose(shares.sum(1), 1, atol=1e-5)
    assert np.abs(affect).max() <= 1
    again, _, _ = cross_validate(
        predict_all(predictor_from_network(network), nir, options), nir, options
    )
    assert again == told
    # beside: other crops of the same faces, read by the same fits
    assert set(told["jittered"]) == {
        "top1", "macro_f1", "ccc_valence", "ccc_arousal", "log_loss", "ece"
    }  # fmt: skip
    assert abs(told["jittered"]["top1"] - told["top1"]["value"]) < 0.3
    # each person's first neutral photograph is not scored; without it, the rest reads as before
    personal = told["personal_baseline"]
    assert personal["scored"] == len(nir) - 6
    rest = np.array([index for index in range(len(nir)) if index % 8])
    right = shares[rest].argmax(1) == np.asarray(nir.labels)[rest]
    assert personal["without"]["as_detected"]["top1"] == pytest.approx(right.mean())
    assert personal["as_detected"] != personal["without"]["as_detected"]
    # a change from rest is told as the daemon tells it
    own = rest // 8 * 8
    kept = np.abs(affect[own]).max(1) <= 0.9
    moved = np.tanh(np.arctanh(affect[rest].clip(-0.9999, 0.9999)) - np.arctanh(affect[own]))
    change = np.asarray(nir.affect[rest] - nir.affect[own])
    for axis, name in enumerate(("ccc_valence", "ccc_arousal")):
        agreed = ccc(moved[kept, axis], change[kept, axis])
        assert personal["change"]["as_detected"][name] == pytest.approx(agreed, abs=2e-3)
        agreed = ccc(affect[rest][kept, axis], change[kept, axis])
        assert personal["change"]["without"]["as_detected"][name] == pytest.approx(agreed)
    # a person's own annotations have no part in what is read from that person
    forged = nir.affect.clone()
    forged[nir.of({"2"})] = torch.tensor([-1.0, 1.0])
    changed = dataclasses.replace(nir, affect=forged)
    _, _, other = cross_validate(predictions, changed, options)
    assert np.array_equal(other[nir.of({"2"})], affect[nir.of({"2"})])
    assert not np.array_equal(other, affect)
    # four expressions of eight are never shown: they must be named less often than by the network
    setting = fit(predictions, nir, nir.of(set(nir.subjects)), options)
    assert setting.samples == len(nir)
    assert max(setting.offsets[4:]) < min(setting.offsets[:4])


def test_a_model_folder_is_recalibrated_for_another_domain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The golden face, called sad and happy: sad must become likelier than the network says."""
    import cv2

    from edge.vision.golden import golden_picture
    from edge.vision.inference.manifest import Recalibration
    from exporters.recipes.__main__ import main

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
    assert main([*words, "--fitted-on", " "]) == 78
    assert "--fitted-on: empty" in capsys.readouterr().err
    assert main([*words, "--fitted-on", "the chamber's own camera"]) == 0
    assert json.loads(capsys.readouterr().out)["top1"]["value"] >= 0
    setting = Recalibration.model_validate_json((tmp_path / "setting.json").read_bytes())
    assert (setting.samples, setting.fitted_on) == (4, "the chamber's own camera")
    offsets = dict(zip(EXPRESSIONS, setting.offsets, strict=True))
    assert max(offsets, key=lambda name: offsets[name]) == "sad"
    labels.write_text("\n".join([rows[0], rows[1], rows[3]]) + "\n")  # of one person
    assert main(words) == 78
    assert "one person only" in capsys.readouterr().err


def test_a_model_folder_is_evaluated_on_ferplus_with_and_without_class_priors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from exporters.recipes.__main__ import main

    data = str(ferplus_file(tmp_path / "a.npz"))
    assert main(["rated", "--model", "expression-nir", "--data", data]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["crops"] == 80
    assert sum(told["priors"].values()) == pytest.approx(1)
    rows = [
        told[name]
        for name in ("network", "recalibrated", "recalibrated_neutral_prior", "recalibrated_priors")
    ]
    assert all(0 <= row["top1"] <= 1 and 0 < row["log_loss"] < 20 for row in rows)
    assert len({row["log_loss"] for row in rows}) == 4
    assert main(["rated", "--model", "mobilenet-fer-of-96", "--data", data]) == 78
    assert "no bundled model of that name" in capsys.readouterr().err


def test_pictures_that_agree_wholly_still_give_what_a_manifest_holds() -> None:
    from edge.vision.inference.manifest import Recalibration
    from exporters.recipes.adapt import AdaptOptions, Predictions, fit

    nir = synthetic_photographs(participants=2)
    sure = 50 * torch.nn.functional.one_hot(nir.labels, 8).float()
    setting = fit(
        Predictions(sure, sure[None], sure[None]), nir, nir.of({"0", "1"}), AdaptOptions()
    )
    Recalibration.model_validate_json(setting.model_dump_json())


@pytest.mark.parametrize(
    "words",
    [
        ["recalibrate", "--model", "expression-nir", "--out", "{tmp}/gone/x.json"],
        ["recalibrate", "--model", "expression-nir", "--out", "{tmp}"],
        ["adapt", "--run", "{tmp}", "--out", "{tmp}/x.json"],
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    from exporters.recipes.__main__ import main

    given = [word.format(tmp=tmp_path) for word in words]
    assert main([*given, "--images", str(tmp_path), "--labels", str(tmp_path / "no.csv")]) == 78
    err = capsys.readouterr().err
    assert "--out" in err
    assert err.count("\n") == 1


def test_known_priors_are_found_again() -> None:
    from exporters.recipes.adapt import fit_priors

    random = torch.Generator().manual_seed(2)
    true = torch.tensor([1.0, 0.5, 0.0, -0.5, 0.5, 0.0, -0.5, -1.0])
    logits = 3 * torch.randn(40_000, 8, generator=random)
    shares = torch.softmax(logits / 2 + true, 1)
    labels = torch.multinomial(shares, 1, generator=random).flatten()
    temperature, offsets = fit_priors(logits, labels, balance=0.0, offset_penalty=0.0)
    assert temperature == pytest.approx(2, rel=0.03)
    assert offsets == pytest.approx(true.tolist(), abs=0.06)


def test_an_expression_that_other_logits_indicate_is_named_through_the_mixing() -> None:
    """Surprise leans to disgust and happiness away from it; nobody shows disgust."""
    from edge.vision.expression.readout import Readout
    from exporters.recipes.adapt import AdaptOptions, Predictions, fit

    nir = synthetic_photographs(participants=6)  # of expressions 0 to 3
    random = torch.Generator().manual_seed(4)
    logits = torch.randn(12, len(nir), 8, generator=random) * 0.3
    logits[:, :, 5] += 2.0 * (nir.labels == 3) - 2.0 * (nir.labels == 1)  # 5: shown by nobody
    logs = torch.log_softmax(logits, 2)
    everybody = nir.of(set(nir.subjects))
    setting = fit(Predictions(logs[0], logs[:1], logs), nir, everybody, AdaptOptions())
    assert setting.mixing is not None
    assert setting.mixing[3][5] > 0.1 > -0.1 > setting.mixing[1][5]

    def right(mixing: Any) -> float:
        readout = Readout(np.arange(8), False, setting.model_copy(update={"mixing": mixing}))
        shares, _ = readout.decode(np.asarray(logs[0].exp()), np.zeros((len(nir), 2), np.float32))
        return float((shares.argmax(1) == np.asarray(nir.labels)).mean())

    assert right(setting.mixing) > right(None) + 0.1
