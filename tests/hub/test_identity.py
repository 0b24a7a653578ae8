"""The identity of a start: epochs grow, numbers are unique, one daemon per folder."""

import json
import os
from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.hub.identity import StreamIdentity


def test_each_start_raises_the_epoch_and_keeps_the_stream(tmp_path: Path) -> None:
    starts = []
    for _ in range(5):
        identity = StreamIdentity.open(str(tmp_path / "j"))
        starts.append((identity.stream, identity.epoch))
        assert [identity.next_seq() for _ in range(3)] == [0, 1, 2]
        identity.close()
    assert len({stream for stream, _ in starts}) == 1
    assert [epoch for _, epoch in starts] == [1, 2, 3, 4, 5]


def test_without_a_folder_each_start_has_a_new_stream() -> None:
    first, second = StreamIdentity.open(""), StreamIdentity.open("")
    assert first.stream != second.stream
    assert first.epoch == second.epoch == 1


def test_a_second_daemon_is_refused_and_uses_up_no_epoch(tmp_path: Path) -> None:
    first = StreamIdentity.open(str(tmp_path))
    with pytest.raises(ConfigError, match="in use by another daemon"):
        StreamIdentity.open(str(tmp_path))
    first.close()
    again = StreamIdentity.open(str(tmp_path))
    assert again.epoch == first.epoch + 1


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"stream": "x", "epoch": 1}', '{"stream": null, "epoch": 2}', "\0"]
)
def test_a_damaged_identity_file_is_refused_and_not_changed(tmp_path: Path, content: str) -> None:
    identity = tmp_path / "identity.json"
    identity.write_text(content)
    with pytest.raises(ConfigError, match=r"identity\.json: not the identity of a stream") as error:
        StreamIdentity.open(str(tmp_path))
    assert "\n" not in str(error.value)
    assert identity.read_text() == content
    # the lock was released: after repair the next start works
    identity.unlink()
    assert StreamIdentity.open(str(tmp_path)).epoch == 1


def test_folder_and_files_are_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        StreamIdentity.open(str(tmp_path / "j")).close()
    finally:
        os.umask(old)
    assert (tmp_path / "j").stat().st_mode & 0o777 == 0o700
    for name in ("identity.json", "lock"):
        assert (tmp_path / "j" / name).stat().st_mode & 0o077 == 0
    assert json.loads((tmp_path / "j" / "identity.json").read_text())["epoch"] == 1


def test_an_unusable_folder_gives_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"journal\.path") as error:
        StreamIdentity.open(str(tmp_path / "file"))
    assert "\n" not in str(error.value)
