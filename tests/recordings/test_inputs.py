"""Which recordings the arguments name, and how their results are called."""

import pytest

from edge.errors import ConfigError
from edge.recordings.analysis.inputs import find_recordings


@pytest.fixture
def folder(tmp_path):
    for name in ("b.MP4", "a.mkv", ".hidden.mp4", "notes.txt", "ä 1.mov"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "more").mkdir()
    (tmp_path / "more/c.mp4").write_bytes(b"x")
    return tmp_path


def names(*arguments):
    return [each.name for each in find_recordings(arguments)]


def test_a_folder_stands_for_its_videos(folder):
    assert names(folder) == ["a", "b", "ä 1"]


def test_a_recording_counts_once(folder):
    assert names(folder / "b.MP4", folder, folder / "b.MP4") == ["b", "a", "ä 1"]


def test_a_file_may_have_any_suffix_and_a_picture_none(folder):
    assert names(folder / "notes.txt") == ["notes"]
    (folder / "p.PNG").write_bytes(b"x")
    with pytest.raises(ConfigError, match="is a picture"):
        names(folder / "p.PNG")


def test_equal_names_keep_their_suffix_and_equal_files_are_refused(folder):
    (folder / "a.mp4").write_bytes(b"x")
    assert names(folder / "a.mp4", folder / "a.mkv") == ["a.mp4", "a.mkv"]
    (folder / "more/a.mkv").write_bytes(b"x")
    with pytest.raises(ConfigError, match="has the same name as"):
        names(folder / "a.mkv", folder / "more/a.mkv")


def test_a_pipe_is_no_recording(folder):
    import os

    os.mkfifo(folder / "pipe.mp4")
    with pytest.raises(ConfigError, match="not a regular file"):
        names(folder / "pipe.mp4")
    assert "pipe" not in names(folder)


def test_a_name_that_is_not_utf_8_is_refused(folder):
    path = folder / "x\udcff.mp4"
    path.write_bytes(b"x")
    with pytest.raises(ConfigError, match="its name is not UTF-8"):
        names(path)
    with pytest.raises(ConfigError, match="its name is not UTF-8"):
        names(folder)


@pytest.mark.parametrize("target", ["nothing.mp4", "link.mp4"])
def test_a_link_to_nothing_is_named(folder, target):
    (folder / "link.mp4").symlink_to(target)
    with pytest.raises(ConfigError, match=r"link\.mp4: no such file or folder"):
        names(folder)


def test_a_link_to_nothing_does_not_hide_pictures(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert names(tmp_path) == [tmp_path.name]
