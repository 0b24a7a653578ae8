"""Readout: labels, encoding, recalibration and priors compared with their formulas."""

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.errors import ModelError
from edge.vision.expression.readout import Readout
from edge.vision.inference import find_model, load_manifest
from edge.vision.inference.manifest import Manifest, Recalibration
from edge.vocabulary import EXPRESSIONS

SHARES = st.lists(st.floats(0.001, 1), min_size=8, max_size=8)
NUMBERS = st.lists(st.floats(-4, 4), min_size=8, max_size=8)


def recalibration(**changed: Any) -> Recalibration:
    given = {"fitted_on": "a test", "samples": 8, "temperature": 1.0, "offsets": (0.0,) * 8}
    return Recalibration(**(given | changed))


def manifest(**changed: Any) -> Manifest:
    data = json.loads((find_model("expression-nir") / "manifest.json").read_text())
    return Manifest.model_validate_json(json.dumps(data | {"heads": None} | changed))


@given(SHARES, NUMBERS, st.floats(0.3, 5))
def test_recalibration_follows_its_formula(
    shares: list[float], offsets: list[float], temperature: float
) -> None:
    fitted = recalibration(offsets=tuple(offsets), temperature=temperature)
    readout = Readout(np.arange(8), False, fitted)
    outputs = np.array([shares], np.float32)
    probabilities, _ = readout.decode(outputs, np.zeros((1, 2), np.float32))
    total = sum(shares)
    powers = [
        (share / total) ** (1 / temperature) * math.exp(offset)
        for share, offset in zip(shares, offsets, strict=True)
    ]
    expected = np.array(powers) / sum(powers)
    np.testing.assert_allclose(probabilities[0], expected, rtol=2e-4, atol=1e-7)


@given(SHARES, NUMBERS, st.floats(0.3, 5), st.lists(NUMBERS, min_size=8, max_size=8))
def test_mixing_follows_its_formula_and_does_not_change_affect(
    shares: list[float], offsets: list[float], temperature: float, rows: list[list[float]]
) -> None:
    points = tuple((0.1 * index, -0.1 * index) for index in range(8))
    fitted = recalibration(offsets=tuple(offsets), temperature=temperature, points=points)
    mixed = fitted.model_copy(update={"mixing": tuple(map(tuple, rows))})
    outputs = np.array([shares], np.float32), np.zeros((1, 2), np.float32)
    probabilities, affect = Readout(np.arange(8), False, mixed).decode(*outputs)
    logs = [math.log(share / sum(shares)) for share in shares]
    middle = sum(logs) / 8
    logits = []
    for log, offset, row in zip(logs, offsets, rows, strict=True):
        mixed_in = sum(weight * (other - middle) for weight, other in zip(row, logs, strict=True))
        logits.append(log / temperature + offset + mixed_in)
    powers = [math.exp(each - max(logits)) for each in logits]
    np.testing.assert_allclose(
        probabilities[0], np.array(powers) / sum(powers), rtol=2e-3, atol=1e-6
    )
    _, unmixed = Readout(np.arange(8), False, fitted).decode(*outputs)
    np.testing.assert_array_equal(affect, unmixed)


