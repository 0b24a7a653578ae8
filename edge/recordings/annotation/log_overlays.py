"""Overlays from a log: the run in it that read the recording, found by name and content."""

import os
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from edge.config.sources import Flip, Rotation
from edge.errors import ConfigError, LogFileError
from edge.protocol.events import EpochStarted, FileHashed, FileOpened
from edge.recordings.analysis.identity import file_sha256
from edge.recordings.annotation.log_tables import LogTables, Run, open_log_tables
from edge.recordings.annotation.overlay import FrameOverlay
from edge.results.analysed import SESSION
from edge.validation import first_error


class _Source(BaseModel):
    rate_hz: float | None = None


class _Config(BaseModel):
    source: _Source | None = None


class _Started(BaseModel):
    """What is read of ``epoch_started``; earlier versions wrote less."""

    rotate_deg: Rotation | None = None
    flip: Flip | None = None
    config: _Config | None = None


class _File(BaseModel):
    """What is read of ``file_opened`` and ``file_hashed``."""

    file: str | None = None
    bytes: int | None = None
    sha256: str | None = None


@dataclass(slots=True)
class _LoggedRun:
    """What a log says of one run: the file that it read, and how its pictures were turned."""

    file: str | None = None
    size: int | None = None
    sha256: str | None = None
    rotate_deg: Rotation = 0
    flip: Flip = "none"
    rate_hz: float | None = None

    def note(self, event: str, detail: Mapping[str, Any]) -> None:
        """Take in an event.

        Raises:
            ValidationError: a value of it is damaged.
        """
        if event == EpochStarted.event:
            started = _Started.model_validate(detail)
            self.rotate_deg, self.flip = started.rotate_deg or 0, started.flip or "none"
            source = started.config and started.config.source
            self.rate_hz = source.rate_hz if source else None
        elif event in (FileOpened.event, FileHashed.event):
            found = _File.model_validate(detail)
            self.sha256 = found.sha256 or self.sha256
            if event == FileOpened.event:
                self.file, self.size = found.file, found.bytes


@dataclass(frozen=True, slots=True)
class LoggedAnalysis:
    """Overlays from a log; see ``edge.recordings.annotation.overlays.Overlays``."""

    tables: LogTables
    run: Run
    rotate_deg: Rotation
    flip: Flip
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
    if os.path.isfile(log / recording.stem / SESSION):  # of several recordings
        log = log / recording.stem
    tables = open_log_tables(log)
    runs = _runs(log, tables)
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
    ((run, logged),) = _runs(folder, tables).items()
    return _overlays(tables, run, logged)


def _overlays(tables: LogTables, run: Run, logged: _LoggedRun) -> LoggedAnalysis:
    return LoggedAnalysis(
        tables, run, logged.rotate_deg, logged.flip, by_index=logged.rate_hz is not None
    )


def _runs(log: Path, tables: LogTables) -> dict[Run, _LoggedRun]:
    runs: dict[Run, _LoggedRun] = {}
    for run, event, detail in tables.events():
        try:
            runs.setdefault(run, _LoggedRun()).note(event, detail)
        except ValidationError as error:
            raise LogFileError(
                f"--from {log}: the event {event} is damaged: {first_error(error)}"
            ) from error
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
