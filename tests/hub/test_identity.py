"""The identity of a start: epochs grow, numbers are unique, one daemon per folder."""

import errno
import json
import os
from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.hub.identity import EPOCH_MAX, StreamIdentity


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
    "content",
    [
        "",
        "{}",
        "[]",
        '{"stream": "x", "epoch": 1}',
        '{"stream": null, "epoch": 2}',
        '{"stream": "8c4f9e04-6a0f-4f4f-9d52-0d3a1e6b2a11", "epoch": 1e999}',
        '{"stream": "8c4f9e04-6a0f-4f4f-9d52-0d3a1e6b2a11", "epoch": -5}',
        "[" * 100_000,
        "\0",
    ],
    ids=range(9),
)
def test_a_damaged_identity_file_is_kept_and_a_new_stream_begins(
    tmp_path: Path, content: str
) -> None:
    before = StreamIdentity.open(str(tmp_path))
    before.close()
    (tmp_path / "identity.json").write_text(content)
    identity = StreamIdentity.open(str(tmp_path))
    assert identity.stream != before.stream
    assert (identity.epoch, identity.previous) == (1, None)
    assert identity.kept == "identity.json.damaged-1"
    assert (tmp_path / identity.kept).read_text() == content
    assert "not the identity of a stream" in identity.damage
    identity.close()
    again = StreamIdentity.open(str(tmp_path))
    assert (again.stream, again.epoch, again.damage) == (identity.stream, 2, "")


@pytest.mark.parametrize(
    ("board", "system", "is_same"),
    [
        ("100000009d4a1b2c", "m1", True),
        ("100000009d4a1b2c", "m2", True),  # the board decides
        ("10000000ffffffff", "m1", False),  # a cloned card
        (None, "m1", True),  # a container may hide the board
        (None, "m2", False),
        (None, None, True),
    ],
)
def test_a_copy_on_another_machine_begins_a_new_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, board: str, system: str, is_same: bool
) -> None:
    """Two daemons had one stream: a log of both kept the messages of one."""

    def be(board: str | None, system: str | None) -> None:
        for name, text in (("_BOARD", board), ("_SYSTEM", system)):
            file = tmp_path / name
            file.unlink(missing_ok=True)
            if text is not None:
                file.write_text(f"{text}\0")
            monkeypatch.setattr(f"edge.hub.identity.{name}", file)

    be("100000009d4a1b2c", "m1")
    first = StreamIdentity.open(str(tmp_path / "j"))
    first.close()
    be(board, system)
    second = StreamIdentity.open(str(tmp_path / "j"))
    assert (second.stream == first.stream) == is_same
    assert (second.epoch, bool(second.damage)) == ((2, False) if is_same else (1, True))
    second.close()
    third = StreamIdentity.open(str(tmp_path / "j"))
    assert (third.stream, third.epoch) == (second.stream, second.epoch + 1)
    third.close()


def test_a_stream_ends_before_its_epochs_exceed_the_keys_of_the_journal(tmp_path: Path) -> None:
    StreamIdentity.open(str(tmp_path)).close()
    stored = json.loads((tmp_path / "identity.json").read_text())
    (tmp_path / "identity.json").write_text(json.dumps(stored | {"epoch": EPOCH_MAX}))
    identity = StreamIdentity.open(str(tmp_path))
    assert identity.stream != stored["stream"]
    assert identity.epoch == 1


def test_an_identity_that_cannot_be_written_begins_a_stream_that_is_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = StreamIdentity.open(str(tmp_path))
    first.close()
    stored = (tmp_path / "identity.json").read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    second = StreamIdentity.open(str(tmp_path))
    assert second.stream != first.stream
    assert "Read-only" in second.storage_error
    assert (tmp_path / "identity.json").read_bytes() == stored


def test_a_full_disk_does_not_keep_the_epoch_from_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = StreamIdentity.open(str(tmp_path))
    first.close()

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "replace", refuse)
        second = StreamIdentity.open(str(tmp_path))
        assert (second.stream, second.epoch, second.storage_error) == (first.stream, 2, "")
        second.close()
    assert StreamIdentity.open(str(tmp_path)).epoch == 3


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