@given(SHARES)
def test_identity_recalibration_changes_nothing(shares: list[float]) -> None:
    plain = Readout(np.arange(8), True, None)
    idle = Readout(np.arange(8), True, recalibration(mixing=((0.0,) * 8,) * 8))
    outputs = np.array([shares], np.float32), np.array([[0.3, 0.9]], np.float32)
    for one, other in zip(plain.decode(*outputs), idle.decode(*outputs), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_points_replace_the_affect_output() -> None:
    points = tuple((0.1 * index, -0.1 * index) for index in range(8))
    readout = Readout(np.arange(8), True, recalibration(points=points))
    one_hot = np.eye(8, dtype=np.float32)
    _, affect = readout.decode(one_hot, np.full((8, 2), 0.9, np.float32))
    np.testing.assert_allclose(affect, points, atol=1e-5)


@given(SHARES, st.lists(st.floats(0.01, 1), min_size=8, max_size=8), st.integers(0, 8))
def test_priors_are_bayes_rule_for_the_probabilities_alone(
    shares: list[float], weights: list[float], count: int
) -> None:
    points = tuple((0.1 * index, -0.1 * index) for index in range(8))
    total = sum(weights)  # all eight sum to 1; fewer leave a remainder for the others
    named = {name: weights[i] / total for i, name in enumerate(EXPRESSIONS[:count])}
    published = manifest(recalibration=recalibration(points=points).model_dump())
    logits = np.log([shares]).astype(np.float32)
    outputs = np.exp(logits) / np.exp(logits).sum(), np.zeros((1, 2), np.float32)
    probabilities, affect = Readout.of(published, named).decode(*outputs)
    remainder = (1 - sum(named.values())) / max(1, 8 - count)
    expected = np.array(
        [
            share * named.get(name, remainder)
            for share, name in zip(shares, EXPRESSIONS, strict=True)
        ]
    )
    expected /= expected.sum()
    np.testing.assert_allclose(probabilities[0], expected, rtol=2e-4, atol=1e-6)
    plain = np.array(shares) / sum(shares)
    np.testing.assert_allclose(affect[0], plain @ np.array(points), atol=1e-4)


@pytest.mark.parametrize("points", [None, tuple((0.1 * i, -0.1 * i) for i in range(8))])
@pytest.mark.parametrize("mixing", [None, ((0.3, *(0.1,) * 7),) * 8])
def test_priors_leave_valence_and_arousal_whatever_the_recalibration_holds(
    points: Any, mixing: Any
) -> None:
    fitted = recalibration(points=points, mixing=mixing, temperature=1.7).model_dump()
    published = manifest(recalibration=fitted)
    outputs = (
        np.array([[0.1, 0.2, 0.3, 0.1, 0.1, 0.1, 0.05, 0.05]], np.float32),
        np.array([[0.7, 0.2]], np.float32),
    )
    plain, affect = Readout.of(published).decode(*outputs)
    for priors in ({"neutral": 0.98}, {"happy": 0.5, "sad": 0.4}):
        weighted, same = Readout.of(published, priors).decode(*outputs)
        np.testing.assert_array_equal(same, affect)
        assert abs(weighted - plain).max() > 0.1


def test_uniform_priors_change_nothing() -> None:
    published = manifest()
    outputs = (
        np.array([[0.1, 0.2, 0.3, 0.1, 0.1, 0.1, 0.05, 0.05]], np.float32),
        np.zeros((1, 2), np.float32),
    )
    uniform = Readout.of(published, dict.fromkeys(EXPRESSIONS, 0.125))
    for one, other in zip(
        uniform.decode(*outputs), Readout.of(published).decode(*outputs), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert Readout.of(published, {}).log_priors is None


def test_extreme_priors_give_probabilities() -> None:
    outputs = np.eye(8, dtype=np.float32), np.zeros((8, 2), np.float32)
    for prior in (1e-30, 1 - 1e-15):
        probabilities, _ = Readout.of(manifest(), {"neutral": prior}).decode(*outputs)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_priors_need_a_recalibration() -> None:
    with pytest.raises(ModelError, match=r"no recalibration.*expected no expression\.priors"):
        Readout.of(manifest(recalibration=None), {"neutral": 0.7})


def test_labels_are_reordered_and_zeros_stay_zeros() -> None:
    order = np.array([2, 0, 1, 3, 4, 5, 6, 7])
    probabilities, affect = Readout(order, True, None).decode(
        np.array([[0.1, 0.2, 0.3, 0, 0, 0, 0, 0], [0] * 8], np.float32),
        np.array([[0.5, 1.0], [0.0, 0.25]], np.float32),
    )
    np.testing.assert_allclose(probabilities[0, :3], [3 / 6, 1 / 6, 2 / 6], atol=1e-6)
    assert not probabilities[1].any()
    np.testing.assert_allclose(affect, [[0, 1], [-1, -0.5]])


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"offsets": (0.0,) * 7},
        {"offsets": (math.nan,) * 8},
        {"points": ((0.0, 0.0),) * 9},
        {"points": ((0.0, 5.5),) * 8},
        {"mixing": ((0.0,) * 8,) * 7},
        {"mixing": (*((0.0,) * 8,) * 7, (0.0,) * 9)},
        {"mixing": ((5.5,) * 8,) * 8},
        {"samples": 0},
        {"fitted_on": ""},
        {"strength": 1},
    ],
)
def test_invalid_recalibration_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        recalibration(**wrong)


