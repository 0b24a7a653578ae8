"""The pictures of a folder, for benchmarks and exporters."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.evaluation.pictures import PICTURES_MIN, Pictures, read_picture, split_pictures
from edge.errors import AffectEdgeError, ModelError


def test_a_picture_that_cannot_be_read_is_named_with_its_folder(tmp_path: Path) -> None:
    """Benchmarks reported a wrong option, and that a picture was skipped where they ended."""
    broken = tmp_path / "broken.png"
    broken.touch()
    for read in (read_picture, lambda path: Pictures([path])[0]):
        with pytest.raises(AffectEdgeError) as caught:
            read(broken)
        assert str(caught.value).endswith(f"{tmp_path}: broken.png: an empty file")
        assert "--calibration" not in str(caught.value)


def test_copies_of_one_picture_are_too_few_by_whatever_option(tmp_path: Path) -> None:
    content = cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes()
    for number in range(PICTURES_MIN):
        (tmp_path / f"{number}.png").write_bytes(content)
    with pytest.raises(ModelError, match=r"^--images .*: 1 different pictures, expected 16"):
        split_pictures(tmp_path, "--images")
    with pytest.raises(ModelError, match=r"^--calibration .*: 1 different pictures, expected 16"):
        split_pictures(tmp_path)
