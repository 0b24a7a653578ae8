"""Small pictures of the worker: only while they are wanted, and never too large."""

import base64

import cv2
import numpy as np
import pytest

from edge.vision.values import Frame, Luma
from edge.worker.preview import BYTES_MAX, PreviewMaker


def frame(luma: Luma, index: int = 3) -> Frame:
    return Frame(luma, index, 1, "monotonic", 1)


def decoded(jpeg: str) -> Luma:
    raw = np.frombuffer(base64.b64decode(jpeg, validate=True), np.uint8)
    return np.asarray(cv2.imdecode(raw, cv2.IMREAD_UNCHANGED), np.uint8)


def test_nothing_is_kept_while_it_is_closed() -> None:
    maker = PreviewMaker()
    maker.offer(frame(np.zeros((90, 160), np.uint8)))
    assert maker.take() is None
    maker.set_width(64)
    assert maker.take() is None
    maker.offer(frame(np.zeros((90, 160), np.uint8)))
    maker.set_width(0)
    assert maker._newest is None
    maker.set_width(64)
    assert maker.take() is None


def test_a_picture_is_small_grey_and_taken_once() -> None:
    maker = PreviewMaker()
    maker.set_width(320)
    luma = np.zeros((720, 1280), np.uint8)
    luma[:, 640:] = 200
    maker.offer(frame(luma))
    picture = maker.take()
    assert picture is not None
    assert (picture.index, picture.width, picture.height) == (3, 320, 180)
    shown = decoded(picture.jpeg)
    assert shown.shape == (180, 320)
    assert abs(int(shown[90, 300]) - 200) < 8
    assert shown[90, 20] < 8
    assert maker.take() is None


@pytest.mark.parametrize(
    ("size", "expected"), [((100, 60), (100, 60)), ((4000, 1), (640, 1)), ((1, 4000), (1, 4000))]
)
def test_pictures_of_any_form(size: tuple[int, int], expected: tuple[int, int]) -> None:
    maker = PreviewMaker()
    maker.set_width(640)
    maker.offer(frame(np.full(size[::-1], 90, np.uint8)))
    picture = maker.take()
    assert picture is not None
    assert (picture.width, picture.height) == expected


def test_noise_is_sent_with_less_quality_or_not_at_all() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (640, 640), np.uint8)
    maker = PreviewMaker()
    maker.set_width(640)
    maker.offer(frame(noise))
    picture = maker.take()
    assert picture is not None
    assert len(base64.b64decode(picture.jpeg)) <= BYTES_MAX
    maker.offer(frame(np.random.default_rng(1).integers(0, 256, (9000, 640), np.uint8)))
    assert maker.take() is None