def test_recalibration_of_a_detector_is_refused() -> None:
    data = json.loads((find_model("centerface-320x192") / "manifest.json").read_text())
    data["recalibration"] = recalibration().model_dump()
    with pytest.raises(ValidationError, match="has no expressions"):
        Manifest.model_validate_json(json.dumps(data))


def test_readout_is_made_from_the_manifest() -> None:
    fitted = recalibration(temperature=2.0)
    names = [*reversed(EXPRESSIONS)]
    readout = Readout.of(manifest(labels=names, recalibration=fitted.model_dump()))
    assert readout.order.tolist() == [*reversed(range(8))]
    assert readout.affect_in_0_1
    assert readout.recalibration == fitted
    assert load_manifest(find_model("centerface-320x192")).recalibration is None


def seven(readout: Readout) -> Readout:
    """Return the readout of a network without contempt, its labels in the same order."""
    return dataclasses.replace(readout, order=np.array([0, 1, 2, 3, 4, 5, 6, -1]))


@given(SHARES, NUMBERS, st.floats(0.3, 5), st.lists(NUMBERS, min_size=8, max_size=8))
def test_an_unknown_expression_changes_no_other_one(
    shares: list[float], offsets: list[float], temperature: float, rows: list[list[float]]
) -> None:
    """The result is that of seven expressions alone, whatever its row and column of the mixing."""
    fitted = recalibration(
        offsets=tuple(offsets), temperature=temperature, mixing=tuple(map(tuple, rows))
    )
    readout = seven(Readout(np.arange(8), False, fitted))
    assert readout.unknown == ("contempt",)
    outputs = np.array([shares[:7]], np.float32), np.zeros((1, 2), np.float32)
    probabilities, _ = readout.decode(*outputs)
    logs = np.log(np.array(shares[:7]) / sum(shares[:7]))
    logits = logs / temperature + np.array(offsets[:7])
    logits += np.array(rows)[:7, :7] @ (logs - logs.mean())
    powers = np.exp(logits - logits.max())
    np.testing.assert_allclose(
        probabilities[0], [*(powers / powers.sum()), 0], rtol=2e-3, atol=1e-6
    )


@given(SHARES)
def test_anchors_give_affect_to_a_network_without_it(shares: list[float]) -> None:
    anchors = np.array([[0.1 * place, 0.9 - 0.2 * place] for place in range(8)], np.float32)
    readout = Readout(np.arange(8), False, None, anchors=anchors)
    assert readout.affect_source == "anchors"
    probabilities, affect = readout.decode(np.array([shares], np.float32))
    weights = np.array(shares) / sum(shares)
    np.testing.assert_allclose(affect[0], weights @ anchors.astype(np.float64), atol=1e-5)
    np.testing.assert_allclose(probabilities[0], weights, atol=1e-6)


def test_fitted_points_go_before_anchors() -> None:
    points = tuple((0.5, -0.5) for _ in range(8))
    readout = Readout(
        np.arange(8), False, recalibration(points=points), anchors=np.zeros((8, 2), np.float32)
    )
    assert readout.affect_source == "recalibration"
    _, affect = readout.decode(np.ones((1, 8), np.float32))
    assert affect[0].tolist() == pytest.approx([0.5, -0.5])


def test_a_prior_of_an_unknown_expression_is_refused() -> None:
    data = manifest().model_dump(mode="json")
    labels = [each for each in data["labels"] if each != "contempt"]
    for reading in data["golden"]["readings"]:
        del reading["probabilities"]["contempt"]
    known = manifest(labels=labels, unknown_expressions=["contempt"], golden=data["golden"])
    with pytest.raises(ModelError, match=r"does not know contempt; expected expression\.priors of"):
        Readout.of(known, {"contempt": 0.1})
