"""Figures over time: valence and arousal, other sensors below them, and expressions."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from edge.results.binned import (
    NOT_CLASSIFIED,
    NOT_IN_VIEW,
    NOT_RECORDED,
    Bins,
    bin_width_s,
    bins_of,
)
from edge.results.figures import (
    AROUSAL,
    EXPRESSION_COLOURS,
    INK,
    PALE,
    VALENCE,
    Axes,
    Figure,
    new_figure,
    plain,
    require_matplotlib,
    set_time_axis,
)
from edge.results.figures import NOT_IN_VIEW as NOT_IN_VIEW_COLOUR
from edge.results.join import Series
from edge.results.marks import Mark
from edge.results.table import Table

MARK_TEXTS_MAX: Final = 10
"""With more marks, their numbers alone stand in a figure."""

_UNCLASSIFIED_STYLE: Final[dict[str, Any]] = {
    "facecolor": NOT_IN_VIEW_COLOUR, "edgecolor": INK, "hatch": "....", "linewidth": 0,
}  # fmt: skip
_UNRECORDED_STYLE: Final[dict[str, Any]] = {
    "facecolor": "white", "edgecolor": PALE, "hatch": "////", "linewidth": 0,
}  # fmt: skip
_PANEL_IN: Final = 1.3
_TEXT_CHARACTERS: Final = 24
_EXPRESSION_BINS: Final = 240


def timeline(
    table: Table,
    subjects: Sequence[int],
    marks: Sequence[Mark] = (),
    series: Sequence[Series] = (),
) -> Figure:
    """Return valence and arousal over time, one panel for each subject; call it inside ``styled``.

    Args:
        table: the record.
        subjects: indices of the subjects, one or more.
        marks: drawn through all panels.
        series: other sensors, one panel each, below.
    """
    panels = len(subjects) + len(series)
    head_in = 0.55 if 0 < len(_inside(table, marks)) <= MARK_TEXTS_MAX else 0.3
    figure = new_figure(_PANEL_IN * panels + head_in + 0.55)
    grid = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    width_s = bin_width_s(table)
    for axes, subject in zip(grid, subjects, strict=False):
        bins = bins_of(table, table.rows_of[subject], width_s)
        _shade(axes, bins)
        _draw_values(axes, bins)
        axes.set_title(plain(table.subjects[subject].name), loc="left", pad=3)
        axes.set_ylim(-1.05, 1.05)
        axes.set_yticks([-1, -0.5, 0, 0.5, 1], ["-1", "", "0", "", "1"])
        axes.set_ylabel("Valence, arousal")
        axes.axhline(0, color=PALE, linewidth=0.5, zorder=1)
    for axes, each in zip(grid[len(subjects) :], series, strict=True):
        axes.plot(each.time_s, each.values, color=INK, linewidth=0.9, drawstyle="steps-post")
        axes.set_title(plain(each.name), loc="left", pad=3)
        axes.set_ylabel("Value")
        axes.margins(y=0.12)
    _draw_marks(grid, table, marks)
    set_time_axis(grid[-1], table.start_s, table.end_s)
    figure.align_ylabels(grid)
    _legend(figure, width_s)
    return figure


def expressions_over_time(
    table: Table, subjects: Sequence[int], marks: Sequence[Mark] = ()
) -> Figure:
    """Return the share of each expression over time; call it inside ``styled``.

    Args:
        table: the record.
        subjects: indices of the subjects, one or more.
        marks: drawn through all panels.
    """
    head_in = 0.55 if 0 < len(_inside(table, marks)) <= MARK_TEXTS_MAX else 0.3
    figure = new_figure(_PANEL_IN * len(subjects) + head_in + 0.65)
    grid = figure.subplots(len(subjects), 1, sharex=True, squeeze=False)[:, 0]
    width_s = bin_width_s(table, _EXPRESSION_BINS)
    for axes, subject in zip(grid, subjects, strict=True):
        bins = bins_of(table, table.rows_of[subject], width_s)
        _shade(axes, bins)
        lower = np.zeros(bins.expressions.shape[1])
        is_shown = bins.state == 0
        for name, share in zip(EXPRESSION_COLOURS, bins.expressions, strict=True):
            upper = lower + np.where(is_shown, share, 0.0)
            if share.any():
                axes.stairs(
                    upper, bins.edges_s, baseline=lower, fill=True, linewidth=0,
                    color=EXPRESSION_COLOURS[name], zorder=2,
                )  # fmt: skip
            lower = upper
        axes.set_title(plain(table.subjects[subject].name), loc="left", pad=3)
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.5, 1], ["0", "50", "100"])
        axes.set_ylabel("Classified (%)")
    _draw_marks(grid, table, marks)
    set_time_axis(grid[-1], table.start_s, table.end_s)
    patch = require_matplotlib().patches.Patch
    entries = [patch(color=colour, label=name) for name, colour in EXPRESSION_COLOURS.items()]
    figure.legend(handles=[*entries, *_shade_entries()], loc="outside lower center", ncols=6)
    return figure


def _draw_values(axes: Axes, bins: Bins) -> None:
    middles = (bins.edges_s[1:] + bins.edges_s[:-1]) / 2
    for values, spread, colour, style in (
        (bins.valence, bins.valence_sd, VALENCE, "-"),
        (bins.arousal, bins.arousal_sd, AROUSAL, (0, (4, 1.2))),
    ):
        low, high = np.maximum(values - spread, -1), np.minimum(values + spread, 1)
        axes.fill_between(middles, low, high, color=colour, alpha=0.16, linewidth=0, zorder=2)
        axes.plot(middles, values, color=colour, linestyle=style, zorder=3)
        # a value between two others that are not known has no line
        known = np.isfinite(values)
        alone = known & ~np.roll(known, 1) & ~np.roll(known, -1)
        axes.plot(middles[alone], values[alone], ".", color=colour, markersize=2.5, zorder=3)


def _shade(axes: Axes, bins: Bins) -> None:
    for start, end in bins.stretches(NOT_IN_VIEW):
        axes.axvspan(start, end, color=NOT_IN_VIEW_COLOUR, linewidth=0, zorder=0)
    for state, style in ((NOT_CLASSIFIED, _UNCLASSIFIED_STYLE), (NOT_RECORDED, _UNRECORDED_STYLE)):
        for start, end in bins.stretches(state):
            axes.axvspan(start, end, zorder=0, **style)


def _shade_entries() -> list[object]:
    patch = require_matplotlib().patches.Patch
    return [
        patch(label="not classified", **_UNCLASSIFIED_STYLE),
        patch(color=NOT_IN_VIEW_COLOUR, label="not in view"),
        patch(label="not recorded", **_UNRECORDED_STYLE),
    ]


def _legend(figure: Figure, width_s: float) -> None:
    lines = require_matplotlib().lines
    entries = [
        lines.Line2D([], [], color=VALENCE, label="valence"),
        lines.Line2D([], [], color=AROUSAL, linestyle=(0, (4, 1.2)), label="arousal"),
        require_matplotlib().patches.Patch(
            color=PALE, alpha=0.3, label=f"standard deviation within {width_s:g} s"
        ),
        *_shade_entries(),
    ]
    figure.legend(handles=entries, loc="outside lower center", ncols=6)


def _inside(table: Table, marks: Sequence[Mark]) -> list[tuple[int, Mark]]:
    return [
        (number, mark)
        for number, mark in enumerate(marks, 1)
        if table.start_s <= mark.time_s <= table.end_s
    ]


def _draw_marks(grid: Sequence[Axes], table: Table, marks: Sequence[Mark]) -> None:
    inside = _inside(table, marks)
    with_text = len(inside) <= MARK_TEXTS_MAX
    for number, mark in inside:
        for axes in grid:
            axes.axvline(mark.time_s, color=INK, linewidth=0.7, linestyle=":", zorder=4)
        text = f"{number}"
        if with_text:
            short = mark.text[:_TEXT_CHARACTERS]
            text += f": {short}" + ("…" if len(mark.text) > _TEXT_CHARACTERS else "")
        grid[0].annotate(
            plain(text),
            (mark.time_s, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(1, 13),
            textcoords="offset points",
            rotation=20 if with_text else 0,
            rotation_mode="anchor",
            fontsize=6.5,
            annotation_clip=False,
        )
