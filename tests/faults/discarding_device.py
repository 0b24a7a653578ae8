"""A block device that drops what is written to it, and reports success, while a switch is on.

As some worn memory cards do. The image of a ``LoopDevice`` is served by a process over the kernel's
FUSE protocol: file system, loop device and page cache are the real ones, and what is read from the
device is what it had before the switch was on. Needs root and ``/dev/fuse``.
"""

import ctypes
import errno
import mmap
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.loop_device import LoopDevice, run
from tests.support.daemons import ROOT

# <linux/fuse.h>
_IN, _OUT = struct.Struct("<IIQQIIIHH"), struct.Struct("<IiQ")
_FORGET, _INTERRUPT, _READ, _WRITE = 2, 36, 15, 16
_DIRECT_IO = 1  # FOPEN_DIRECT_IO: no page cache between loop device and image
_WRITE_BYTES = 128 << 10
_WRITE_HEAD = 40


class DiscardingDevice(LoopDevice):
    """A ``LoopDevice`` with the switch ``discards``."""

    def __init__(self, megabytes: int) -> None:
        if not os.access("/dev/fuse", os.W_OK):
            pytest.skip("no /dev/fuse")
        super().__init__(megabytes)

    def make_image(self, megabytes: int) -> None:
        """Make the image, and have it served from now on."""
        super().make_image(megabytes)
        self._switch = self.image.with_name("discards")
        self._server = subprocess.Popen(
            [sys.executable, "-m", __name__, self.image, self._switch],
            cwd=ROOT, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == b"mounted\n"

    @property
    def discards(self) -> bool:
        """Whether what is written to the device is dropped."""
        return self._switch.exists()

    @discards.setter
    def discards(self, value: bool) -> None:
        if value:
            self._switch.touch()
        else:
            self._switch.unlink()

    def remove_image(self) -> None:
        """End the server."""
        run("umount", self.image)
        self._server.wait(10)
        assert self._server.stdout is not None
        self._server.stdout.close()


def serve(image: Path, switch: Path) -> None:
    """Mount a view of an image over it, and serve it until it is unmounted."""
    with image.open("r+b") as file:
        content = mmap.mmap(file.fileno(), 0)
    channel = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={channel},rootmode=100600,user_id=0,group_id=0"
    name = str(image).encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"image", name, b"fuse", 0, options.encode()):
        raise OSError(ctypes.get_errno(), "mount")
    replies = fixed_replies(len(content))
    print("mounted", flush=True)
    while True:
        try:
            request = os.read(channel, _WRITE_BYTES + 4096)
        except OSError:  # unmounted
            return
        _, opcode, unique, *_ = _IN.unpack_from(request)
        if opcode in (_FORGET, _INTERRUPT):
            continue
        body = memoryview(request)[_IN.size :]
        reply = replies.get(opcode)
        if opcode in (_READ, _WRITE):
            _, offset, count = struct.unpack_from("<QQI", body)
            reply = content[offset : offset + count]
        if opcode == _WRITE:
            if not switch.exists():
                content[offset : offset + count] = bytes(body[_WRITE_HEAD : _WRITE_HEAD + count])
            reply = struct.pack("<II", count, 0)
        error = -errno.ENOSYS if reply is None else 0
        reply = reply or b""
        os.write(channel, _OUT.pack(_OUT.size + len(reply), error, unique) + reply)


def fixed_replies(size: int) -> dict[int, bytes]:
    """Return the replies that are always the same, by opcode, for an image of ``size`` bytes."""
    attributes = struct.pack("<QII", 1, 0, 0) + struct.pack(
        "<6Q10I", 1, size, size // 512, *(0,) * 6, 0o100600, 1, 0, 0, 0, 4096, 0
    )
    done = b""
    return {
        3: attributes,  # GETATTR
        14: struct.pack("<QII", 0, _DIRECT_IO, 0),  # OPEN
        17: bytes(80),  # STATFS
        18: done,  # RELEASE
        20: done,  # FSYNC
        25: done,  # FLUSH
        26: struct.pack("<IIIIHHIIHH32x", 7, 31, 0, 0, 16, 12, _WRITE_BYTES, 1, 32, 0),  # INIT
        38: done,  # DESTROY
    }


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]))
