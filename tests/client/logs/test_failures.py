"""Errors of a log's file system: which are configuration, which may pass."""

import errno
import os

import pytest

from edge.client.logs import opened_log
from edge.errors import ConfigError, LogFileError, LogUnavailable

NAMES = ["log.sqlite", "log.csv", "log.jsonl", "log.parquet"]


@pytest.mark.parametrize("name", ["log.sqlite", "log.csv", "log.jsonl"])
def test_a_folder_that_does_not_exist_is_named_with_a_remedy(tmp_path, name):
    with pytest.raises(ConfigError) as error, opened_log(tmp_path / "none" / name):
        pass
    assert f"expected a folder {tmp_path}/none: make it with mkdir -p" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, ConfigError),
        (errno.EISDIR, ConfigError),
        (errno.EIO, LogFileError),
        (errno.EROFS, LogFileError),
        (errno.ENOSPC, LogUnavailable),
        (errno.EDQUOT, LogUnavailable),
    ],
)
def test_only_what_cannot_pass_is_a_configuration_error(tmp_path, monkeypatch, name, number, kind):
    """systemd does not start a logger again that ended with a configuration error."""
    real = os.open

    def failing(path, flags, *mode, **options):
        if flags & os.O_CREAT and str(tmp_path) in str(path):
            raise OSError(number, os.strerror(number))
        return real(path, flags, *mode, **options)

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises((ConfigError, LogFileError)) as error, opened_log(tmp_path / name):
        pass
    assert type(error.value) is kind
    assert os.strerror(number) in str(error.value)
    assert "\n" not in str(error.value)
