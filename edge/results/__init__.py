"""Results of a record: summary, plots, joined sensors and the report of a session.

This package sees no pictures and opens no sockets: it reads logs and the tables of ``analyse``. It
needs NumPy, and matplotlib for plots; ``pip install 'affect-edge[recordings]'``.
"""

from collections.abc import Sequence
from pathlib import Path


def check_inputs(
    *, marks: Path | None = None, joins: Sequence[Path] = (), time_column: str | None = None
) -> None:
    """Check files of marks and of other sensors before anything is computed.

    Args:
        marks: a ``marks.csv``.
        joins: CSV files of other sensors.
        time_column: the name of the column with the time in all of ``joins``.

    Raises:
        ConfigError: one of them cannot be read, or has other columns; one line.
    """
    from edge.results.marks import read_marks  # noqa: PLC0415

    if marks is not None:
        read_marks(marks)


def after_analysis(
    folder: Path,
    *,
    interval_s: float | None = None,
    marks: Path | None = None,
    joins: Sequence[Path] = (),
    time_column: str | None = None,
) -> None:
    """Write the results of one analysed recording into its folder: ``summary.csv``.

    The files are byte-equal for equal input.

    Args:
        folder: with the tables of the recording.
        interval_s: length of the summary's intervals, seconds; None: between marks.
        marks: a ``marks.csv``; None: the marks of the record.
        joins: CSV files of other sensors.
        time_column: the name of the column with the time in all of ``joins``.

    Raises:
        ConfigError: as ``check_inputs``; or the folder holds no tables.
        LogFileError: a file cannot be read or written.
    """
    from edge.results.marks import read_marks, recorded_marks  # noqa: PLC0415
    from edge.results.summary import write_summary  # noqa: PLC0415
    from edge.results.tables import read_table  # noqa: PLC0415

    check_inputs(marks=marks, joins=joins, time_column=time_column)
    table = read_table(folder)
    chosen = recorded_marks(table) if marks is None else read_marks(marks)
    write_summary(table, folder / "summary.csv", interval_s=interval_s, marks=chosen)
