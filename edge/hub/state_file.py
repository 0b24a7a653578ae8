"""A small file that is replaced as a whole: after a power cut it is the old or the new one.

A thread writes and syncs, since a memory card may hold a write for seconds: the hub's loop waits
for it only briefly, so that an answered request is normally on storage, and a slow card delays
nobody.
"""

import logging
import os
import threading
from pathlib import Path
from typing import Final

from edge.files.durable import damaged_name, replace_file
from edge.files.regular import open_regular

log = logging.getLogger("affect_edge")

SAVE_WAIT_S: Final = 0.25
RETRY_S: Final = 10.0
BYTES_MAX: Final = 8 << 20
CLOSE_WAIT_S: Final = 1.0


class StateFile:
    """Writes the newest content of one file, in a thread of its own.

    Methods are for one thread, the hub's main loop.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = threading.Condition()
        self._waiting: bytes | None = None  # content that is to be written
        self._is_writing = False
        self._is_closed = False
        self._error = ""
        self._thread = threading.Thread(target=self._run, name="state-file", daemon=True)
        self._thread.start()

    def read(self) -> bytes | None:
        """Return the content; None if there is no file.

        Raises:
            OSError: it cannot be read, or is larger than ``BYTES_MAX``.
        """
        try:
            with open(self._path, "rb", opener=open_regular) as file:
                content = file.read(BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        if len(content) > BYTES_MAX:
            raise OSError(0, f"larger than {BYTES_MAX} bytes")
        return content

    def set_aside(self) -> str:
        """Rename the file; return its new name, empty if it cannot be renamed."""
        fresh = damaged_name(self._path)
        try:
            os.replace(self._path, fresh)
        except OSError as error:
            log.error("%s: %s; it is overwritten", self._path, error.strerror)
            return ""
        return fresh.name

    def save(self, content: bytes, *, wait_s: float = SAVE_WAIT_S) -> None:
        """Write ``content``; return when it is on storage, or after ``wait_s``.

        Later content replaces content that is not written yet. A failure is logged, and the
        writing tried again.
        """
        with self._changed:
            self._waiting = content
            self._changed.notify_all()
            self._changed.wait_for(self._is_idle, wait_s)

    def close(self) -> None:
        """Write what is waiting, for ``CLOSE_WAIT_S`` at most, and end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(CLOSE_WAIT_S)

    def _is_idle(self) -> bool:
        return self._error != "" or (self._waiting is None and not self._is_writing)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._is_closed)
                content, self._waiting = self._waiting, None
                if content is None:
                    return
                self._is_writing = True
            error = self._write(content)
            with self._changed:
                self._is_writing = False
                self._note(error)
                if error and self._waiting is None:
                    self._waiting = content
                self._changed.notify_all()
                if error and self._changed.wait_for(lambda: self._is_closed, RETRY_S):
                    return

    def _write(self, content: bytes) -> str:
        try:
            replace_file(self._path, content)
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def _note(self, error: str) -> None:
        if error and not self._error:
            log.error(
                "%s: %s; codes, baselines and sessions are kept in memory alone; tried again every"
                " %g s",
                self._path,
                error,
                RETRY_S,
            )
        elif self._error and not error:
            log.info("%s: written again", self._path)
        self._error = error
