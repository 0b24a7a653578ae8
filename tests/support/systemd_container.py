"""Debian with a systemd of its own in namespaces of this machine's kernel: no emulation, no camera.

It starts in seconds. Its kernel is this machine's, so that a power cut loses no page that was
written; ``virtual_machine`` loses them.
"""

import subprocess
from pathlib import Path
from typing import Self

from tests.support.debian_root import BACKGROUND, DebianRoot
from tests.support.remote_commands import RemoteCommands
from tests.support.waiting import wait_until

PROGRAMS = ("nsenter",)

FOR_BUSY_MACHINES = "[Service]\nTimeoutStartSec=600\nWatchdogSec=120\n"
"""A drop-in for the daemon, which may get little of the processor here."""

_NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup")

_GROUPS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
"""Where the second version of control groups lies, beside the first one or alone."""

_DEVICES = "null zero full random urandom tty"

# systemd gets a group of its own as the root of its tree, and every file system that it expects.
_START = f"""
group=$1 root=$2
mkdir "$group"; echo $$ >"$group/cgroup.procs"
exec unshare {" ".join(_NAMESPACES)} --fork --kill-child sh -euc '
root=$0
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup "$root/sys/fs/cgroup"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/shm" "$root/dev/pts"
for device in {_DEVICES}; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ip link set lo up
hostname container
cd "$root"
pivot_root . mnt
umount -l /mnt
mount --make-rshared /  # as systemd itself does outside of containers: credentials need it
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin /sbin/init
' "$root"
"""


class SystemdContainer(RemoteCommands):
    """One system; ``start`` and ``cut_power`` as often as wanted."""

    poll_s = 0.2

    def __init__(self, root: DebianRoot) -> None:
        self._root = root.path
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        (self._root / "etc/machine-id").write_text("")

    @staticmethod
    def is_possible() -> bool:
        """Whether this machine has what it needs, apart from programs."""
        return _parent_group() is not None

    def start(self) -> None:
        """Start it, and wait until its systemd answers."""
        assert self._process is None
        parent = _parent_group()
        assert parent is not None
        self._starts += 1
        self._group = parent / f"affect-edge-{self._root.parent.name}-{self._starts}"
        self._process = subprocess.Popen(
            [*BACKGROUND, "sh", "-euc", _START, "sh", str(self._group), str(self._root)],
            stdin=subprocess.DEVNULL,
        )
        self.wait_for("systemctl show -P Version", 120)

    def command(self, *command: str) -> list[str]:
        """Return a command line that runs ``command`` in it as root. It must have been started."""
        environment = ("HOME=/root", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        into = ("nsenter", "--target", str(self._first_process), *_NAMESPACES)
        return [*BACKGROUND, *into, "env", "-i", *environment, *command]

    def connect(self, other: Self, address: str, address_of_other: str) -> None:
        """Lay a cable to another one; each end gets an address. A restart removes it."""
        one, two = str(self._first_process), str(other._first_process)
        into = ("ip", "link", "add", "cable", "netns", one, "type", "veth")
        subprocess.run([*into, "peer", "name", "cable", "netns", two], check=True)
        for process, own in ((one, address), (two, address_of_other)):
            for words in (("addr", "add", f"{own}/24", "dev"), ("link", "set", "up", "dev")):
                command = ["nsenter", "--target", process, "--net", "ip", *words, "cable"]
                subprocess.run(command, check=True)

    @property
    def _first_process(self) -> int:
        """Its systemd, as this machine numbers it."""
        assert self._process is not None
        assert self._process.poll() is None, "it has ended"
        listed = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return int(listed.split()[0])

    def run(self, command: str, timeout_s: float = 300) -> tuple[int, str]:
        """Run a command as root; return its exit code and its output, errors included."""
        try:
            words = self.command("sh", "-c", command)
        except (IndexError, FileNotFoundError):
            return 1, "not started yet"
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, timeout=timeout_s,
        )  # fmt: skip
        return done.returncode, done.stdout

    def reboot(self) -> None:
        """Let it shut down in order, and start it again."""
        self.run("systemctl reboot --no-block")
        self.start_after_reboot()

    def start_after_reboot(self) -> None:
        """Wait until it has shut down by itself, and start it again."""
        assert self._process is not None
        self._process.wait(120)
        self._ended()
        self.start()

    def cut_power(self) -> None:
        """Kill it, and everything in it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._ended()

    def _ended(self) -> None:
        self._process = None
        # its processes are gone as soon as the kernel has taken them away
        for group in sorted(self._group.rglob("*/"), reverse=True):
            wait_until(lambda group=group: _is_removed(group))
        wait_until(lambda: _is_removed(self._group))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut_power()


def _parent_group() -> Path | None:
    return next((path for path in _GROUPS if (path / "cgroup.procs").is_file()), None)


def _is_removed(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError:
        return not group.exists()
    return True
