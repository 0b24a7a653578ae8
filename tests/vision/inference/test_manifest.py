"""The manifest: what is consistent is read, what is not is named."""

import copy
import json
from typing import Any

import pytest
from pydantic import ValidationError

from edge.errors import ModelError
from edge.vision.inference import Manifest, find_model

FER = json.loads((find_model("expression-nir") / "manifest.json").read_text())
FACE = json.loads((find_model("centerface-320x192") / "manifest.json").read_text())


def read(data: dict[str, Any]) -> Manifest:
    return Manifest.model_validate_json(json.dumps(data))


def test_what_is_written_is_what_was_read() -> None:
    for data in (FER, FACE):
        again = json.loads(read(data).model_dump_json(exclude_none=True))
        assert again == data


def put(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy with the value at ``a.b.0`` replaced, or removed where it is ``...``."""
    changed = copy.deepcopy(data)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    at: Any = changed
    for step in steps:
        at = at[step]
    if value is ...:
        del at[last]
    else:
        at[last] = value
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
def test_what_does_not_hold_together_is_refused(
    path: str, value: Any, complaint: str | None
) -> None:
    if complaint is None:
        data = copy.deepcopy(FER)
        data["parity"]["other.onnx"] = data["parity"].pop("expression.onnx")
        complaint = "one entry for each artifact"
    else:
        data = put(FER, path, value)
    with pytest.raises(ValidationError) as caught:
        read(data)
    assert complaint in str(caught.value)


def test_a_parity_cannot_pass_beyond_its_own_limit() -> None:
    data = copy.deepcopy(FER)
    parity = data["parity"]["expression.onnx"]
    parity["metrics"]["affect_max_error"] = 0.5
    with pytest.raises(ValidationError, match="beyond it"):
        read(data)
    parity["passed"] = False
    assert not read(data).parity["expression.onnx"].passed
    parity["limits"]["unmeasured"] = {"at_least": 0.5}
    with pytest.raises(ValidationError, match="no such metric"):
        read(data)
    parity["limits"]["unmeasured"] = {}
    with pytest.raises(ValidationError, match="at_most or at_least"):
        read(data)


def test_the_same_file_twice_is_refused() -> None:
    data = copy.deepcopy(FER)
    data["artifacts"] *= 2
    with pytest.raises(ValidationError, match="same file is listed twice"):
        read(data)


def test_a_decoder_names_the_outputs_it_misses() -> None:
    manifest = read(put(FER, "outputs.affect", ...))
    manifest.require_outputs(["expression"])
    with pytest.raises(ModelError) as caught:
        manifest.require_outputs(["expression", "points", "affect"])
    assert str(caught.value) == (
        "model expression-nir: outputs: decoder 'mobilenet-fer' also needs affect, points;"
        " export the model again"
    )


def test_a_manifest_of_an_unknown_decoder_is_read_whatever_its_outputs() -> None:
    """``models list`` shows it; only opening the network refuses it."""
    data = put(FACE, "decoder", "retina")
    data["outputs"] = {"boxes": {"tensor": "537"}}
    manifest = read(data)
    assert (manifest.decoder, [*manifest.outputs]) == ("retina", ["boxes"])
