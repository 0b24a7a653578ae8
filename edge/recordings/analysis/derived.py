"""What follows from the tables of a recording: summary, plots, joined sensors, annotated video."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edge.errors import ConfigError
from edge.recordings.analysis.identity import file_sha256
from edge.recordings.annotation.annotate import Span, annotate_video
from edge.recordings.annotation.drawing.canvas import require_pillow
from edge.recordings.annotation.log_overlays import overlays_of_analysis
from edge.recordings.annotation.video_reader import require_av
from edge.recordings.settings import Selection
from edge.results import after_analysis, check_inputs
from edge.results.analysed import VIDEO

_DESCRIPTORS: Final = ("/dev/stdin", "/dev/fd", "/proc/self")
"""Another process would find another file there."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is written besides the analysis itself; paths are absolute.

    Attributes:
        codes: participants by track, assigned afterwards.
        csv: whether the tables are written as CSV, too.
        interval_s: length of the summary's intervals, seconds; None: between marks.
        marks: a file of marks; None: those of the recording.
        joins: files of other sensors.
        time_column: their column with the time.
        video: whether to make an annotated video.
        sha256: of the content of the files of marks and sensors, by path.
    """

    codes: Mapping[int, str] = field(default_factory=dict)
    csv: bool = True
    interval_s: float | None = None
    marks: str | None = None
    joins: Sequence[str] = ()
    time_column: str | None = None
    video: bool = False
    sha256: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the values for ``session.json``, which tell whether anything changed."""
        return {
            "codes": {str(track): code for track, code in self.codes.items()},
            "csv": self.csv,
            "interval_s": self.interval_s,
            "marks": self.marks and self._described(self.marks),
            "joins": [self._described(path) for path in self.joins],
            "time_column": self.time_column,
            "video": self.video,
        }

    def _described(self, path: str) -> dict[str, str]:
        return {"file": Path(path).name, "sha256": self.sha256[path]}


def checked_outputs(
    *,
    csv: bool,
    interval_s: float | None,
    marks: Path | None,
    joins: Sequence[Path],
    time_column: str | None,
    video: bool,
    undated: Path | None,
) -> Outputs:
    """Return what is to be written, without codes, after a look at the files that it names.

    Args:
        csv: as in ``Outputs``, and so are the others.
        interval_s: seconds.
        marks: a file.
        joins: files.
        time_column: their column with the time.
        video: whether there is one.
        undated: a recording of which it is not known when it was made; None: there is none.

    Raises:
        ConfigError: one of the files cannot be read, or not twice, or its dates do not fit an
            undated recording, or a package is missing; one line.
    """
    named = [*joins, *([marks] if marks else [])]
    for path in named:
        if path.is_fifo() or any(map(path.absolute().is_relative_to, _DESCRIPTORS)):
            raise ConfigError(
                f"{'--marks' if path == marks else '--join'} {path}: is a pipe or a descriptor;"
                " expected a file, since it is read again for each recording"
            )
    check_inputs(marks=marks, joins=joins, time_column=time_column, undated=undated)
    if video:
        require_av()
        require_pillow()
    return Outputs(
        csv=csv,
        interval_s=interval_s,
        marks=None if marks is None else str(marks.absolute()),
        joins=[str(path.absolute()) for path in joins],
        time_column=time_column,
        video=video,
        sha256={str(path.absolute()): file_sha256(path) for path in named},
    )


def require_inputs(outputs: Outputs) -> None:
    """Check, before hours of analysis, that this machine has what ``write_derived`` will read.

    Raises:
        ConfigError: a file of marks or sensors cannot be read, or matplotlib is missing.
    """
    check_inputs(
        marks=None if outputs.marks is None else Path(outputs.marks),
        joins=[Path(path) for path in outputs.joins],
        time_column=outputs.time_column,
    )


def write_derived(
    outputs: Outputs,
    recording: Path,
    folder: Path,
    selection: Selection,
    *,
    on_step: Callable[[], None],
    on_video: Callable[[int], None],
) -> None:
    """Write what follows from the tables in a recording's folder.

    Args:
        outputs: what to write.
        recording: the video file, or the folder of pictures.
        folder: with the tables.
        selection: the part that was analysed.
        on_step: is called again and again until the annotated video begins.
        on_video: takes the time within the file of each picture that was decoded for the annotated
            video, ns.

    Raises:
        ConfigError: the times of a sensor do not fit the recording.
        LogFileError: a file cannot be read or written.
    """
    after_analysis(
        folder,
        recording=recording.name,
        interval_s=outputs.interval_s,
        marks=None if outputs.marks is None else Path(outputs.marks),
        joins=[Path(path) for path in outputs.joins],
        time_column=outputs.time_column,
        on_step=on_step,
    )
    if outputs.video:
        end_ns = None if selection.end_s is None else round(selection.end_s * 1e9)
        span = Span(round(selection.start_s * 1e9), end_ns)
        overlays = overlays_of_analysis(folder)
        annotate_video(recording, folder / VIDEO, overlays, span=span, on_progress=on_video)
