"""Locks on files: another process, and file systems without locks."""

import errno
import fcntl
import os

import pytest

from edge.client.logs import opened_log
from edge.errors import ConfigError
from edge.files.lock import lock_file
from edge.hub.identity import StreamIdentity


def test_a_locked_file_is_refused_until_it_is_closed(tmp_path):
    first, second = (os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT) for _ in range(2))
    lock_file(first, name="f", in_use="taken")
    with pytest.raises(ConfigError, match=r"^f: taken$"):
        lock_file(second, name="f", in_use="taken")
    os.close(first)
    lock_file(second, name="f", in_use="taken")
    os.close(second)


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO])
def test_a_file_system_without_locks_is_reported_as_such(tmp_path, monkeypatch, reason):
    def refuse(*_):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(fcntl, "flock", refuse)
    expected = rf"cannot lock files \({os.strerror(reason)}\); use a folder on a local disk"
    for name in ("log.csv", "log.jsonl"):
        with pytest.raises(ConfigError, match=expected), opened_log(tmp_path / name):
            pass
    with pytest.raises(ConfigError, match=rf"^journal\.path .*{expected}"):
        StreamIdentity.open(str(tmp_path / "journal"))
