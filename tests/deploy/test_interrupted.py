"""Upgrades that a power cut ends, or whose installer is killed, before the new release is ready."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.debian_root import DebianRoot, debian_cache, newer_wheel
from tests.support.upgrades import (
    PURPOSE,
    RELEASES,
    WHEELS,
    assert_no_trial,
    install_until_it_waits,
    names,
    release,
    start_again,
    with_systemctl,
)

pytestmark = [pytest.mark.stage, pytest.mark.timeout(2400)]


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[DebianRoot]:
    debian_cache()
    root = DebianRoot(tmp_path)
    yield root
    shutil.rmtree(root.path)


def test_an_upgrade_that_a_power_cut_ends_is_undone_at_the_next_start(bare: DebianRoot) -> None:
    """Without the rest of a real start, which ``test_systemd.py`` has."""
    assert bare.install(*WHEELS, *PURPOSE, "--role", "both").returncode == 0
    newer_wheel(bare.path / "root/wheels", "0.1.1")
    unit = bare.path / "root/src/systemd/affect-edge.service"
    before = unit.read_text()
    unit.write_text(f"# newer\n{before}")
    with install_until_it_waits(bare, 2) as installer:
        installer.kill()  # and all in it
    assert os.readlink(bare.path / "opt/affect-edge/venv").endswith("/2")

    done = start_again(bare)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "install.sh: the upgrade to affect-edge 0.1.1 was cut off before it was ready; "
        "affect-edge 0.1.0 is installed again\n"
    )
    assert release(bare) == "affect-edge 0.1.0"
    assert (bare.path / "etc/systemd/system/affect-edge.service").read_text() == before
    assert_no_trial(bare)
    done = bare.run("/root/src/deploy/install.sh", "undo", "--no-start")
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert "no upgrade was cut off" in done.stderr

    # what was cut off is removed, and not taken for installed
    done = bare.install(*WHEELS)
    assert (done.returncode, done.stderr) == (0, "")
    assert release(bare) == "affect-edge 0.1.1"
    assert len(names(bare.path / RELEASES)) == 2


def interrupt(process: "subprocess.Popen[str]") -> None:
    """Do as a terminal at Ctrl-C: all processes below this one get the signal."""
    found = [process.pid]
    for pid in found:
        found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    for pid in found[1:]:
        os.kill(pid, signal.SIGINT)


def test_an_upgrade_that_is_interrupted_is_undone_and_says_so(bare: DebianRoot) -> None:
    assert bare.install(*WHEELS, *PURPOSE).returncode == 0
    newer_wheel(bare.path / "root/wheels", "0.1.1")
    with install_until_it_waits(bare, 2) as installer:
        interrupt(installer)
        _, said = installer.communicate(timeout=300)
    assert (installer.returncode, said) == (
        1, "install.sh: the wait for the services of affect-edge 0.1.1 was interrupted; "
        "affect-edge 0.1.0 runs again\n",
    )  # fmt: skip
    assert_no_trial(bare)


def test_a_cut_while_the_trial_is_removed_leaves_what_the_next_run_removes(
    bare: DebianRoot,
) -> None:
    assert bare.install(*WHEELS, *PURPOSE).returncode == 0
    newer_wheel(bare.path / "root/wheels", "0.1.1")
    half = bare.path / "usr/local/bin/rm"
    half.write_text(
        "#!/bin/sh\n"
        'case "$*" in *by-hand) /bin/rm /opt/affect-edge/trial*/new && exit 9 ;; esac\n'
        'exec /bin/rm "$@"\n'
    )
    half.chmod(0o755)
    done = bare.run(*with_systemctl(bare, "true", *WHEELS))
    assert done.returncode == 1
    assert "failed (exit code 9): rm -rf" in done.stderr
    half.unlink()
    (bare.path / "usr/local/bin/systemctl").unlink()
    done = bare.install(*WHEELS)
    assert (done.returncode, done.stderr) == (0, "")
    assert "affect-edge 0.1.1 is installed already" in done.stdout
    newer_wheel(bare.path / "root/wheels", "0.1.2")
    done = bare.run(*with_systemctl(bare, "true", *WHEELS))
    assert (done.returncode, done.stderr) == (0, "")
    assert names(bare.path / "opt/affect-edge") == ["releases", "venv"]
    assert_no_trial(bare)


def test_an_upgrade_of_an_installation_made_by_hand_is_undone_at_the_next_start(
    bare: DebianRoot,
) -> None:
    by_hand = bare.path / "opt/affect-edge/venv"
    assert bare.run("python3", "-m", "venv", "/opt/affect-edge/venv").returncode == 0
    unit = bare.path / "etc/systemd/system/affect-edge.service"
    unit.write_text("[Service]\nExecStart=/opt/affect-edge/venv/bin/affect-edge run\n")
    settings = bare.path / "etc/affect-edge"
    settings.mkdir()
    (settings / "edge.toml").write_text(f'[device]\npurpose = "{PURPOSE[1]}"\n')
    with install_until_it_waits(bare, 1) as installer:
        installer.kill()
    assert by_hand.is_symlink()

    done = start_again(bare)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("; the installation made by hand is installed again\n")
    assert not by_hand.is_symlink()
    assert (by_hand / "bin/python3").exists()
    assert unit.read_text().startswith("[Service]\nExecStart=")
    assert names(by_hand.parent) == ["releases", "venv"]
    assert_no_trial(bare)


def test_an_upgrade_whose_installer_was_killed_is_undone_by_the_next_one(bare: DebianRoot) -> None:
    assert bare.install(*WHEELS, *PURPOSE).returncode == 0
    newer_wheel(bare.path / "root/wheels", "0.1.1")
    with install_until_it_waits(bare, 2) as installer:
        installer.kill()
    done = bare.run(*with_systemctl(bare, "true", *WHEELS))
    assert (done.returncode, done.stderr) == (0, "")
    assert "affect-edge 0.1.1 is ready" in done.stdout
    assert_no_trial(bare)
    (bare.path / "usr/local/bin/systemctl").unlink()
    assert release(bare) == "affect-edge 0.1.1"
    done = bare.run("/root/src/deploy/install.sh", "rollback", "--no-start")
    assert done.returncode == 0, done.stderr
    assert release(bare) == "affect-edge 0.1.0"
