"""Keeps the lines that native decoders write to standard error out of the log."""

import contextlib
import os
import re
import sys
from typing import Final, Self

_DECODER_LINE: Final = re.compile(
    r"libpng|TIFF|JPEG|JFIF|webp|GIF|[Uu]nsupported marker|[Pp]remature end|extraneous bytes"
    r"|bad Huffman"
)


class NativeLines:
    """Collects what is written to standard error within a ``with`` block.

    libpng, libjpeg and libtiff write there by themselves, past any log level. Lines that are not
    theirs, such as those of other threads, are written to standard error at the end of the block.
    Affects the whole process; use it in one thread only.

    Attributes:
        text: the lines of the decoders, without control characters.
    """

    def __init__(self) -> None:
        self.text: list[str] = []
        self._saved = -1
        self._memory = -1

    def __enter__(self) -> Self:
        """Redirect standard error to memory."""
        with contextlib.suppress(OSError):  # standard error is closed: nothing to keep out
            self._memory = os.memfd_create("stderr")
            self._saved = os.dup(2)
            os.dup2(self._memory, 2)
        return self

    def __exit__(self, *_: object) -> None:
        """Restore standard error."""
        if self._saved >= 0:
            os.dup2(self._saved, 2)
            os.close(self._saved)
        if self._memory < 0:
            return
        size = os.lseek(self._memory, 0, os.SEEK_END)
        written = os.pread(self._memory, size, 0) if size else b""
        os.close(self._memory)
        for line in written.decode(errors="replace").splitlines():
            if line.lstrip().startswith("["):  # OpenCV's own log
                continue
            if _DECODER_LINE.search(line):
                self.text.append("".join(c for c in line if c.isprintable()).strip())
            elif line.strip():
                sys.stderr.write(line + "\n")
