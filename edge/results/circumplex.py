"""Where on the circumplex the faces were: density of valence and arousal, by time.

The named points are those of each expression at full intensity (Kalabis 2024, table 3.1, after
AffectNet, which lacks contempt).
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from edge.results.figures import INK, PALE, Axes, Figure, new_figure, plain, require_matplotlib
from edge.results.table import Table

POINTS: Final = {
    "neutral": (0.0, 0.0), "happy": (0.92, 0.15), "sad": (-0.84, -0.4), "surprise": (0.3, 0.85),
    "fear": (-0.1, 0.8), "disgust": (-0.64, 0.5), "anger": (-0.44, 0.8),
}  # fmt: skip

COLUMNS: Final = 3
_CELLS: Final = 40


def circumplex(table: Table, subjects: Sequence[int]) -> Figure:
    """Return the density of each subject, one panel each; call it inside ``styled``.

    A panel shows the share of the classified time in each of 40 x 40 cells, with mean and standard
    deviation.

    Args:
        table: the record.
        subjects: indices of the subjects, one or more.
    """
    columns = min(COLUMNS, len(subjects))
    rows = math.ceil(len(subjects) / columns)
    side_in = 3.4 if columns == 1 else 6.1 / columns
    figure = new_figure(0.1 + rows * (side_in + 0.45))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(subjects) :]:
        axes.set_axis_off()
    shares = [_density(table, subject) for subject in subjects]
    top = max((float(share.max()) for share in shares), default=0.0) or 1.0
    colours = require_matplotlib().colormaps["Blues"].with_extremes(under="white")
    image = None
    for axes, subject, share in zip(grid, subjects, shares, strict=False):
        _draw_ground(axes)
        image = axes.imshow(
            share.T * 100,
            origin="lower",
            extent=(-1, 1, -1, 1),
            cmap=colours,
            norm=require_matplotlib().colors.PowerNorm(0.5, vmin=1e-9, vmax=top * 100),
            interpolation="nearest",
            zorder=1,
        )
        _draw_mean(axes, table, subject)
        axes.set_title(plain(table.subjects[subject].name), loc="left", pad=4)
    bar = figure.colorbar(image, ax=list(grid), shrink=0.7, aspect=28, pad=0.02)
    bar.set_label("Classified time in the cell (%)")
    bar.outline.set_linewidth(0.4)
    return figure


def _density(table: Table, subject: int) -> np.ndarray:
    rows = table.rows_of[subject]
    known = np.isfinite(table.valence[rows]) & np.isfinite(table.arousal[rows])
    rows, weights = rows[known], table.weights(rows)[known]
    if not weights.any():
        weights = np.ones(len(rows))
    found, _, _ = np.histogram2d(
        table.valence[rows], table.arousal[rows], _CELLS, [[-1, 1], [-1, 1]], weights=weights
    )
    return found / max(float(weights.sum()), 1e-12)


def _draw_ground(axes: Axes) -> None:
    patches = require_matplotlib().patches
    halo = require_matplotlib().patheffects.withStroke(linewidth=1.5, foreground="white")
    axes.add_patch(patches.Circle((0, 0), 1, fill=False, color=PALE, linewidth=0.7, zorder=2))
    axes.axhline(0, color=PALE, linewidth=0.5, zorder=2)
    axes.axvline(0, color=PALE, linewidth=0.5, zorder=2)
    for name, (valence, arousal) in POINTS.items():
        axes.plot(valence, arousal, "o", color=INK, markersize=1.8, zorder=4)
        axes.annotate(
            name, (valence, arousal), xytext=(0, 3), textcoords="offset points", ha="center",
            fontsize=6, zorder=7,
            path_effects=[halo],
        )  # fmt: skip
    axes.set_aspect("equal")
    axes.set_xlim(-1.08, 1.08)
    axes.set_ylim(-1.08, 1.08)
    axes.set_xticks([-1, 0, 1], ["-1", "0", "1"])
    axes.set_yticks([-1, 0, 1], ["-1", "0", "1"])
    axes.set_xlabel("Valence", labelpad=1)
    axes.set_ylabel("Arousal", labelpad=0)


def _draw_mean(axes: Axes, table: Table, subject: int) -> None:
    rows = table.rows_of[subject]
    known = np.isfinite(table.valence[rows]) & np.isfinite(table.arousal[rows])
    rows, weights = rows[known], table.weights(rows)[known]
    if not len(rows):
        axes.text(0, -0.5, "never classified", ha="center", color=PALE, zorder=5)
        return
    weights = weights if weights.any() else np.ones(len(rows))
    mean, sd = [], []
    for values in (table.valence[rows], table.arousal[rows]):
        mean.append(float(np.average(values, weights=weights)))
        sd.append(float(np.sqrt(np.average((values - mean[-1]) ** 2, weights=weights))))
    axes.errorbar(
        mean[0], mean[1], xerr=sd[0], yerr=sd[1], fmt="D", color="#D55E00", markersize=3.5,
        linewidth=1.0, capsize=2, markeredgecolor="white", markeredgewidth=0.5, zorder=6,
    )  # fmt: skip
