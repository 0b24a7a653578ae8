"""The file that is replaced as a whole: also with a slow, a full or a failing storage."""

import os
import threading
from pathlib import Path

import pytest

from edge.hub import state_file
from edge.hub.state_file import StateFile
from tests.support.waiting import HANG_S


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def test_what_was_saved_is_read_and_only_the_owner_may_read_it(path):
    file = StateFile(path)
    assert file.read() is None
    file.save(b"one")
    file.save(b"two")
    assert file.read() == path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    file.close()
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_slow_storage_delays_nobody_and_only_the_newest_content_follows(path, monkeypatch):
    written, may_go_on = [], threading.Event()

    def slow(_path: Path, content: bytes) -> None:
        written.append(content)
        may_go_on.wait(HANG_S)

    monkeypatch.setattr(state_file, "replace_file", slow)
    file = StateFile(path)
    for index in range(50):
        file.save(str(index).encode(), wait_s=0.0)
    may_go_on.set()
    file.save(b"last", wait_s=HANG_S)
    assert written[-1] == b"last"
    assert len(written) <= 4
    file.close()


def test_a_failing_storage_is_logged_once_and_tried_again(path, monkeypatch, caplog):
    monkeypatch.setattr(state_file, "RETRY_S", 0.01)
    caplog.set_level("INFO")
    path.with_name("state.json.new").mkdir()
    file = StateFile(path)
    file.save(b"one", wait_s=HANG_S)
    file.save(b"two", wait_s=0.0)
    assert not path.exists()
    path.with_name("state.json.new").rmdir()
    pause = threading.Event()
    while not path.exists() or path.read_bytes() != b"two":
        pause.wait(0.01)
        assert file._thread.is_alive()
    file.save(b"three", wait_s=HANG_S)
    file.close()
    assert path.read_bytes() == b"three"
    errors = [each for each in caplog.records if each.levelname == "ERROR"]
    assert len(errors) == 1
    assert "Is a directory; codes, baselines and sessions are kept in memory alone" in caplog.text
    assert "written again" in caplog.text


def test_damaged_files_are_set_aside_under_free_names(path):
    file = StateFile(path)
    for number in (1, 2):
        path.write_bytes(b"damaged")
        assert file.set_aside() == f"state.json.damaged-{number}"
    assert file.set_aside() == ""  # there is none
    file.close()


def test_a_file_that_cannot_be_read_is_an_error(path):
    file = StateFile(path)
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):  # it does not wait for a writer
        file.read()
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        file.read()
    file.close()
