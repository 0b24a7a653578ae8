"""A virtual machine with Debian 12, real systemd and a simulated camera (vivid), without KVM.

Its processor is emulated, some thirty times slower than this one: times in it mean nothing.
"""

import os
import re
import shlex
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from tests.support.debian_root import BACKGROUND, CACHE, DebianRoot
from tests.support.remote_commands import RemoteCommands
from tests.support.waiting import wait_until

PROGRAMS = ("qemu-system-x86_64", "mkfs.ext4")

# A root shell on the second serial port. Without an error output it is not interactive: no prompt.
_SHELL_UNIT = """
[Unit]
Description=Root shell of the tests on the second serial port
DefaultDependencies=no
After=systemd-udevd.service systemd-remount-fs.service

[Service]
ExecStart=/bin/sh
Environment=HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
StandardInput=tty
StandardOutput=tty
StandardError=null
TTYPath=/dev/ttyS1
TTYReset=yes
Restart=always
"""

_GREETING = (
    "n={}; read b </proc/sys/kernel/random/boot_id; stty -F /dev/ttyS1 -echo -onlcr; echo up-$n-$b"
)
"""Of a line sent before its start, a shell sees the end, from any place on: so it has no quotes,
and without its beginning, the number, it is no answer."""

_FILES = {
    "etc/machine-id": "",
    "etc/hostname": "vm\n",
    "etc/hosts": "127.0.0.1 localhost vm\n",
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    "etc/modules-load.d/vivid.conf": "vivid\n",
    "etc/modprobe.d/vivid.conf": "options vivid n_devs=1 node_types=0x1 vid_cap_nr=0\n",
    "etc/systemd/system/shell.service": _SHELL_UNIT,
}

_MASKED = (
    *("serial-getty@ttyS0.service", "getty@tty1.service"),
    # they take minutes of an emulated processor while the daemon starts
    *("e2scrub_reap.service", "e2scrub_all.timer", "apt-daily.timer", "apt-daily-upgrade.timer"),
    *("dpkg-db-backup.timer", "fstrim.timer"),
)


class VirtualMachine(RemoteCommands):
    """One machine with its disk; ``start`` and ``cut_power`` as often as wanted.

    Attributes:
        console: file with what kernel and systemd print on the first serial port.
    """

    poll_s = 1.0

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._disk = folder / "disk.img"
        self.console = folder / "console.log"
        self._qemu: subprocess.Popen[bytes] | None = None
        self._shell: socket.socket | None = None
        self._count = 0
        self._boot = ""  # id of the present boot
        self._used_s = 0.0  # processor time before the present start

    def make_disk(self, root: DebianRoot) -> None:
        """Make a disk of a Debian root; the root is changed to be one of a machine."""
        for name, text in _FILES.items():
            path = root.path / name
            path.unlink(missing_ok=True)
            path.write_text(text)
        system = root.path / "etc/systemd/system"
        (system / "sysinit.target.wants").mkdir(exist_ok=True)
        (system / "sysinit.target.wants/shell.service").symlink_to("../shell.service")
        for unit in _MASKED:
            (system / unit).symlink_to("/dev/null")
        with self._disk.open("wb") as disk:
            disk.truncate(6 << 30)
        make = [*BACKGROUND, "mkfs.ext4", "-q", "-F", "-d", str(root.path), str(self._disk)]
        subprocess.run(make, check=True)

    def start(self) -> None:
        """Switch it on and wait until its shell answers."""
        assert self._qemu is None
        path = self._folder / "shell"
        path.unlink(missing_ok=True)
        self._qemu = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"),  # ends with the tests
                *("-accel", "tcg,thread=multi"),
                *("-cpu", "Nehalem", "-smp", "2", "-m", "1536"),  # -cpu max is ten times slower
                *("-display", "none", "-monitor", "none", "-nic", "none"),
                *("-kernel", CACHE / "kernel", "-initrd", CACHE / "initrd"),
                *("-append", "console=ttyS0"),
                *("-drive", f"file={self._disk},format=raw,if=virtio,cache=writeback"),
                *("-serial", f"file:{self.console}"),
                *("-serial", f"unix:{path},server=on,wait=off"),
            ],
            stdin=subprocess.DEVNULL,
        )
        wait_until(path.exists)
        self._shell = socket.socket(socket.AF_UNIX)
        self._shell.connect(str(path))
        self._wait_for_shell()

    def _wait_for_shell(self, other_than: str = "") -> None:
        """Wait for the shell of a boot with another id."""
        deadline = time.monotonic() + 600
        while True:
            self._boot = self._greet()
            if self._boot not in ("", other_than):
                return
            assert time.monotonic() < deadline, self.console.read_text()[-2000:]
            if self._boot:
                time.sleep(self.poll_s)  # it is still going down

    def _greet(self) -> str:
        """Return the id of the boot whose shell answers; "" if none does within 5 s."""
        self._count += 1
        line = _GREETING.format(self._count)
        try:
            answer = self._ask(line, rf"up-{self._count}-([0-9a-f-]{{36}})\r?\n", 5)
        except TimeoutError:
            return ""
        return answer[1].decode()

    def processor_s(self) -> float:
        """Return the seconds of processor time that it has used, over all its starts."""
        used = self._used_s
        if self._qemu is not None:
            fields = Path(f"/proc/{self._qemu.pid}/stat").read_text().rpartition(")")[2].split()
            used += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return used

    def run(self, command: str, timeout_s: float = 300) -> tuple[int, str]:
        """Run a command as root; return its exit code and its output, errors included.

        Raises:
            TimeoutError: it has not ended in time, or nothing answers.
        """
        self._count += 1
        # the mark is not in what the terminal may echo
        line = f"( eval {shlex.quote(command)} ) </dev/null 2>&1; code=$?; echo"
        pattern = rf"(?s)(.*?)\r?\nend-{self._count} (\d+)\r?\n"
        end = self._ask(f"{line}; echo end''-{self._count} $code", pattern, timeout_s)
        return int(end[2]), end[1].decode(errors="replace").replace("\r", "").lstrip("\n")

    def _ask(self, line: str, pattern: str, timeout_s: float) -> re.Match[bytes]:
        assert self._shell is not None
        self._shell.sendall(f"{line}\n".encode())
        deadline = time.monotonic() + timeout_s
        found = b""
        while not (answer := re.search(pattern.encode(), found)):
            self._shell.settimeout(max(0.01, deadline - time.monotonic()))
            found += self._shell.recv(65536)
        return answer

    def reboot(self) -> None:
        """Let it reboot in order, and wait for its shell."""
        self.run("systemctl reboot --no-block")
        self._wait_for_shell(other_than=self._boot)

    def cut_power(self) -> None:
        """Kill it: what its kernel has not written is lost."""
        if self._shell is not None:
            self._shell.close()
            self._shell = None
        if self._qemu is not None:
            self._used_s = self.processor_s()
            self._qemu.kill()
            self._qemu.wait()
            self._qemu = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut_power()
