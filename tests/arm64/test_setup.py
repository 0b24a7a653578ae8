"""The scripts that make an environment of another machine delete only their own files."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
VERSIONS = {"arm64-python": "3.11", "libcamera-python": "0.3.38"}


@pytest.fixture(params=VERSIONS)
def script(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def offline(tmp_path: Path) -> dict[str, str]:
    """An environment in which every download fails."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("apt-get", "dpkg", "python3"):
        (tools / name).write_text("#!/bin/sh\nexit 1\n")
        (tools / name).chmod(0o755)
    return {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHON": "python3"}


def setup(script: str, folder: Path, environment: dict[str, str]) -> str:
    """Return the error output of the script, which always fails here."""
    done = subprocess.run(
        [SCRIPTS / script, "setup", folder, VERSIONS[script]],
        capture_output=True, text=True, env=environment, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    return done.stderr


def test_a_folder_with_other_files_is_refused(
    script: str, tmp_path: Path, offline: dict[str, str]
) -> None:
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / ".hidden").write_text("mine")
    assert "holds other files" in setup(script, folder, offline)
    assert (folder / ".hidden").read_text() == "mine"
    assert list(folder.iterdir()) == [folder / ".hidden"]
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert "not a folder" in setup(script, link, offline)
    assert "not a folder" in setup(script, folder / ".hidden", offline)
    assert (folder / ".hidden").read_text() == "mine"


def test_an_environment_is_made_again(script: str, tmp_path: Path, offline: dict[str, str]) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    for _ in range(2):
        assert "cannot be downloaded" in setup(script, folder, offline)
        (folder / "version").write_text("3.11")
    assert "cannot be downloaded" in setup(script, folder, offline)
    assert not (folder / "version").exists()
    assert "cannot be downloaded" in setup(script, tmp_path / "absent" / "below", offline)
