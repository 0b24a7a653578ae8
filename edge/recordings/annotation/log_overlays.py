"""Overlays from a log: the run in it that read the recording, found by name and content."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import ConfigError
from edge.protocol.events import EpochStarted, FileHashed, FileOpened
from edge.recordings.analysis.identity import file_sha256
from edge.recordings.annotation.log_tables import LogTables, Run, open_log_tables
from edge.recordings.annotation.overlay import FrameOverlay
from edge.results.analysed import SESSION


@dataclass(slots=True)
class _LoggedRun:
    """What a log says of one run: the file that it read, and how its pictures were turned."""

    file: str | None = None
    size: int | None = None
    sha256: str | None = None
    rotate_deg: int = 0
    flip: str = "none"
    rate_hz: float | None = None


@dataclass(frozen=True, slots=True)
class LoggedAnalysis:
    """Overlays from a log; see ``edge.recordings.annotation.overlays.Overlays``."""

    tables: LogTables
    run: Run
    rotate_deg: int
    flip: str
    by_index: bool
    absent: str = "not in the log"

    def frames(
        self,
        start_ns: int,
        end_ns: int | None,
        on_picture: Callable[[int], None] = lambda _ns: None,
    ) -> Generator[FrameOverlay]:
        """Read the frames of the run.

        Raises:
            LogFileError: while iterating: the log cannot be read.
        """
        if self.by_index:  # their times are not those of the file
            yield from self.tables.frames(self.run)
            return
        for frame in self.tables.frames(self.run):
            on_picture(frame.media_ns)
            if end_ns is not None and frame.media_ns >= end_ns:
                return
            if frame.media_ns >= start_ns:
                yield frame


def overlays_from(
    log: Path, recording: Path, report: Callable[[str], None] = lambda _line: None
) -> LoggedAnalysis:
    """Return the overlays of ``recording`` from ``log``, of its newest run if it has several.

    A run is that of the recording if its file had the same SHA-256; where the log has none, the
    same name and size.

    Args:
        log: a log of any format, or the folder of an analysis, of this recording or of several.
        recording: the video file.
        report: takes a line if the log has several runs of it.

    Raises:
        ConfigError: there is no such log, or it has no run of this recording.
        LogFileError: the log cannot be read.
    """
    if (log / recording.stem / SESSION).is_file():  # of several recordings
        log = log / recording.stem
    tables = open_log_tables(log)
    runs = _runs(tables)
    content = _Content(recording)
    found = [run for run, logged in runs.items() if content.is_that_of(logged)]
    if not found:
        files = sorted({each.file for each in runs.values() if each.file is not None})
        held = f"it is of {', '.join(files[:5])}" if files else "it is of no video file"
        raise ConfigError(
            f"--from {log}: not a log of {recording.name}: {held}; expected the log that was"
            " written while this file was read (name, size and SHA-256 are compared)"
        )
    if len(found) > 1:
        report(f"{log}: {len(found)} runs read {recording.name}; the newest is drawn")
    return _overlays(tables, found[-1], runs[found[-1]])


def overlays_of_analysis(folder: Path) -> LoggedAnalysis:
    """Return the overlays of an analysis that was just made: its recording is not compared.

    Args:
        folder: of its tables.
    """
    tables = open_log_tables(folder)
    ((run, logged),) = _runs(tables).items()
    return _overlays(tables, run, logged)


def _overlays(tables: LogTables, run: Run, logged: _LoggedRun) -> LoggedAnalysis:
    return LoggedAnalysis(
        tables, run, logged.rotate_deg, logged.flip, by_index=logged.rate_hz is not None
    )


def _runs(tables: LogTables) -> dict[Run, _LoggedRun]:
    runs: dict[Run, _LoggedRun] = {}
    for run, event, detail in tables.events():
        logged = runs.setdefault(run, _LoggedRun())
        if event == EpochStarted.event:
            source: Any = (detail.get("config") or {}).get("source") or {}
            logged.rotate_deg = int(detail.get("rotate_deg") or 0)
            logged.flip = str(detail.get("flip") or "none")
            logged.rate_hz = source.get("rate_hz")
        elif event == FileOpened.event:
            logged.file, logged.size = str(detail.get("file")), detail.get("bytes")
            logged.sha256 = detail.get("sha256") or logged.sha256
        elif event == FileHashed.event:
            logged.sha256 = detail.get("sha256") or logged.sha256
    return runs


class _Content:
    """Compares a recording with what logs say; reads it only where its size fits."""

    def __init__(self, recording: Path) -> None:
        self._recording = recording
        self._sha256: str | None = None

    def is_that_of(self, logged: _LoggedRun) -> bool:
        try:
            if logged.file is None or logged.size != self._recording.stat().st_size:
                return False
            if logged.sha256 is None:
                return logged.file == self._recording.name
            self._sha256 = self._sha256 or file_sha256(self._recording)
        except OSError as error:
            raise ConfigError(f"{self._recording}: cannot be read: {error.strerror}") from error
        return logged.sha256 == self._sha256
