"""Files that are replaced as a whole."""

import os

import pytest

from edge.files.durable import damaged_name, replace_file, replacing


def test_replacing_keeps_the_old_content_until_the_new_one_is_synced(tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    replace_file(path, b"old")
    order = []
    monkeypatch.setattr(os, "fsync", lambda number: order.append(("sync", path.read_bytes())))
    replace_file(path, b"new")
    assert order == [("sync", b"old"), ("sync", b"new")]


def test_a_failed_block_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"old")

    def fail() -> None:
        with replacing(path, name=".{}.new") as file:
            file.write(b"half")
            raise ValueError("row")

    with pytest.raises(ValueError, match="row"):
        fail()
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"table.csv": b"old"}


def test_a_new_file_is_private_and_damaged_ones_get_free_names(tmp_path):
    path = tmp_path / "log.cursors"
    replace_file(path, b"{}")
    assert path.stat().st_mode & 0o777 == 0o600
    assert damaged_name(path) == tmp_path / "log.cursors.damaged-1"
    damaged_name(path).touch()
    assert damaged_name(path) == tmp_path / "log.cursors.damaged-2"
