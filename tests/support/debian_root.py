"""Debian in a folder, for the installer, and in a virtual machine with real systemd.

``scripts/make-vm`` makes the parts of Debian 12 once, in ``.vm``, and ``scripts/make-debian13``
those of Debian 13 in ``.vm13``; each test gets a copy.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

from tests.support.daemons import ROOT
from tests.support.postgres import require

CACHE = ROOT / ".vm"
CACHE_13 = ROOT / ".vm13"
CLEAN = ("env", "-i", "HOME=/root", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
"""Prefix of commands that must not see this machine's environment."""
ALONE = ("unshare", "--mount", "--pid", "--net", "--fork", "--kill-child")
"""Prefix of commands in namespaces of their own, without a network."""
BACKGROUND = ("chrt", "--idle", "0")
"""Prefix of heavy commands: other work on this machine goes first."""

ENTER = """
ip link set lo up
mount -t proc proc "$0/proc"; mount --bind /dev "$0/dev"; mount -t tmpfs tmpfs "$0/run"
mkdir "$0/run/lock"; exec chroot "$0" "$@"
"""


class DebianRoot:
    """A copy of Debian with the project's installer and the wheels of affect-edge in it.

    ``/root/src`` holds ``deploy`` and ``systemd`` of this checkout, ``/root/wheels`` the wheels.

    Attributes:
        path: of the copy.
    """

    def __init__(self, folder: Path, cache: Path = CACHE) -> None:
        self.path = folder / "root"
        subprocess.run(["cp", "-a", "--reflink=auto", cache / "root", self.path], check=True)
        source = self.path / "root/src"
        for name in ("deploy", "systemd"):
            shutil.copytree(ROOT / name, source / name)
        shutil.copytree(cache / "wheels", self.path / "root/wheels")

    def command(self, *command: str) -> list[str]:
        """Return a command line that runs ``command`` in it as root, without a network."""
        return [*BACKGROUND, *CLEAN, *ALONE, "sh", "-c", ENTER, str(self.path), *command]

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in it to its end."""
        return subprocess.run(
            self.command(*command), capture_output=True, text=True, check=False, timeout=1800
        )

    def install(self, *options: str) -> "subprocess.CompletedProcess[str]":
        """Run the installer, from the wheels, starting nothing."""
        return self.run("/root/src/deploy/install.sh", *options, "--no-start")


def debian_cache(*programs: str, cache: Path = CACHE) -> None:
    """Skip the test, or fail it where ``vm`` is required, without the parts or ``programs``."""
    needed = ("unshare", "chroot", "chrt", "ip", *programs)
    missing = [name for name in needed if shutil.which(name) is None]
    if os.geteuid() != 0:
        missing.append("the right of root to mount")
    if not (cache / "ready").exists():
        maker = "vm-test" if cache == CACHE else "test-deploy-13"
        missing.append(f"{cache.name} (make {maker} makes it)")
    require("vm", not missing, ", ".join(missing))


def newer_wheel(folder: Path, version: str, **appended: str) -> Path:
    """Replace the wheel of affect-edge in ``folder`` by one of another version.

    Args:
        folder: with wheels.
        version: of the new wheel.
        appended: code to append to modules, by name (``edge.hub.daemon`` is ``edge_hub_daemon``).
    """
    (old,) = folder.glob("affect_edge-*.whl")
    was = old.name.split("-")[1]
    new = folder / old.name.replace(f"-{was}-", f"-{version}-")
    record: list[str] = []
    content: dict[str, bytes] = {}
    with zipfile.ZipFile(old) as wheel:
        for name in wheel.namelist():
            data = wheel.read(name)
            module = name.removesuffix(".py").replace("/", "_")
            if name.endswith("METADATA"):
                data = data.replace(f"Version: {was}".encode(), f"Version: {version}".encode(), 1)
            if name == "edge/__init__.py":
                data = data.replace(f'"{was}"'.encode(), f'"{version}"'.encode(), 1)
            data += appended.pop(module, "").encode()
            content[name.replace(f"affect_edge-{was}.", f"affect_edge-{version}.")] = data
    assert not appended, f"no such modules: {list(appended)}"
    with zipfile.ZipFile(new.with_suffix(".new"), "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in content.items():
            if name.endswith("RECORD"):
                record_name = name
                continue
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(data)}")
            wheel.writestr(name, data)
        wheel.writestr(record_name, "\n".join([*record, f"{record_name},,"]) + "\n")
    old.unlink()
    return new.with_suffix(".new").rename(new)
