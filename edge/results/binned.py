"""A subject's record in time bins, as plots need it: never more than a line on paper can show."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge.results.table import Floats, Integers, Table
from edge.vocabulary import EXPRESSIONS

BINS_MAX: Final = 600
_WIDTHS_S: Final = (
    0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400,
    43200, 86400, 172800, 604800, 2592000,
)  # fmt: skip

CLASSIFIED: Final = 0
NOT_CLASSIFIED: Final = 1
NOT_IN_VIEW: Final = 2
NOT_RECORDED: Final = 3
"""States of a bin: what most of its time was. ``NOT_CLASSIFIED``: the face was in view."""


@dataclass(frozen=True, slots=True)
class Bins:
    """B bins of equal length.

    Attributes:
        edges_s: (B + 1,) seconds on the table's axis.
        state: (B,) one of the states above.
        valence: (B,) mean; NaN: nothing was classified.
        valence_sd: (B,) standard deviation within the bin.
        arousal: (B,) mean.
        arousal_sd: (B,) standard deviation within the bin.
        expressions: (8, B) share of the classified time by stable label; 0 where there was none.
    """

    edges_s: Floats
    state: Integers
    valence: Floats
    valence_sd: Floats
    arousal: Floats
    arousal_sd: Floats
    expressions: Floats

    @property
    def width_s(self) -> float:
        """Length of a bin."""
        return float(self.edges_s[1] - self.edges_s[0])

    def stretches(self, state: int) -> list[tuple[float, float]]:
        """Return where the bins are in ``state``: start and end of each stretch."""
        return _stretches(self.state == state, self.edges_s)


def bin_width_s(table: Table, bins_max: int = BINS_MAX) -> float:
    """Return the shortest usual length of bins that gives ``bins_max`` at most."""
    least = max((table.end_s - table.start_s) / bins_max, 2 * table.spacing_s)
    return next((float(width) for width in _WIDTHS_S if width >= least), least)


def bins_of(table: Table, rows: Integers, width_s: float) -> Bins:
    """Return the bins of one subject.

    A frame counts in the bin in which it begins.

    Args:
        table: the record.
        rows: the subject's faces, in order.
        width_s: length of a bin, above 0.
    """
    first = int(np.floor(table.start_s / width_s))
    last = max(int(np.ceil(table.end_s / width_s - 1e-9)), first + 1)
    count = last - first
    edges: Floats = (np.arange(first, last + 1) * width_s).astype(np.float64)

    def sums(times: Floats, weights: Floats) -> Floats:
        at = np.clip(np.floor(times / width_s).astype(np.int64) - first, 0, count - 1)
        return np.bincount(at, weights, count).astype(np.float64)

    recorded = sums(table.frame_time_s, table.frame_s)
    times, weights = table.frame_time_s[table.frame[rows]], table.weights(rows)
    if not weights.any():  # a single picture stands for no time
        weights, recorded = np.ones(len(weights)), np.maximum(recorded, 1.0)
    label = table.label[rows]
    is_classified = label >= 0
    in_view = sums(times, weights)
    classified = sums(times[is_classified], weights[is_classified])
    state = np.full(count, NOT_IN_VIEW)
    state[in_view > recorded / 2] = NOT_CLASSIFIED
    state[(classified > in_view / 2) & (classified > 0)] = CLASSIFIED
    state[recorded <= 0] = NOT_RECORDED
    found = {}
    for name in ("valence", "arousal"):
        values = getattr(table, name)[rows]
        is_known = np.isfinite(values)
        total = sums(times[is_known], weights[is_known])
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = sums(times[is_known], weights[is_known] * values[is_known]) / total
            square = sums(times[is_known], weights[is_known] * values[is_known] ** 2) / total
        found[name] = mean
        found[f"{name}_sd"] = np.sqrt(np.maximum(square - mean**2, 0.0))
    shares = np.zeros((len(EXPRESSIONS), count))
    for at in range(len(EXPRESSIONS)):
        of_label = label == at
        shares[at] = sums(times[of_label], weights[of_label])
    np.divide(shares, classified, out=shares, where=classified > 0)
    return Bins(edges, state, **found, expressions=shares)


def _stretches(inside: npt.NDArray[np.bool_], edges_s: Floats) -> list[tuple[float, float]]:
    changes = np.flatnonzero(np.diff(inside, prepend=False, append=False))
    return [
        (float(edges_s[start]), float(edges_s[end]))
        for start, end in zip(changes[::2], changes[1::2], strict=True)
    ]
