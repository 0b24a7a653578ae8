"""The line files of one log, committed together with its progress."""

from collections.abc import Callable, Sequence
from pathlib import Path

from edge.client.logs.linefile import LineFile
from edge.client.logs.progress import Progress, ProgressFile, SavedProgress
from edge.client.logs.rotation import dated_name
from edge.errors import ConfigError


class LineFiles:
    """Commits lines of several files and a progress file. Not thread-safe.

    The lines are on the disk before the progress is stored. What a kill leaves behind the stored
    end of a file is cut off at the next start: the messages in it were not acknowledged.

    Args:
        files: the log first; the others lie next to it.
        report: takes a line when the progress file cannot be read.

    Attributes:
        cut_bytes: bytes that ``recover`` cut off.
    """

    def __init__(self, files: Sequence[LineFile], report: Callable[[str], None]) -> None:
        self.files = tuple(files)
        self.cut_bytes = 0
        self._progress_file = ProgressFile(files[0].path, report)
        self._changed = False

    @property
    def size(self) -> int:
        """Bytes of all files, and of the lines in memory."""
        return sum(file.size for file in self.files)

    @property
    def deleted_lines(self) -> int:
        """Lines of this run that were deleted with their file."""
        return sum(file.deleted_lines for file in self.files)

    def recover(self) -> tuple[SavedProgress, bool]:
        """Cut off what was not committed; return the stored progress, and whether it is complete.

        If it is not, a file was moved, replaced or cut, or there is no progress yet: then the files
        may hold newer messages, too.
        """
        saved = self._progress_file.load()
        is_complete = saved is not None
        saved = saved or SavedProgress()
        for file in self.files:
            end = saved.ends.get(file.path.name)
            cut_bytes = None if end is None else file.cut_to(end)
            is_complete = is_complete and cut_bytes is not None
            self.cut_bytes += (cut_bytes or 0) + file.start()
        if self._is_empty:  # moved, deleted or set aside
            saved.day = None
        return saved, is_complete

    def note_change(self) -> None:
        """Have the next commit store the progress."""
        self._changed = True

    def commit(self, progress: Progress) -> None:
        """Store the added lines and the progress; see ``LogFormat.commit``."""
        for file in self.files:
            file.commit()
        if self._changed:
            self._store(progress)
            self._changed = False

    def rotate(self, progress: Progress, on_day: str) -> None:
        """Rename the files; see ``LogFormat.rotate``."""
        if self._is_empty:  # somebody has moved or deleted them
            progress.day = None
            return
        first, *others = self.files
        suffixes = [file.path.name.removeprefix(first.path.stem) for file in others]
        name = dated_name(first.path, on_day, *suffixes)
        # the others first: a log that lacks only its main file has not begun
        for file, suffix in zip(others, suffixes, strict=True):
            file.set_aside(name.with_suffix(suffix))
        first.set_aside(name)
        progress.day = None
        self._changed = True
        for file in self.files:
            file.start()
        self._store(progress)

    def close(self) -> None:
        """Close the files."""
        for file in self.files:
            file.close()

    @property
    def _is_empty(self) -> bool:
        return all(file.is_empty for file in self.files)

    def _store(self, progress: Progress) -> None:
        ends = {file.path.name: file.end() for file in self.files}
        self._progress_file.store(progress, ends)


def opened_line_files(
    path: Path, headers: dict[str, bytes], report: Callable[[str], None]
) -> LineFiles:
    """Open the files of a log.

    Args:
        path: of the log.
        headers: first line of each file by its suffix, such as ``.csv`` and ``.events.csv``.
        report: takes a line when a file was deleted, moved, replaced or cut.

    Raises:
        ConfigError: as ``LineFile``; none stays open.
    """
    files: list[LineFile] = []
    try:
        for suffix, header in headers.items():
            files.append(LineFile(path.with_suffix(suffix), header, report))
    except ConfigError:
        for file in files:
            file.close()
        raise
    return LineFiles(files, report)
