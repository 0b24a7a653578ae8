"""Results of a record: summary, plots, joined sensors and the report of a session.

This package sees no pictures and opens no sockets: it reads logs and the tables of ``analyse``. It
needs NumPy, and matplotlib for plots; ``pip install 'affect-edge[recordings]'``.
"""

from collections.abc import Callable, Sequence
from pathlib import Path


def check_inputs(
    *,
    marks: Path | None = None,
    joins: Sequence[Path] = (),
    time_column: str | None = None,
    undated: Path | None = None,
) -> None:
    """Check files of marks and of other sensors before anything is computed.

    Args:
        marks: a ``marks.csv``.
        joins: CSV files of other sensors.
        time_column: the name of the column with the time in all of ``joins``.
        undated: a recording of which it is not known when it was made; None: there is none.

    Raises:
        ConfigError: one of them cannot be read, or has other columns, or has dates although a
            recording has none, or matplotlib is missing; one line.
    """
    from edge.results.figures import require_matplotlib  # noqa: PLC0415
    from edge.results.join import read_sensors, require_no_dates  # noqa: PLC0415
    from edge.results.marks import read_marks  # noqa: PLC0415

    if marks is not None:
        read_marks(marks)
    for sensor in read_sensors(joins, time_column):
        if undated is not None:
            require_no_dates(sensor, undated)
    require_matplotlib()


def after_analysis(
    folder: Path,
    *,
    recording: str = "",
    interval_s: float | None = None,
    marks: Path | None = None,
    joins: Sequence[Path] = (),
    time_column: str | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> None:
    """Write the results of one analysed recording into its folder.

    They are ``summary.csv``, ``plots/``, with ``marks`` those of it in ``marks.used.csv``, and with
    ``joins`` ``joined.parquet`` and ``joined.csv``; byte-equal for equal input and the same version
    of matplotlib.

    Args:
        folder: with the tables of the recording.
        recording: name of its file; marks that name another one are left out.
        interval_s: length of the summary's intervals, seconds; None: between marks.
        marks: a ``marks.csv``; None: the marks of the record.
        joins: CSV files of other sensors.
        time_column: the name of the column with the time in all of ``joins``.
        on_step: is called again and again, whatever is done; it may take minutes.

    Raises:
        ConfigError: as ``check_inputs``; the folder holds no tables; or the times of a sensor are
            dates, and it is not known when the recording was made.
        LogFileError: a file cannot be read or written.
    """
    from edge.results.analysed import PLOTS, SUMMARY  # noqa: PLC0415
    from edge.results.join import (  # noqa: PLC0415
        check_times,
        read_sensors,
        series_of,
        write_joined,
    )
    from edge.results.kept import write_kept_marks  # noqa: PLC0415
    from edge.results.marks import marks_of, read_marks, recorded_marks  # noqa: PLC0415
    from edge.results.plots import write_plots  # noqa: PLC0415
    from edge.results.summary import write_summary  # noqa: PLC0415
    from edge.results.tables import read_table  # noqa: PLC0415

    sensors = read_sensors(joins, time_column)
    table = read_table(folder, report=lambda _line: on_step())
    for sensor in sensors:
        check_times(sensor, table)
    given = () if marks is None else marks_of(read_marks(marks), [recording])
    chosen = recorded_marks(table) if marks is None else given
    write_summary(table, folder / SUMMARY, interval_s=interval_s, marks=chosen, on_step=on_step)
    write_plots(table, folder / PLOTS, chosen, series_of(sensors, table), on_step=on_step)
    if given:
        write_kept_marks(folder, given)
    if sensors:
        write_joined(folder, sensors, on_step=on_step)
