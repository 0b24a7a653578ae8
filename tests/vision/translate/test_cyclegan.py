"""CycleGAN translators: luma from either layout, refused networks, faults in the golden face."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config import TranslatorConfig
from edge.errors import InferenceError, ModelError
from edge.vision.expression.crop import square_crop
from edge.vision.golden import golden_picture, translation_findings
from edge.vision.inference import Network
from edge.vision.inference.ort import onnxruntime
from edge.vision.translate import Translator, open_translator
from edge.vision.translate.cyclegan import CycleGan, luma_of
from edge.vision.values import Luma
from exporters.cyclegan.export import export_cyclegan
from tests.support.generators import onnx_file, random_state, translator_folder
from tests.support.model_folders import Change, changed_copy
from tests.support.networks import FACE

RANDOM = np.random.default_rng(3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generator's model folder; no test changes it."""
    return translator_folder(tmp_path_factory.mktemp("translator"))


@pytest.fixture
def changed(folder: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """A function that returns a copy of the folder with a changed manifest."""

    def make(change: Change) -> Path:
        return changed_copy(folder, tmp_path / "translator", change)

    return make


def opened(folder: Path) -> Translator:
    translator = open_translator(TranslatorConfig(model=str(folder)))
    assert translator is not None
    return translator


def face(side: int = 64) -> Luma:
    return square_crop(golden_picture()[0], FACE, (side, side), 0.0)


@pytest.mark.parametrize("mono", [True, False])
@pytest.mark.parametrize("channels", [(3, 3), (1, 1), (3, 1), (1, 3)])
def test_result_is_the_luma_of_the_networks_output(
    tmp_path: Path, mono: bool, channels: tuple[int, int]
) -> None:
    out = translator_folder(tmp_path, mono=mono, channels=channels)
    translator = opened(out)
    assert (translator.info.width, translator.info.height) == (64, 64)
    session = onnxruntime.InferenceSession(
        tmp_path / "original.onnx", providers=["CPUExecutionProvider"]
    )
    tensor = np.repeat(face()[None, None].astype(np.float32) / 127.5 - 1, channels[0], axis=1)
    picture = session.run(None, {"input": tensor})[0][0]
    levels = np.clip(np.rint((picture + 1) * 127.5), 0, 255).astype(np.uint8)
    known = levels[0]
    if channels[1] == 3:
        known = cv2.cvtColor(np.ascontiguousarray(levels.transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY)
    luma = translator.translate(face())
    assert luma.dtype == np.uint8
    assert luma.shape == (64, 64)
    assert np.abs(luma.astype(int) - known).max() <= 1
    np.testing.assert_array_equal(translator.translate(face()), luma)


@settings(max_examples=60)
@given(st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 9), st.floats(-1, 1))
def test_luma_is_the_same_in_either_layout_and_grey_stays_grey(
    channels: int, height: int, width: int, level: float
) -> None:
    picture = RANDOM.uniform(-1, 1, (channels, height, width)).astype(np.float32)
    turned = np.ascontiguousarray(picture.transpose(1, 2, 0))
    np.testing.assert_array_equal(luma_of(picture), luma_of(turned, channels_last=True))
    grey = np.full((channels, height, width), level, np.float32)
    assert set(np.unique(luma_of(grey))) <= {
        np.clip(round((level + 1) * 127.5) + step, 0, 255) for step in (-1, 0, 1)
    }


def test_values_beyond_the_range_are_clipped() -> None:
    picture = np.array([[[-9.0, -1.0, 0.0, 1.0, 9.0]]], np.float32)
    assert luma_of(picture).tolist() == [[0, 0, 128, 255, 255]]


def rename_output_tensor(data: dict[str, Any]) -> None:
    data["outputs"]["picture"]["tensor"] = "elsewhere"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (rename_output_tensor, "also expects"),
        (lambda data: data["golden"].update(levels=[[1.0], [2.0, 3.0]]), "rows of one length"),
        (lambda data: data["golden"].update(levels=[[300.0]]), "golden"),
        (lambda data: data.update(golden={"kind": "detection"}), "golden"),
        (lambda data: data["parity"]["generator.onnx"].update(passed=False), "passed parity"),
    ],
)
def test_manifest_that_does_not_fit_is_refused_in_one_line(
    changed: Callable[[Change], Path], change: Change, complaint: str
) -> None:
    with pytest.raises(ModelError, match=complaint) as caught:
        opened(changed(change))
    assert "\n" not in str(caught.value)


def test_output_of_another_shape_is_refused(folder: Path) -> None:
    class Halved(Network):
        def run(self, batch: Luma) -> dict[str, Any]:
            return {"picture": super().run(batch)["picture"][:, :, ::2]}

    network = opened(folder)._network  # type: ignore[attr-defined]
    network.__class__ = Halved
    with pytest.raises(ModelError, match=r"shape \(1, 3, 32, 64\), expected \(1, 1, 64, 64\)"):
        CycleGan(network)


def test_translator_without_golden_answer_is_still_run(
    folder: Path, changed: Callable[[Change], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert translation_findings(opened(folder)) == []
    without_golden = opened(changed(lambda data: data.pop("golden")))
    assert translation_findings(without_golden) == []

    def fails(self: Network, batch: Luma) -> dict[str, Any]:
        raise InferenceError("out of memory")

    monkeypatch.setattr(Network, "run", fails)
    (finding,) = translation_findings(without_golden)
    assert str(finding) == "translator: golden face: out of memory"


@pytest.mark.parametrize("fault", ["upside down", "mirrored", "negative", "half range", "bgr"])
def test_golden_face_detects_faults_that_raise_no_error(
    folder: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Network.run

    def wrong(self: Network, batch: Luma) -> dict[str, Any]:
        given = {"upside down": batch[:, ::-1], "mirrored": batch[:, :, ::-1]}.get(fault, batch)
        picture = right(self, np.ascontiguousarray(given))["picture"]
        made = {"negative": -picture, "half range": (picture + 1) / 2, "bgr": picture[:, ::-1]}
        return {"picture": made.get(fault, picture)}

    translator = opened(folder)
    monkeypatch.setattr(Network, "run", wrong)
    (finding,) = translation_findings(translator)
    assert "mean difference from the expected picture" in str(finding)


@pytest.mark.parametrize("range_", [(0.0, 1.0), (0.0, 255.0), (-2.0, 2.0)])
def test_golden_face_detects_a_wrong_input_range(
    tmp_path: Path, range_: tuple[float, float]
) -> None:
    """With batch norms: instance norms give the same output for any range."""
    source = onnx_file(tmp_path / "g.onnx", norm="batch", seed=2)
    export_cyclegan(source, tmp_path / "net", size=(64, 64), mono=True)
    path = tmp_path / "net" / "manifest.json"
    data = json.loads(path.read_text())
    data["input"]["value_range"] = list(range_)
    path.write_text(json.dumps(data))
    assert translation_findings(opened(tmp_path / "net"))


def test_answer_to_another_picture_is_reported(
    folder: Path, changed: Callable[[Change], Path]
) -> None:
    other = opened(changed(lambda data: data["golden"].update(picture_sha256="0" * 64)))
    (finding,) = translation_findings(other)
    assert "export the model again" in str(finding)


def test_random_weights_differ_by_their_seed() -> None:
    """Otherwise the tests above would compare a network with itself."""
    one, other = random_state(seed=1), random_state(seed=2)
    assert all((one[name] != other[name]).any() for name in one)
