"""Files of participants: nothing of them is left out silently."""

import csv

import pytest

from edge.errors import ConfigError
from edge.recordings.analysis.participants_file import read_participants


def test_a_file_that_is_too_large_is_refused_and_not_cut(tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text("track,participant\n" + "1,P01\n" * 700_000 + "2,P02\n")
    with pytest.raises(ConfigError, match="more than 4 MiB; expected a CSV file") as refused:
        read_participants(path, "demo.mp4")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", [" demo.mp4", "de\nmo.mp4", "de\u2028mo.mp4", 'a "b", c.mp4'])
def test_a_strange_name_of_a_file_keeps_its_codes(name, tmp_path):
    path = tmp_path / "codes.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("file", "track", "participant"), (name, 1, "P01")])
    assert read_participants(path, name) == {1: "P01"}
    assert read_participants(path, "other.mp4") == {}


def test_spaces_after_commas_are_no_part_of_the_values(tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text("track, participant, file\n1, P01, demo.mp4\n")
    assert read_participants(path, "demo.mp4") == {1: "P01"}
