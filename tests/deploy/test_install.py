"""The installer: what it refuses on any machine, and its whole work in a Debian root.

The root has real apt data, pip and wheels, no network, and no systemd that runs; what needs one is
in ``test_systemd.py``.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import ROOT
from tests.support.debian_root import DebianRoot, debian_cache, newer_wheel
from tests.support.upgrades import (
    PURPOSE,
    RELEASES,
    WHEELS,
    assert_no_trial,
    calls,
    install_where_it_fails,
    names,
    release,
    with_systemctl,
)
from tests.support.waiting import wait_until

stage = pytest.mark.stage
pytestmark = pytest.mark.timeout(2400)  # the tests in a root take minutes on a busy machine

INSTALL = ROOT / "deploy/install.sh"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--wheel", "x"], "--wheel: unknown; expected install, rollback, uninstall or wheels"),
        (["undo", "--role", "both"], "--role: not an option of undo"),
        (["--purpose", "fun"], "--purpose fun: expected research-consent, medical or safety"),
        (["--purpose"], "--purpose: expected a value behind it"),
        (["--role", "all"], "--role all: expected camera, logger or both"),
        (["--wheels", "/no/such"], "--wheels /no/such: no such folder; make it with: deploy/inst"),
        (["uninstall", "--appliance"], "--appliance: not an option of uninstall"),
        (["wheels"], "wheels: got 0 arguments; expected one, the folder to fill"),
    ],
)
def test_a_wrong_argument_is_one_line_and_78(arguments: list[str], line: str) -> None:
    done = subprocess.run([INSTALL, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (78, "", 1)
    assert done.stderr.startswith(f"install.sh: {line}")


@pytest.mark.parametrize(
    ("tool", "prints", "line"),
    [
        ("uname", "Darwin", "this is Darwin; expected Linux"),
        ("dpkg", "armhf", "programs here are armhf; expected a 64-bit system (arm64)"),
        ("id", "1000", "this user is not root; run it with sudo"),
    ],
)
def test_a_machine_that_does_not_suit_is_one_line_and_78(
    tmp_path: Path, tool: str, prints: str, line: str
) -> None:
    if tool != "uname" and not _is_supported():
        pytest.skip("this machine is not Debian 12 or 13")
    (tmp_path / tool).write_text(f"#!/bin/sh\necho {prints}\n")
    (tmp_path / tool).chmod(0o755)
    done = subprocess.run(
        [INSTALL, *PURPOSE, "--no-start"], capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (78, "", 1)
    assert done.stderr.startswith(f"install.sh: {line}")


def _is_supported() -> bool:
    release = Path("/etc/os-release").read_text() if Path("/etc/os-release").exists() else ""
    return "\nID=debian\n" in release and shutil.which("dpkg") is not None


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> DebianRoot:
    """A root with a first installation."""
    debian_cache()
    root = DebianRoot(tmp_path_factory.mktemp("installed"))
    done = root.install(*WHEELS, *PURPOSE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "affect-edge 0.1.0 is installed (" in done.stdout
    return root


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[DebianRoot]:
    debian_cache()
    root = DebianRoot(tmp_path)
    yield root
    shutil.rmtree(root.path)


@stage
def test_it_installs_without_a_network(installed: DebianRoot) -> None:
    assert release(installed) == "affect-edge 0.1.0"
    units = installed.path / "etc/systemd/system"
    wanted = {path.name for path in (units / "multi-user.target.wants").iterdir()}
    assert {"affect-edge.service", "affect-edge-clock.service"} <= wanted
    assert not (units / "affect-edge-log.service").exists()
    verified = installed.run("systemd-analyze", "verify", "--man=no", "affect-edge.service")
    assert "affect-edge" not in verified.stderr, verified.stderr
    settings = installed.path / "etc/affect-edge"
    assert names(settings) == ["allowed", "edge.example.toml", "edge.toml", "keys"]
    checked = installed.run("affect-edge", "check", "-c", "/etc/affect-edge/edge.toml")
    assert checked.returncode == 0, checked.stdout
    assert "purpose research-consent, source v4l2 /dev/video0" in checked.stdout
    python = installed.run("/opt/affect-edge/venv/bin/python", "-c", "import simplejpeg, sys; "
                           "print(sys.version_info[:2], *sys.path)")  # fmt: skip
    assert "(3, 11)" in python.stdout
    assert "/usr/lib/python3/dist-packages" in python.stdout  # apt's picamera2 lies there


@stage
def test_the_same_again_changes_nothing(installed: DebianRoot) -> None:
    config = installed.path / "etc/affect-edge/edge.toml"
    config.write_text(config.read_text() + "[journal]\nkeep_h = 24.0\n")
    before = config.read_bytes()
    done = installed.install(*WHEELS, "--purpose", "safety")
    assert (done.returncode, done.stderr) == (0, "")
    assert "note: --purpose safety changes nothing: it is for a first configurati" in done.stdout
    assert "affect-edge 0.1.0 is installed already" in done.stdout
    assert config.read_bytes() == before
    assert names(installed.path / RELEASES) == ["1"]


@stage
def test_an_upgrade_keeps_one_release_to_go_back_to(bare: DebianRoot) -> None:
    wheels = bare.path / "root/wheels"
    assert bare.install(*WHEELS, *PURPOSE).returncode == 0
    for version in ("0.1.1", "0.1.2"):
        newer_wheel(wheels, version)
        assert bare.install(*WHEELS).returncode == 0
        assert release(bare) == f"affect-edge {version}"
    assert names(bare.path / RELEASES) == ["2", "3"]

    # a release that refuses the configuration: nothing changes
    newer_wheel(wheels, "0.1.3", edge_check_check="\nraise SystemExit('WRONG  no')\n")
    done = bare.install(*WHEELS)
    assert (done.returncode, done.stderr) == (
        1, "install.sh: the new release refuses /etc/affect-edge/edge.toml: WRONG  no\n"
    )  # fmt: skip
    assert release(bare) == "affect-edge 0.1.2"
    assert names(bare.path / RELEASES) == ["2", "3"]

    # a way back that is cut off while units are installed can be run again
    broken = bare.path / "usr/local/bin/install"
    broken.write_text("#!/bin/sh\nexit 9\n")
    broken.chmod(0o755)
    done = bare.run("/root/src/deploy/install.sh", "rollback", "--no-start")
    assert done.returncode == 1
    assert "failed (exit code 9): install -m 644" in done.stderr
    broken.unlink()
    done = bare.run("/root/src/deploy/install.sh", "rollback", "--no-start")
    assert done.returncode == 0, done.stderr
    assert release(bare) == "affect-edge 0.1.1"
    done = bare.run("/root/src/deploy/install.sh", "rollback", "--no-start")
    assert (done.returncode, done.stderr) == (
        78, "install.sh: there is no release before affect-edge 0.1.1\n"
    )  # fmt: skip


@stage
def test_an_upgrade_checks_a_configuration_as_its_service_reads_it(bare: DebianRoot) -> None:
    """Every key is set; keys come as in ``keys.conf``, and the camera as in ``secrets.env``."""
    assert bare.install(*WHEELS, *PURPOSE).returncode == 0
    settings = bare.path / "etc/affect-edge"
    example = (settings / "edge.example.toml").read_text()
    demo = example[example.index("[source]\n") : example.index("\n# A Raspberry Pi camera")]
    config = example.replace(demo, '[source]\nkind = "stream"\n').replace("#purpose", "purpose")
    config = config.replace("tcp://127.0.0.1", "tcp://*")
    (settings / "edge.toml").write_text(config)
    (settings / "secrets.env").write_text("AFFECT_EDGE__SOURCE__URL=rtsp://me:pw@192.168.7.20/\n")
    for name, folder in (("device", "keys"), ("log-1", "allowed")):
        made = bare.run("affect-edge", "keys", "new", name, "--dir", f"/etc/affect-edge/{folder}")
        assert made.returncode == 0, made.stderr
    (settings / "allowed/log-1.key_secret").unlink()
    units = bare.path / "etc/systemd/system"
    (units / "affect-edge.service.d").mkdir()
    shutil.copy(ROOT / "systemd/affect-edge.service.d/keys.conf", units / "affect-edge.service.d")
    refused = bare.run("affect-edge", "check", "-c", "/etc/affect-edge/edge.toml")
    assert (refused.returncode, refused.stderr.count("\n")) == (78, 1)

    newer_wheel(bare.path / "root/wheels", "0.1.1")
    done = bare.install(*WHEELS)
    assert (done.returncode, done.stderr) == (0, "")
    assert release(bare) == "affect-edge 0.1.1"
    assert (settings / "edge.toml").read_text() == config
    assert names(units / "affect-edge.service.d") == ["keys.conf"]

    # with instances in place of the single service their files count
    (settings / "edge.toml").rename(settings / "left.toml")
    (settings / "secrets.env").rename(settings / "left.secrets.env")
    (units / "affect-edge.service.d").rename(units / "affect-edge@left.service.d")
    assert bare.run("systemctl", "disable", "affect-edge").returncode == 0
    assert bare.run("systemctl", "enable", "affect-edge@left").returncode == 0
    newer_wheel(bare.path / "root/wheels", "0.1.2")
    done = bare.install(*WHEELS)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (settings / "edge.toml").exists()
    (settings / "left.secrets.env").unlink()
    newer_wheel(bare.path / "root/wheels", "0.1.3")
    done = bare.install(*WHEELS)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "the new release refuses /etc/affect-edge/left.toml: " in done.stderr
    assert "source.url: required, and not set" in done.stderr
    assert release(bare) == "affect-edge 0.1.2"


@stage
def test_an_installation_that_was_cut_off_leaves_the_old_one(bare: DebianRoot) -> None:
    assert bare.install(*WHEELS, *PURPOSE).returncode == 0
    newer_wheel(bare.path / "root/wheels", "0.1.1")
    command = ["/root/src/deploy/install.sh", *WHEELS, "--no-start"]
    half = bare.path / RELEASES / "2"
    with subprocess.Popen(bare.command(*command), stdout=subprocess.DEVNULL) as process:
        wait_until((half / "bin/pip").exists, 60)
        process.kill()
    assert half.exists()
    assert release(bare) == "affect-edge 0.1.0"
    done = bare.install(*WHEELS)
    assert done.returncode == 0, done.stderr
    assert release(bare) == "affect-edge 0.1.1"
    assert names(bare.path / RELEASES) == ["1", "2"]


@stage
def test_faults_of_the_wheels_change_nothing(bare: DebianRoot) -> None:
    wheels = bare.path / "root/wheels"
    done = bare.install(*WHEELS)
    assert done.returncode == 78
    assert done.stderr.startswith("install.sh: the purpose of the recordings has no default; add")
    (numpy,) = wheels.glob("numpy-*.whl")
    numpy.rename(bare.path / "root" / numpy.name)
    done = bare.install(*WHEELS, *PURPOSE)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "install.sh: pip: ERROR: " in done.stderr
    assert "numpy" in done.stderr
    for wheel in wheels.glob("affect_edge-*.whl"):
        wheel.unlink()
    done = bare.install(*WHEELS, *PURPOSE)
    assert done.returncode == 78
    assert "no wheel of affect-edge in it" in done.stderr
    assert not (bare.path / "opt/affect-edge/venv").exists()
    assert names(bare.path / "opt/affect-edge/releases") == []
    assert not (bare.path / "etc/affect-edge").exists()


def test_no_script_ends_a_pipe_early() -> None:
    """With pipefail a program that still writes to ``grep -q`` or ``head`` counts as failed."""
    scripts = [INSTALL, ROOT / "deploy/check-unit"]
    lines = [line for script in scripts for line in script.read_text().splitlines()]
    early = [line for line in lines if re.search(r"\| *(grep -\w*q|head\b)", line)]
    assert [line for line in early if "|| true" not in line] == []


@stage
def test_apts_picamera2_is_found_however_long_apt_writes(bare: DebianRoot) -> None:
    """Its table of versions is longer than a pipe takes at once."""
    apt_cache = bare.path / "usr/local/bin/apt-cache"
    apt_cache.write_text("#!/bin/sh\necho '  Candidate: 0.3.31-1'\nexec seq 1000000\n")
    apt_cache.chmod(0o755)
    done = bare.install(*WHEELS, *PURPOSE)
    assert (done.returncode, done.stderr.count("\n")) == (78, 1), done.stderr
    assert "apt's packages are missing: python3-picamera2; install them before" in done.stderr


@stage
def test_an_installation_made_by_hand_is_taken_over(bare: DebianRoot) -> None:
    """As README once said it: an environment at the place of the link."""
    by_hand = "/opt/affect-edge/venv"
    assert bare.run("python3", "-m", "venv", "--system-site-packages", by_hand).returncode == 0
    done = bare.install(*WHEELS, *PURPOSE)
    assert done.returncode == 0, done.stderr
    assert (bare.path / "opt/affect-edge/venv").is_symlink()
    assert release(bare) == "affect-edge 0.1.0"
    assert names(bare.path / "opt/affect-edge") == ["releases", "venv"]


@stage
def test_an_upgrade_that_does_not_get_ready_is_undone(bare: DebianRoot) -> None:
    """With real systemd: ``test_systemd.py``."""
    assert bare.install(*WHEELS, *PURPOSE).returncode == 0
    newer_wheel(bare.path / "root/wheels", "0.1.1")
    unit = bare.path / "root/src/systemd/affect-edge.service"
    before = unit.read_text()
    unit.write_text(f"# newer\n{before}")
    fails = "[ $(readlink /opt/affect-edge/venv) = /opt/affect-edge/releases/2 ]"
    done = install_where_it_fails(bare, fails)
    assert (done.returncode, done.stderr) == (
        1, "install.sh: affect-edge.service of affect-edge 0.1.1 does not get ready; "
        "affect-edge 0.1.0 runs again\n",
    )  # fmt: skip
    (bare.path / "usr/local/bin/systemctl").unlink()
    assert release(bare) == "affect-edge 0.1.0"
    assert names(bare.path / RELEASES) == ["1"]
    assert (bare.path / "etc/systemd/system/affect-edge.service").read_text() == before
    assert calls(bare).count("restart affect-edge.service") == 2
    assert calls(bare)[-1] == "is-active --quiet affect-edge.service"
    assert_no_trial(bare)


@stage
def test_an_installation_made_by_hand_comes_back_if_the_new_one_fails(bare: DebianRoot) -> None:
    by_hand = bare.path / "opt/affect-edge/venv"
    assert bare.run("python3", "-m", "venv", "/opt/affect-edge/venv").returncode == 0
    unit = bare.path / "etc/systemd/system/affect-edge.service"
    unit.write_text("[Service]\nExecStart=/opt/affect-edge/venv/bin/affect-edge run\n")
    done = install_where_it_fails(bare, "[ -L /opt/affect-edge/venv ]", *PURPOSE)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.endswith("does not get ready; the installation made by hand runs again\n")
    assert not by_hand.is_symlink()
    assert (by_hand / "bin/python3").exists()
    assert names(by_hand.parent) == ["releases", "venv"]
    assert unit.read_text().startswith("[Service]\nExecStart=")
    assert names(unit.parent)[:1] == ["affect-edge.service"]
    assert "affect-edge@.service" not in names(unit.parent)
    assert calls(bare)[-1] == "is-active --quiet affect-edge.service"
    assert_no_trial(bare)


@stage
def test_the_role_chooses_services(bare: DebianRoot) -> None:
    """A logging machine has log and page; a change of the role stops and removes what goes."""
    units = bare.path / "etc/systemd/system"
    wanted = units / "multi-user.target.wants"

    def ours(folder: Path) -> list[str]:
        return [name for name in names(folder) if name.startswith("affect-edge")]

    log_and_page = ["affect-edge-dashboard.service", "affect-edge-log.service"]
    done = bare.install(*WHEELS, "--role", "logger")
    assert (done.returncode, done.stderr) == (0, "")
    assert ours(wanted) == ours(units) == ["affect-edge-clock.service", *log_and_page]
    assert bare.run("affect-edge", "dashboard", "--bind", "nonsense").returncode == 78
    assert not (bare.path / "etc/affect-edge/edge.toml").exists()

    done = bare.install(*WHEELS, "--role", "camera", *PURPOSE)
    assert (done.returncode, done.stderr) == (0, "")
    assert ours(wanted) == ["affect-edge-clock.service", "affect-edge.service"]
    assert not set(log_and_page) & set(ours(units))
    assert "installed already" in bare.install(*WHEELS).stdout, "the role is kept"

    # back to the role before: its services start, those of the role that goes do not, and a unit
    # of the administrator's stays
    own = units / "affect-edge-own.service"
    own.write_text("[Service]\nExecStart=/bin/true\n")
    done = bare.run(*with_systemctl(bare, "true", "rollback"))
    assert (done.returncode, done.stderr) == (0, "")
    (bare.path / "usr/local/bin/systemctl").unlink()
    started = [call.split()[1] for call in calls(bare) if call.startswith("restart ")]
    assert started == log_and_page
    enabled = [call.split()[-1] for call in calls(bare) if call.startswith("-q enable ")]
    assert sorted(enabled) == log_and_page
    assert "stop affect-edge.service" in calls(bare)
    assert "affect-edge-own.service" not in " ".join(calls(bare))
    assert ours(units) == ["affect-edge-clock.service", *log_and_page, own.name]
    done = bare.run("/root/src/deploy/install.sh", "uninstall", "--no-start")
    assert (done.returncode, ours(units)) == (0, [own.name])
    done = bare.run("/root/src/deploy/install.sh", "uninstall", "--no-start")
    assert (done.returncode, done.stderr) == (78, "install.sh: affect-edge is not installed\n")


@stage
def test_uninstalling_keeps_configuration_and_data(bare: DebianRoot) -> None:
    done = bare.install(*WHEELS, *PURPOSE, "--appliance")
    assert done.returncode == 0, done.stderr
    system = bare.path / "etc/systemd"
    assert (system / "system/affect-edge.service.d/reboot.conf").exists()
    assert os.access(bare.path / "usr/local/lib/affect-edge/reboot-on-75", os.X_OK)
    assert (system / "system.conf.d/affect-edge-watchdog.conf").exists()
    own = system / "system/affect-edge.service.d/override.conf"
    own.write_text("[Service]\nIPAddressAllow=192.168.7.20\n")
    data = bare.path / "var/lib/private/affect-edge/journal.sqlite"
    data.parent.mkdir(parents=True)
    data.write_text("the record")
    done = bare.run("/root/src/deploy/install.sh", "uninstall", "--no-start")
    assert (done.returncode, done.stderr) == (0, "")
    assert "sudo rm -rf /etc/affect-edge /var/lib/affect-edge*" in done.stdout
    assert data.read_text() == "the record"
    assert (bare.path / "etc/affect-edge/edge.toml").exists()
    left = {
        str(path.relative_to(bare.path))
        for folder in ("etc", "opt", "usr/local", "usr/lib/systemd", "var/log")
        for path in (bare.path / folder).rglob("*affect-edge*")
    }
    assert left == {"etc/affect-edge", "etc/systemd/system/affect-edge.service.d"}
    done = bare.run("/root/src/deploy/install.sh", "uninstall", "--no-start")
    assert (done.returncode, done.stderr) == (78, "install.sh: affect-edge is not installed\n")
