"""Regular files are opened without waiting; everything else is refused."""

import os
import socket
import stat
from pathlib import Path

import pytest

from edge.files.regular import NotRegularFile, open_regular, read_regular, refuse_special


@pytest.fixture(params=["pipe", "socket", "device"])
def special(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "file"
    match request.param:
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(path))
        case _:
            path.symlink_to("/dev/zero")
    return path


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_CREAT])
def test_what_is_no_regular_file_is_refused(special: Path, flags: int) -> None:
    with pytest.raises(NotRegularFile, match="not a regular file"):
        open_regular(special, flags)
    with pytest.raises(NotRegularFile):
        refuse_special(special)


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        os.close(open_regular(tmp_path / "new", os.O_WRONLY | os.O_CREAT))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_files_and_folders_keep_their_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link") == b"content"
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        read_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none")
    refuse_special(tmp_path / "none")
    refuse_special(tmp_path)
