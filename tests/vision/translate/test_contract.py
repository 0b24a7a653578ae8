"""The contract of translators (``edge.vision.translate.Translator``), run over all of them.

What they share with other networks: ``tests/vision/test_network_contract.py``.
"""

import numpy as np
import pytest

from edge.config import TranslatorConfig
from edge.vision.expression.crop import square_crop
from edge.vision.golden import golden_picture, translation_findings
from edge.vision.translate import Translator, open_translator
from edge.vision.values import Luma
from tests.support.networks import FACE, TRANSLATORS, TranslatorCase


@pytest.fixture(scope="module", params=TRANSLATORS, ids=lambda case: case.name)
def translator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Translator:
    case: TranslatorCase = request.param
    return case.open(case.make_folder(tmp_path_factory.mktemp(case.name)))


def face_for(translator: Translator, picture: Luma | None = None) -> Luma:
    """Return a face of the translator's size that raises an error when it is written to."""
    size = (translator.info.width, translator.info.height)
    luma = golden_picture()[0] if picture is None else picture
    face = square_crop(luma, FACE, size, 0.0)
    face.flags.writeable = False
    return face


def test_without_a_model_there_is_no_translator() -> None:
    assert open_translator(TranslatorConfig()) is None


def test_golden_answer_is_given(translator: Translator) -> None:
    assert translation_findings(translator) == []


@pytest.mark.parametrize("kind", ["face", "black", "white", "noise"])
def test_any_face_gives_a_mono_picture_of_the_same_size(translator: Translator, kind: str) -> None:
    face = face_for(translator)
    if kind == "noise":
        face = np.random.default_rng(1).integers(0, 256, face.shape, np.uint8)
    elif kind != "face":
        face = np.full_like(face, 255 if kind == "white" else 0)
    picture = translator.translate(face)
    assert picture.shape == face.shape
    assert picture.dtype == np.uint8
    assert not np.shares_memory(picture, face)


def test_faces_do_not_affect_each_other(translator: Translator) -> None:
    face = face_for(translator)
    first = translator.translate(face)
    copy = first.copy()
    other = translator.translate(face_for(translator, golden_picture()[0][::-1].copy()))
    assert (other != first).any()
    np.testing.assert_array_equal(first, copy)  # later calls do not overwrite a result
    np.testing.assert_array_equal(translator.translate(face), copy)
