"""A file system of its own on a loop device, whose power can be cut; needs root."""

import fcntl
import os
import struct
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN, <linux/fs.h>
_NO_LOG_FLUSH = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH: nothing more reaches the device, as without power
_SECTOR = 512


def run(*command: object) -> str:
    """Run a command; return its output."""
    done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
    return done.stdout.strip()


class LoopDevice:
    """An ext4 image in memory, mounted at ``mount``; a context manager that removes all."""

    def __init__(self, megabytes: int, options: Sequence[str] = ("noatime", "commit=5")) -> None:
        if os.geteuid():
            pytest.skip("loop devices need root")
        self._folder = tempfile.TemporaryDirectory(dir="/dev/shm", prefix="loop-")
        self._options = ",".join(options)
        self.mount = Path(self._folder.name) / "mount"
        self.mount.mkdir()
        self.image = Path(self._folder.name) / "image"
        self.make_image(megabytes)
        self.device = run("losetup", "--find", "--show", self.image)
        self.attach()

    def __enter__(self) -> "LoopDevice":
        return self

    def __exit__(self, *_: object) -> None:
        if os.path.ismount(self.mount):
            self.detach()
        run("losetup", "--detach", self.device)
        self.remove_image()
        self._folder.cleanup()

    def make_image(self, megabytes: int) -> None:
        """Make the image of an empty file system."""
        with self.image.open("wb") as file:
            file.truncate(megabytes << 20)
        run("mkfs.ext4", "-q", "-F", "-m", 0, self.image)

    def remove_image(self) -> None:
        """Do what is needed before the folder of the image is deleted."""

    def attach(self) -> None:
        """Mount; after a power cut this replays the file system's own log."""
        run("mount", "-o", self._options, self.device, self.mount)

    def cut_power(self) -> None:
        """Let nothing more reach the device: every later access fails."""
        folder = os.open(self.mount, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(folder)

    def detach(self) -> None:
        """Unmount; a file that a thread has just closed may keep it busy for a moment."""
        for _ in range(50):
            if subprocess.run(["umount", self.mount], capture_output=True, check=False).returncode:
                time.sleep(0.1)
                continue
            return
        raise AssertionError(f"{self.mount} stays busy")

    def written_bytes(self) -> int:
        """Return how many bytes were written to the device so far."""
        stat = Path("/sys/block", Path(self.device).name, "stat").read_text().split()
        return int(stat[6]) * _SECTOR
