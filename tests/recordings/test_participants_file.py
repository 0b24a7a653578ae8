"""Files of participants: nothing of them is left out silently."""

import csv

import pytest

from edge.errors import ConfigError
from edge.recordings.analysis.participants_file import read_participants


def test_a_file_that_is_too_large_is_refused_and_not_cut(tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text("track,participant\n" + "1,P01\n" * 700_000 + "2,P02\n")
    with pytest.raises(ConfigError, match="more than 4 MiB; expected a CSV file") as refused:
        read_participants(path).codes_of("demo.mp4")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", [" demo.mp4", "de\nmo.mp4", "de\u2028mo.mp4", 'a "b", c.mp4'])
def test_a_strange_name_of_a_file_keeps_its_codes(name, tmp_path):
    path = tmp_path / "codes.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("file", "track", "participant"), (name, 1, "P01")])
    assert read_participants(path).codes_of(name) == {1: "P01"}
    assert read_participants(path).codes_of("other.mp4") == {}


def test_spaces_after_commas_are_no_part_of_the_values(tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text("track, participant, file\n1, P01, demo.mp4\n")
    assert read_participants(path).codes_of("demo.mp4") == {1: "P01"}


@pytest.mark.parametrize("separator", [";", "\t"])
def test_semicolons_and_tabs_separate_columns_too(separator, tmp_path):
    """Spreadsheets of many countries write them: the file was refused."""
    path = tmp_path / "codes.csv"
    rows = (("file", "track", "participant"), ("a, b.mp4", "1", "P01"))
    path.write_text("\ufeff" + "".join(separator.join(row) + "\r\n" for row in rows))
    assert read_participants(path).codes_of("a, b.mp4") == {1: "P01"}


def test_a_file_is_read_once_for_all_recordings(tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text("file,track,participant\na.mp4,1,P01\n,2,P02\n b.mp4 ,1,P03\nc.mp4,x,\nd,x,P\n")
    participants = read_participants(path)
    path.unlink()
    assert participants.codes_of("a.mp4") == {1: "P01", 2: "P02"}
    assert participants.codes_of("b.mp4") == {1: "P03", 2: "P02"}
    assert participants.codes_of("c.mp4") == {2: "P02"}
    assert participants.files == {"a.mp4", " b.mp4 ", "d"}
    with pytest.raises(ConfigError, match=r"^--participants .*codes\.csv, line 6: track 'x'"):
        participants.codes_of("d")


@pytest.mark.parametrize("track", ["0", "-1", "1.0", "\u0661", "9" * 5000])
def test_what_is_no_number_of_a_track_is_refused(track, tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text(f"track,participant\n{track},P01\n")
    with pytest.raises(ConfigError, match=r"line 2: track '.*': expected a number, 1 or more"):
        read_participants(path).codes_of("demo.mp4")
