"""Fixtures of ``make test-libcamera``: Debian 13's libcamera with its virtual camera."""

import importlib.util
import os
from collections.abc import Iterator

import pytest

from tests.libcamera import virtual_camera

os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:FATAL")  # the tests provoke errors
if importlib.util.find_spec("libcamera") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(autouse=True)
def _virtual_camera() -> Iterator[None]:
    virtual_camera.install()
    virtual_camera.SILENT.unlink(missing_ok=True)
    yield
    virtual_camera.SILENT.unlink(missing_ok=True)
