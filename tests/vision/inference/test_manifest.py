"""The manifest: valid ones are loaded, each inconsistency is named."""

import copy
import json
from typing import Any

import pytest
from pydantic import ValidationError

from edge.errors import ModelError
from edge.vision.inference import Manifest, find_model

FER = json.loads((find_model("expression-nir") / "manifest.json").read_text())
FACE = json.loads((find_model("centerface-320x192") / "manifest.json").read_text())


def parse(data: dict[str, Any]) -> Manifest:
    return Manifest.model_validate_json(json.dumps(data))


def test_dumped_manifest_equals_the_file() -> None:
    for data in (FER, FACE):
        again = json.loads(parse(data).model_dump_json(exclude_none=True))
        assert again == data


def put(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy with the value at path ``a.b.0`` replaced, or removed if it is ``...``."""
    changed = copy.deepcopy(data)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    parent: Any = changed
    for step in steps:
        parent = parent[step]
    if value is ...:
        del parent[last]
    else:
        parent[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("surprise", 1, "Extra inputs"),
        ("task", "face-recognition", "face-detection"),
        ("name", "../up", "pattern"),
        ("artifacts", [], "at least 1"),
        ("artifacts.0.runtime", "torch", "onnxruntime"),
        ("artifacts.0.sha256", "A" * 64, "pattern"),
        ("artifacts.0.bytes", "12", "integer"),
        ("artifacts.0.bytes", 1 << 40, "less than"),
        ("input.shape", [1, 1, 96], "4"),
        ("input.shape", [2, 1, 96, 96], "not one mono picture"),
        ("input.shape", [1, 3, 96, 96], "not one mono picture"),
        ("input.layout", "nhwc", "not one mono picture"),
        ("input.colour", "rgb", "not one rgb picture"),
        ("input.value_range", [1, 0], "low before high"),
        ("input.normalisation", {"kind": "fixed", "mean": 0, "std": 0}, "greater than 0"),
        ("input.normalisation", {"kind": "batch"}, "batch"),
        ("input.crop", ..., "needs one"),
        ("input.crop.margin", -0.1, "greater than or equal"),
        ("outputs.affect.encoding", "s*2", "(s-0.5)*2"),
        ("outputs.expression.activation", "relu", "softmax"),
        ("labels", FER["labels"][:7], "contempt"),
        ("labels", [*FER["labels"], "happy"], "once"),
        ("parity", {}, "one entry for each artifact"),
        ("parity.expression.onnx", ..., None),
        ("golden", ..., "needs a golden"),
        ("golden", FACE["golden"], "needs a golden of kind expression"),
        ("golden.readings", [], "at least 1"),
        ("golden.readings.0.probabilities.happy", ..., "exactly"),
        ("golden.probability_max", 0, "greater than 0"),
        ("source.licence", "", "at least 1"),
        ("calibration", {"count": 0, "sha256": "0" * 64}, "greater than or equal"),
    ],
)
def test_inconsistent_manifest_is_refused(path: str, value: Any, complaint: str | None) -> None:
    if complaint is None:
        data = copy.deepcopy(FER)
        data["parity"]["other.onnx"] = data["parity"].pop("expression.onnx")
        complaint = "one entry for each artifact"
    else:
        data = put(FER, path, value)
    with pytest.raises(ValidationError) as caught:
        parse(data)
    assert complaint in str(caught.value)


def test_parity_passes_only_within_its_limits() -> None:
    data = copy.deepcopy(FER)
    parity = data["parity"]["expression.onnx"]
    parity["metrics"]["affect_max_error"] = 0.5
    with pytest.raises(ValidationError, match="beyond it"):
        parse(data)
    parity["passed"] = False
    assert not parse(data).parity["expression.onnx"].passed
    parity["limits"]["unmeasured"] = {"at_least": 0.5}
    with pytest.raises(ValidationError, match="no such metric"):
        parse(data)
    parity["limits"]["unmeasured"] = {}
    with pytest.raises(ValidationError, match="at_most or at_least"):
        parse(data)


def test_same_file_twice_is_refused() -> None:
    data = copy.deepcopy(FER)
    data["artifacts"] *= 2
    with pytest.raises(ValidationError, match="same file is listed twice"):
        parse(data)


def test_missing_outputs_are_named() -> None:
    manifest = parse(put(FER, "outputs.affect", ...))
    manifest.require_outputs(["expression"])
    with pytest.raises(ModelError) as caught:
        manifest.require_outputs(["expression", "points", "affect"])
    assert str(caught.value) == (
        "model expression-nir: outputs: decoder 'mobilenet-fer' also needs affect, points;"
        " export the model again"
    )


def test_manifest_of_an_unknown_decoder_may_have_any_outputs() -> None:
    """``models list`` shows it; only opening the network refuses it."""
    data = put(FACE, "decoder", "retina")
    data["outputs"] = {"boxes": {"tensor": "537"}}
    manifest = parse(data)
    assert (manifest.decoder, [*manifest.outputs]) == ("retina", ["boxes"])
