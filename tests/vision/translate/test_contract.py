"""What every translator promises (``edge.vision.translate.Translator``): run over all of them.

A new translator is one more entry of ``TRANSLATORS``. No translator is bundled, so each entry
makes a small one with random weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.config import TranslatorConfig
from edge.errors import InferenceError, ModelError
from edge.vision import translate
from edge.vision.expression.crop import square_crop
from edge.vision.golden import golden_picture, translation_findings
from edge.vision.inference import Network, load_manifest
from edge.vision.translate import Translator, open_translator
from edge.vision.values import Box, Luma
from tests.support.generators import translator_folder
from tests.support.model_folders import changed_copy, known_decoders

FACE = Box(123.1, 38.9, 151.0, 151.0)


@dataclass(frozen=True)
class Case:
    """One translator.

    Attributes:
        name: shown by pytest.
        decoder: the name of its decoder in manifests.
        make: writes a model folder of that decoder, with a golden answer, below a folder.
    """

    name: str
    decoder: str
    make: Callable[[Path], Path]


TRANSLATORS = (
    Case("cyclegan-grey-input", "cyclegan", translator_folder),
    Case("cyclegan-rgb-input", "cyclegan", lambda folder: translator_folder(folder, mono=False)),
)


@pytest.fixture(scope="module", params=TRANSLATORS, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


@pytest.fixture(scope="module")
def folder(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The translator's model folder; tests do not change it."""
    return case.make(tmp_path_factory.mktemp(case.name))


@pytest.fixture(scope="module")
def translator(folder: Path) -> Translator:
    return opened(folder)


def opened(folder: Path) -> Translator:
    translator = open_translator(TranslatorConfig(model=str(folder)))
    assert translator is not None
    return translator


def face_for(translator: Translator, picture: Luma | None = None) -> Luma:
    """Return a face of the translator's size that raises an error when it is written to."""
    size = (translator.info.width, translator.info.height)
    luma = golden_picture()[0] if picture is None else picture
    face = square_crop(luma, FACE, size, 0.0)
    face.flags.writeable = False
    return face


def test_every_translator_is_in_the_list(tmp_path: Path) -> None:
    assert {case.decoder for case in TRANSLATORS} == known_decoders(translate)
    for case in TRANSLATORS:
        (tmp_path / case.name).mkdir()
        assert load_manifest(case.make(tmp_path / case.name)).decoder == case.decoder


def test_it_names_its_model_and_its_input(translator: Translator, folder: Path) -> None:
    manifest = load_manifest(folder)
    assert translator.info.name == manifest.name
    assert (translator.info.width, translator.info.height) == (
        manifest.input.width,
        manifest.input.height,
    )


def test_no_model_is_no_translator() -> None:
    assert open_translator(TranslatorConfig()) is None


def test_it_gives_the_golden_answer(translator: Translator) -> None:
    assert translator.golden is not None
    assert translation_findings(translator) == []


@pytest.mark.parametrize("kind", ["face", "black", "white", "noise"])
def test_any_face_gives_a_mono_picture_of_its_size(translator: Translator, kind: str) -> None:
    face = face_for(translator)
    if kind == "noise":
        face = np.random.default_rng(1).integers(0, 256, face.shape, np.uint8)
    elif kind != "face":
        face = np.full_like(face, 255 if kind == "white" else 0)
    picture = translator.translate(face)
    assert picture.shape == face.shape
    assert picture.dtype == np.uint8
    assert not np.shares_memory(picture, face)


def test_it_keeps_nothing_from_one_face_to_the_next(translator: Translator) -> None:
    face = face_for(translator)
    first = translator.translate(face)
    held = first.copy()
    other = translator.translate(face_for(translator, golden_picture()[0][::-1].copy()))
    assert (other != first).any()
    np.testing.assert_array_equal(first, held)  # a result belongs to the caller
    np.testing.assert_array_equal(translator.translate(face), held)


def test_a_network_that_fails_is_an_inference_error(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Network, batch: Luma) -> dict[str, Any]:
        raise InferenceError("network: output is not finite")

    monkeypatch.setattr(Network, "run", fails)
    with pytest.raises(InferenceError, match="not finite"):
        translator.translate(face_for(translator))


def test_a_network_that_fails_on_its_first_picture_is_not_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Network, batch: Luma) -> dict[str, Any]:
        raise InferenceError("network: output is not finite")

    monkeypatch.setattr(Network, "run", fails)
    with pytest.raises(ModelError, match="model network: output is not finite"):
        opened(folder)


def test_each_missing_output_is_named(case: Case, folder: Path, tmp_path: Path) -> None:
    for role in load_manifest(folder).outputs:
        copy = changed_copy(folder, tmp_path / role, lambda data, r=role: data["outputs"].pop(r))
        with pytest.raises(ModelError) as caught:
            opened(copy)
        assert f"decoder {case.decoder!r} also needs {role};" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_decoder_unknown_here_is_refused_only_when_it_is_opened(
    folder: Path, tmp_path: Path
) -> None:
    def change(data: dict[str, Any]) -> None:
        first = next(iter(data["outputs"].values()))
        data.update(decoder="other", outputs={"something": first})

    copy = changed_copy(folder, tmp_path / "other", change)
    assert load_manifest(copy).decoder == "other"
    with pytest.raises(ModelError, match="decoder 'other' is unknown; expected") as caught:
        opened(copy)
    assert "\n" not in str(caught.value)
    assert all(known in str(caught.value) for known in known_decoders(translate))


@pytest.mark.parametrize("model", ["expression-nir", "centerface-320x192"])
def test_a_model_of_another_task_is_refused(model: str) -> None:
    with pytest.raises(ModelError, match="configured for spectrum-translation"):
        open_translator(TranslatorConfig(model=model))


def test_nothing_is_printed(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    translator = opened(folder)
    translator.translate(face_for(translator))
    assert capfd.readouterr() == ("", "")
