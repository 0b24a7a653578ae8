"""The plots of a record: timeline, circumplex and expressions, as PNG and SVG.

Six subjects share a figure; more have further figures (``timeline-2.png``), 24 subjects at most:
all participants, then the tracks that were in view for longest.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from edge.results import circumplex, timeline
from edge.results.figures import Figure, as_png, as_svg, styled
from edge.results.files import opened_result, write_error
from edge.results.join import SERIES_MAX, Series
from edge.results.marks import Mark, Marks, recorded_marks
from edge.results.table import Table

PER_FIGURE: Final = 6
SUBJECTS_MAX: Final = 24


def write_plots(
    table: Table,
    folder: Path,
    marks: Marks | None = None,
    series: Sequence[Series] = (),
    *,
    on_step: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Write the plots; return their files, the same bytes for the same table.

    Args:
        table: the record.
        folder: of the plots; made if missing, for its owner alone.
        marks: the marks; None: those of the record.
        series: other sensors, drawn below the timeline.
        on_step: is called after each figure.

    Raises:
        ConfigError: matplotlib is not installed, or nothing can be written there.
        LogFileError: the disk is full or fails.
    """
    chosen = recorded_marks(table) if marks is None else marks
    written = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    with styled():
        for drawing in drawings(table, chosen, series):
            figure = drawing.draw()
            for suffix, render in (("png", as_png), ("svg", as_svg)):
                written.append(folder / f"{drawing.name}.{suffix}")
                with opened_result(written[-1]) as file:
                    file.write(render(figure))
                figure.set_layout_engine("none")  # the places are found: do not search again
            on_step()
    return written


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure that can be drawn.

    Attributes:
        kind: ``timeline``, ``circumplex`` or ``expressions``.
        page: number from 1, where the subjects need several figures.
        subjects: in it, as indices.
        draw: returns the figure; call it inside ``styled``.
    """

    kind: str
    page: int
    subjects: tuple[int, ...]
    draw: Callable[[], Figure]

    @property
    def name(self) -> str:
        """Of its files, such as ``timeline`` or ``timeline-2``."""
        return self.kind if self.page == 1 else f"{self.kind}-{self.page}"


def drawings(
    table: Table, marks: Sequence[Mark], series: Sequence[Series] = ()
) -> Iterator[Drawing]:
    """Yield the figures, with the first ``SERIES_MAX`` other sensors at most."""
    subjects, shown = subjects_shown(table), series[:SERIES_MAX]
    for page, first in enumerate(range(0, len(subjects), PER_FIGURE), 1):
        part = tuple(subjects[first : first + PER_FIGURE])
        for kind, draw in (
            ("timeline", partial(timeline.timeline, table, part, marks, shown)),
            ("circumplex", partial(circumplex.circumplex, table, part)),
            ("expressions", partial(timeline.expressions_over_time, table, part, marks)),
        ):
            yield Drawing(kind, page, part, draw)


def subjects_shown(table: Table) -> list[int]:
    """Return the subjects that figures show, as indices, in the order of the table."""
    seconds = [float(table.weights(rows).sum()) for rows in table.rows_of]
    ranked = sorted(
        range(len(table.subjects)),
        key=lambda at: (table.subjects[at].participant is None, -seconds[at], at),
    )
    return sorted(ranked[:SUBJECTS_MAX])
