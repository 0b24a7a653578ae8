"""Upgrades in a Debian root that fail, wait or are cut off, without a systemd that runs."""

import re
import subprocess
from pathlib import Path

from tests.support.debian_root import DebianRoot
from tests.support.waiting import wait_until

RELEASES = "opt/affect-edge/releases"
PURPOSE = ("--purpose", "research-consent")
WHEELS = ("--wheels", "/root/wheels")


def release(root: DebianRoot) -> str:
    """Return the version that runs, as the command on the path says."""
    done = root.run("/usr/local/bin/affect-edge", "version")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def with_systemctl(root: DebianRoot, restart: str, *options: str) -> list[str]:
    """Return an installer that starts services by a program in place of systemctl.

    No systemd runs in the root. ``/root/calls`` has the program's arguments, one call a line.

    Args:
        root: in which the daemon runs, as the program says.
        restart: what the program does to get the daemon ready, in the shell's words.
        options: of the installer.
    """
    systemctl = root.path / "usr/local/bin/systemctl"
    systemctl.write_text(
        "#!/bin/sh\necho $* >>/root/calls\n"
        'case "$*" in list-units*--state=active*) echo affect-edge.service loaded active ;;\n'
        f'"restart affect-edge.service" | is-active*affect-edge.service) {restart} ;; esac\n'
    )
    systemctl.chmod(0o755)
    running = "mkdir -p /run/systemd/system; exec /root/src/deploy/install.sh"
    return ["sh", "-c", " ".join([running, *options])]


def install_where_it_fails(
    root: DebianRoot, fails: str, *options: str
) -> "subprocess.CompletedProcess[str]":
    """Install where the daemon does not get ready while ``fails``, a condition, is true."""
    return root.run(*with_systemctl(root, f"! {fails}", *WHEELS, *options))


def calls(root: DebianRoot) -> list[str]:
    path = root.path / "root/calls"
    return path.read_text().splitlines() if path.exists() else []


HANGS = "[ $(readlink /opt/affect-edge/venv) != /opt/affect-edge/releases/{} ] || sleep 600"
"""The start of this release never ends."""
UNDO = "etc/systemd/system/undo-affect-edge.service"
AT_START = "etc/systemd/system/sysinit.target.wants/undo-affect-edge.service"


def assert_no_trial(root: DebianRoot) -> None:
    """Check that nothing is left that would undo an upgrade at the next start."""
    assert not (root.path / "opt/affect-edge/trial").exists()
    assert not (root.path / UNDO).exists()
    assert not (root.path / AT_START).is_symlink()


def install_until_it_waits(root: DebianRoot, release: int) -> "subprocess.Popen[str]":
    """Start an upgrade to a release that never gets ready; return the installer that waits."""
    command = with_systemctl(root, HANGS.format(release), *WHEELS)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    installer = subprocess.Popen(root.command(*command), text=True, **pipes)
    wait_until(lambda: "restart affect-edge.service" in calls(root) or installer.poll(), 300)
    assert installer.poll() is None, installer.communicate()
    return installer


def start_again(root: DebianRoot) -> "subprocess.CompletedProcess[str]":
    """Run what systemd runs at the next start, as the unit says."""
    (root.path / "usr/local/bin/systemctl").unlink()
    unit = (root.path / AT_START).resolve().name
    text = (root.path / "etc/systemd/system" / unit).read_text()
    (command,) = re.findall(r"(?m)^ExecStart=(.*)$", text)
    verified = root.run("systemd-analyze", "verify", "--man=no", unit)
    assert unit not in verified.stderr, verified.stderr
    return root.run(*command.split())
