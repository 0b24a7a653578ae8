"""The report of a session: one page, HTML or PDF, for whoever has to judge the session.

The page refers to nothing outside itself and holds no script. The same record gives the same bytes.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from edge import __version__
from edge.errors import ConfigError
from edge.files.durable import require_place
from edge.results import method_sections, sections
from edge.results.analysed import PLOT
from edge.results.eyes import eyes_section
from edge.results.facts import facts_of
from edge.results.figures import as_svg, styled
from edge.results.files import check_places, opened_result
from edge.results.join import SERIES_MAX, Series, check_times, read_sensors, series_of
from edge.results.kept import kept_marks, kept_sensors
from edge.results.marks import (
    Mark,
    Marks,
    check_interval,
    marks_of,
    outside,
    read_marks,
    recorded_marks,
)
from edge.results.markup import Html, figure, join, tag
from edge.results.page_style import STYLE
from edge.results.pdf import pdf_writer
from edge.results.plots import drawings, subjects_shown, write_plots
from edge.results.summary import SummaryRow, whole, write_summary
from edge.results.table import Table
from edge.results.tables import read_table

SUFFIXES: Final = (".html", ".htm", ".pdf")
_LONG_PAGE: Final = 1_500_000


def write_report(
    record: Path,
    out: Path,
    *,
    session: str | None = None,
    device: str | None = None,
    participant: str | None = None,
    marks: Path | None = None,
    joins: Sequence[Path] = (),
    time_column: str | None = None,
    summary: Path | None = None,
    interval_s: float | None = None,
    plots: Path | None = None,
    force: bool = True,
    report: Callable[[str], None] = lambda _line: None,
) -> None:
    """Write the report of a record, and its summary and plots where they are asked for.

    Args:
        record: a log, or a folder that ``analyse`` made.
        out: the page, ``.html`` or ``.pdf``; it appears when it is complete. Neither it nor
            ``summary`` and ``plots`` may replace what is read, or what ``analyse`` made.
        session: name or id of the session; None: the whole record.
        device: the device; None: the only one.
        participant: code of the only participant in page, summary and plots; None: all faces.
        marks: a ``marks.csv``; None: those that ``analyse`` was given, else those of the record.
        joins: CSV files of other sensors, drawn below the timeline; none: those that ``analyse``
            was given.
        time_column: the name of the column with the time in all of ``joins``.
        summary: CSV file of the summary; None: none.
        interval_s: length of the summary's intervals, seconds; None: between marks.
        plots: folder of the plots; None: none.
        force: replace ``out`` if it exists.
        report: takes a line at each step that takes long, and the name of the page at the end.

    Raises:
        ConfigError: an input is wrong or missing, or a library is; one line.
        LogFileError: the record cannot be read, or the page cannot be written.
    """
    check_places(
        record,
        files={"--out": out, "--summary": summary},
        plots=plots,
        inputs={"--marks": [] if marks is None else [marks], "--join": joins},
    )
    _check_names(out, summary, plots, force=force)
    as_pdf = pdf_writer() if out.suffix.lower() == ".pdf" else None
    given = kept_marks(record) if marks is None else read_marks(marks)
    sensors = read_sensors(joins, time_column) or kept_sensors(record)
    table = read_table(record, session=session, device=device, report=report)
    if summary is not None:
        check_interval(interval_s, table.end_s - table.start_s)
    if participant is not None:
        table = _only(table, participant)
    for sensor in sensors:
        check_times(sensor, table)
    report(f"{len(table.frame_time_s)} pictures read; drawing the figures")
    chosen = _chosen(table, given, report)
    series = series_of(sensors, table)
    if len(series) > SERIES_MAX:
        drawn = ", ".join(each.name for each in series[:SERIES_MAX])
        report(f"{len(series)} columns of sensors: drawn are the first {SERIES_MAX}, {drawn}")
    page = render(table, marks=chosen, series=series)
    if as_pdf is not None:
        many = ": a minute for a page of many faces" if len(page) > _LONG_PAGE else ""
        report(f"making the PDF{many}")
    content = page.encode() if as_pdf is None else as_pdf(page)
    if summary is not None:
        write_summary(table, summary, interval_s=interval_s, marks=chosen)
    if plots is not None:
        _report_others(plots, write_plots(table, plots, chosen, series), report)
    with opened_result(out) as file:  # the last: a page is there if all that was asked for is
        file.write(content)
    for each in (summary, plots, out):
        if each is not None:
            report(f"{each}: written")


def _chosen(table: Table, given: Marks | None, report: Callable[[str], None]) -> Marks:
    """Return the marks of the page; report what is left out of those that were given."""
    names = [*table.files, table.path.name]  # results of a folder of pictures have its name
    chosen = recorded_marks(table) if given is None else marks_of(given, names)
    if given and (others := len(given) - len(chosen)):
        report(f"{others} of {len(given)} marks are left out: they name another file")
    if left_out := outside(table, chosen):
        report(
            f"{left_out} of {len(chosen)} marks are outside the record of {table.start_s:.3f} to"
            f" {table.end_s:.3f} s: they are in no plot and begin no interval; the newest one"
            " before the start names the first"
        )
    return chosen


def _report_others(folder: Path, written: Sequence[Path], report: Callable[[str], None]) -> None:
    """Report plots in a folder that are not those of this record."""
    others = {path.name for path in folder.iterdir() if PLOT.fullmatch(path.name)}
    others -= {path.name for path in written}
    if others:
        report(f"{folder}: holds plots of an earlier report, too: {', '.join(sorted(others))}")


def _check_names(out: Path, summary: Path | None, plots: Path | None, *, force: bool) -> None:
    if out.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--out {out}: expected a name that ends in .html or .pdf")
    require_place(out, f"--out {out}")
    if out.is_dir():
        raise ConfigError(f"--out {out}: is a folder; expected the name of a file")
    if out.exists() and not force:
        raise ConfigError(f"--out {out}: exists; expected another name, or --force to replace it")
    if summary is not None and summary.suffix.lower() != ".csv":
        raise ConfigError(f"--summary {summary}: expected a name that ends in .csv")
    if summary is not None:
        require_place(summary, f"--summary {summary}")
    if plots is not None:
        lowest = next(each for each in (plots, *plots.absolute().parents) if os.path.lexists(each))
        require_place(lowest / "plot", f"--plots {plots}")


def _only(table: Table, participant: str) -> Table:
    try:
        return table.only(participant)
    except ValueError:
        known = ", ".join(each.participant for each in table.subjects if each.participant) or "none"
        raise ConfigError(
            f"--participant {participant!r}: expected a participant of this record: {known}"
        ) from None


def render(
    table: Table,
    *,
    marks: Sequence[Mark] = (),
    series: Sequence[Series] = (),
) -> str:
    """Return the page.

    Args:
        table: the record.
        marks: the marks.
        series: other sensors, drawn below the timeline.

    Raises:
        ConfigError: matplotlib is missing.
    """
    rows, subjects = whole(table), subjects_shown(table)
    chosen = [rows[at] for at in subjects]
    facts = facts_of(table)
    left_out = len(rows) - len(chosen)
    body = join(
        tag(
            "header",
            tag("h1", facts.title),
            tag("p", sections.subtitle(table, facts, chosen), class_="subtitle"),
        ),
        sections.warning(),
        sections.session_section(table, facts, chosen),
        sections.classified_section(table, chosen, left_out),
        *_figures(table, rows, marks, series),
        sections.expressions_section(table, facts, chosen),
        sections.marks_section(table, marks, subjects),
        eyes_section(table, facts, chosen),
        sections.baseline_section(table, facts, {row.subject.participant for row in chosen}),
        method_sections.methods_section(table, facts, chosen),
        method_sections.limits_section(facts),
        tag("footer", tag("p", f"Made by affect-edge {__version__} from {table.path.name}.")),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{facts.title}: facial affect"),
        tag("style", Html(STYLE)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', tag('main', body)), lang='en')}\n"


def _figures(
    table: Table,
    rows: Sequence[SummaryRow],
    marks: Sequence[Mark],
    series: Sequence[Series],
) -> list[Html]:
    """Return a section for each kind of figure; ``rows``: the whole of each subject."""
    named: dict[str, list[Html]] = {}
    with styled():
        for each in drawings(table, marks, series):
            title, words = sections.described(each.kind, [rows[at] for at in each.subjects])
            drawn = figure(as_svg(each.draw()), f"{each.kind}-{each.page}", title, words)
            named.setdefault(each.kind, []).append(drawn)
    return [
        sections.figures_section(kind, figures, series_left_out=len(series[SERIES_MAX:]))
        for kind, figures in named.items()
    ]
