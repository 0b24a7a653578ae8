"""The scripts that make Debian roots delete only their own files."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.daemons import ROOT

SCRIPTS = pytest.mark.parametrize("script", ["make-vm", "make-debian13"])


def make(script: str, folder: Path, **environment: str) -> str:
    """Return the line of the script, which always fails here."""
    done = subprocess.run(
        [ROOT / "scripts" / script, folder], capture_output=True, text=True, check=False,
        env={**os.environ, **environment}, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    return done.stderr


def tools(folder: Path, user: int) -> str:
    """Return a path with tools that do nothing, for this user."""
    folder.mkdir()
    for name in ("debootstrap", "cpio", "dpkg", "apt-get"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    (folder / "id").write_text(f"#!/bin/sh\necho {user}\n")
    (folder / "id").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@SCRIPTS
def test_a_folder_with_other_files_is_refused(tmp_path: Path, script: str) -> None:
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / ".hidden").write_text("mine")
    assert "holds other files" in make(script, folder, PATH=tools(tmp_path / "tools", 0))
    assert list(folder.iterdir()) == [folder / ".hidden"]


@SCRIPTS
def test_without_root_or_a_mirror_it_says_so(tmp_path: Path, script: str) -> None:
    assert "expected root" in make(script, tmp_path / "a", PATH=tools(tmp_path / "tools", 1000))
    assert not (tmp_path / "a").exists()
    (tmp_path / "tools/id").write_text("#!/bin/sh\necho 0\n")
    path = f"{tmp_path / 'tools'}:{os.environ['PATH']}"
    assert "no Debian mirror among apt's sources" in make(script, tmp_path / "a", PATH=path)
    # and again: the folder is its own
    assert "no Debian mirror among apt's sources" in make(script, tmp_path / "a", PATH=path)
