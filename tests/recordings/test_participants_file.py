"""Files of participants: nothing of them is left out silently."""

import pytest

from edge.errors import ConfigError
from edge.recordings.analysis.participants_file import read_participants


def test_a_file_that_is_too_large_is_refused_and_not_cut(tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text("track,participant\n" + "1,P01\n" * 700_000 + "2,P02\n")
    with pytest.raises(ConfigError, match="more than 4 MiB; expected a CSV file") as refused:
        read_participants(path, "demo.mp4")
    assert "\n" not in str(refused.value)
