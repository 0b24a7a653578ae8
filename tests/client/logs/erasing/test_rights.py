"""Whose a log is: root leaves it to its owner; others get one line if they may not read it."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

from edge.cli import run_command_line
from edge.client.logs.erasing import erase_session
from tests.client.logs.erasing.test_erasing import EVERYTHING, FILES
from tests.support.erasable import LEFT, messages_in, record, write_record


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", ["folder", "log"])
def test_a_log_that_may_not_be_read_is_refused_in_one_line(name, place, tmp_path, capsys):
    """The folder is another user's; or a log's own folder is."""
    folder = tmp_path / "folder"
    folder.mkdir()
    out = folder / name
    write_record(str(out), record())
    closed = folder if place == "folder" else out
    commands = [["erase", "--session", "morning", "--log", str(out)]]
    if name == "log.sqlite":
        commands.append(["participant", "list", "--log", str(out)])
    if name == "log.parquet":  # a log in a folder that must be named, too
        commands.append(["erase", "--session", "morning", "--log", f"{out}/"])
    if place == "log":
        commands = commands[:1]
    for command in commands:
        assert refused(command, closed) == 78
        error = [each for each in capsys.readouterr().err.splitlines() if ": erasing" not in each]
        assert len(error) == 1
        assert "Permission denied" in error[0] or "expected" in error[0]
    assert messages_in(str(out)) == EVERYTHING


def refused(command: list[str], closed: Path) -> int:
    """Run a command as a user who may not read ``closed``; root acts as another one."""
    mode = closed.stat().st_mode
    closed.chmod(0o700 if os.geteuid() == 0 else 0)
    parents = {each: each.stat().st_mode for each in closed.parents[:3]}
    user = os.geteuid()
    if user == 0:
        for each in parents:
            each.chmod(0o755)
        os.seteuid(65534)
    try:
        return run_command_line(command)
    finally:
        os.seteuid(user)
        closed.chmod(mode)
        for each, mode_of_parent in parents.items():
            if user == 0:
                each.chmod(mode_of_parent)


def test_a_file_that_fails_while_the_plan_is_made_is_one_line(tmp_path, monkeypatch, capsys):
    out = tmp_path / "log.jsonl"
    write_record(str(out), record())

    def fail(_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("edge.client.logs.erasing.line_log._File.lines", fail)
    assert run_command_line(["erase", "--session", "morning", "--log", str(out)]) == 78
    assert "cannot be opened: Permission denied" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
@pytest.mark.parametrize("name", FILES)
def test_root_leaves_the_files_to_their_owner(name):
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        out = str(folder / name)
        write_record(out, record())
        for each in (folder, *folder.rglob("*")):
            os.chown(each, 65534, 65534)
        erase_session(out, "morning", print)
        assert os.geteuid() == 0
        assert {each.stat().st_uid for each in folder.rglob("*")} == {65534}
        assert messages_in(out) == LEFT


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
@pytest.mark.parametrize("name", FILES)
def test_root_erases_where_the_owner_alone_cannot_pass(name):
    """As with DynamicUser=yes: the log is reached through a link into a folder of root."""
    with tempfile.TemporaryDirectory() as made:
        private = Path(made) / "private"
        folder = private / "log"
        folder.mkdir(parents=True)
        write_record(str(folder / name), record())
        for each in (folder, *folder.rglob("*")):
            os.chown(each, 62345, 62345)
        private.chmod(0o700)
        link = Path(made) / "log"
        link.symlink_to("private/log")
        out = str(link / name)
        assert run_command_line(["erase", "--session", "morning", "--log", out]) == 0
        assert os.geteuid() == 0
        assert {each.stat().st_uid for each in folder.rglob("*")} == {62345}
        assert messages_in(out) == LEFT


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_root_changes_no_file_of_another_user_through_a_link(capsys):
    """The owner of a folder may have put the link there."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "log"
        folder.mkdir()
        other = Path(made) / "other.jsonl"
        write_record(str(other), record())
        (folder / "log.2026-01-01.jsonl").symlink_to(other)
        before = other.read_bytes()
        write_record(str(folder / "log.jsonl"), record()[:4], rotate_at=-1)
        for each in (folder, *folder.rglob("*")):
            os.chown(each, 62345, 62345, follow_symlinks=False)
        out = str(folder / "log.jsonl")
        for each in (folder.parent, other):
            each.chmod(0o700)
        os.chown(other, 62346, 62346)
        assert run_command_line(["erase", "--session", "morning", "--log", out]) == 78
        assert "Permission denied" in capsys.readouterr().err
        assert other.read_bytes() == before
