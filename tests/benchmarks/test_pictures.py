"""The pictures of a folder, for benchmarks and exporters."""

from pathlib import Path

import pytest

from benchmarks.evaluation.pictures import Pictures, read_picture
from edge.errors import AffectEdgeError


def test_a_picture_that_cannot_be_read_is_named_with_its_folder(tmp_path: Path) -> None:
    """Benchmarks reported a wrong option, and that a picture was skipped where they ended."""
    broken = tmp_path / "broken.png"
    broken.touch()
    for read in (read_picture, lambda path: Pictures([path])[0]):
        with pytest.raises(AffectEdgeError) as caught:
            read(broken)
        assert str(caught.value).endswith(f"{tmp_path}: broken.png: an empty file")
        assert "--calibration" not in str(caught.value)
