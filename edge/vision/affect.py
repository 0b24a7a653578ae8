"""Affect over time: smoothing and a label that does not flicker, both by elapsed seconds.

Smoothing is exponential: after a sudden change, 63 % of it shows after ``smoothing_s``, 90 % after
2.3 times that. ``stable_label`` costs more: when a certain expression gives way to another
certain one, the new one leads by ``label_margin`` m after ``smoothing_s * ln(2 / (1 - m))``, and
has to lead for ``label_hold_s`` from then on. With the defaults (0.5 s, 0.07, 0.3 s) that is 1.15 s
to 90 % of a step, and 0.38 s + 0.3 s to a new label. Raw readings are published beside both.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.config import AffectConfig
from edge.vision.values import Affect, Reading, SmoothedReading
from edge.vocabulary import EXPRESSIONS

# A past that weighs less than 1 % (5 time constants) is no past; but a short smoothing must not
# make the label forget over one frame of a slow source.
_STALE_TIME_CONSTANTS = 5.0
_STALE_MIN_S = 2.0


class AffectOverTime:
    """Smooths the readings of each track. Not thread-safe: owned by the thread that classifies.

    A track that was not read for longer than ``stale_s`` starts afresh instead of blending with a
    past that no longer tells anything, and its state is dropped when the next track begins: what
    is kept is bounded by the number of tracks begun within ``stale_s``.
    """

    def __init__(self, config: AffectConfig) -> None:
        self._config = config
        self._states: dict[int, AffectState] = {}
        self.stale_s = max(
            _STALE_MIN_S, _STALE_TIME_CONSTANTS * config.smoothing_s, config.label_hold_s
        )

    def __len__(self) -> int:
        """Return the number of tracks of which something is remembered."""
        return len(self._states)

    def update(self, track_id: int, reading: Reading, sensor_ns: int) -> SmoothedReading:
        """Return ``reading`` in the light of the ones before it on the same track.

        Args:
            track_id: the track that was read; one reading per frame.
            reading: what the network said; finite.
            sensor_ns: when the frame was taken. A step backwards, or none, counts as no time.
        """
        state = self._states.get(track_id)
        if state is None or self._is_stale(state, sensor_ns):
            self._states = {
                known: kept
                for known, kept in self._states.items()
                if not self._is_stale(kept, sensor_ns)
            }
            state = AffectState.begin(reading, sensor_ns)
        else:
            state = state.after(reading, sensor_ns, self._config)
        self._states[track_id] = state
        return state.smoothed

    def _is_stale(self, state: "AffectState", sensor_ns: int) -> bool:
        # a state of the future belongs to a clock that has since started again
        return abs(sensor_ns - state.sensor_ns) > self.stale_s * 1e9


@dataclass(frozen=True, slots=True)
class StableLabel:
    """The expression settled on, and how long each other one has been ahead of it.

    Attributes:
        index: position in ``EXPRESSIONS``.
        ahead_s: for each expression, for how many seconds without a break it has led the label by
            the margin, as far as frames tell; None where it does not lead now.
    """

    index: int
    ahead_s: tuple[float | None, ...] = (None,) * len(EXPRESSIONS)

    def after(
        self, probabilities: NDArray[np.float64], elapsed_s: float, config: AffectConfig
    ) -> "StableLabel":
        """Return the label once ``probabilities`` have been seen, ``elapsed_s`` after the last.

        The label goes to an expression that has led it by ``label_margin`` for ``label_hold_s``
        without a break; to the likeliest of them, where there are several.
        """
        leads = _leads(probabilities, self.index, config.label_margin)
        ahead_s = tuple(
            None if not lead else 0.0 if before is None else before + elapsed_s
            for lead, before in zip(leads, self.ahead_s, strict=True)
        )
        ripe = [
            index
            for index, seconds in enumerate(ahead_s)
            if seconds is not None and seconds >= config.label_hold_s
        ]
        if not ripe:
            return StableLabel(self.index, ahead_s)
        label = max(ripe, key=lambda index: float(probabilities[index]))
        leads = _leads(probabilities, label, config.label_margin)
        return StableLabel(label, tuple(0.0 if lead else None for lead in leads))


@dataclass(frozen=True, slots=True)
class AffectState:
    """All that is remembered of one track.

    Attributes:
        sensor_ns: time of the last reading.
        values: smoothed probabilities in the order of ``EXPRESSIONS``, then valence and arousal.
        label: the stable label.
    """

    sensor_ns: int
    values: NDArray[np.float64]
    label: StableLabel

    @classmethod
    def begin(cls, reading: Reading, sensor_ns: int) -> "AffectState":
        """Return the state after a first reading: the reading itself, and its likeliest label.

        Where several are equally likely, the first in the order of ``EXPRESSIONS``.
        """
        values = _vector(reading)
        return cls(sensor_ns, values, StableLabel(int(values[: len(EXPRESSIONS)].argmax())))

    def after(self, reading: Reading, sensor_ns: int, config: AffectConfig) -> "AffectState":
        """Return the state after one more reading.

        A first-order low-pass filter, exact for any step: the reading is taken to have held since
        the last one, so that a constant input gives the same however it is subdivided.
        """
        elapsed_s = max(0, sensor_ns - self.sensor_ns) / 1e9
        gain = -math.expm1(-elapsed_s / config.smoothing_s)
        new = _vector(reading)
        values = self.values + gain * (new - self.values)
        # rounding must not carry a value past both of those it lies between
        values = np.clip(values, np.minimum(self.values, new), np.maximum(self.values, new))
        label = self.label.after(values[: len(EXPRESSIONS)], elapsed_s, config)
        return AffectState(sensor_ns, values, label)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Smoothed probabilities, in the order of ``EXPRESSIONS``."""
        return self.values[: len(EXPRESSIONS)]

    @property
    def smoothed(self) -> SmoothedReading:
        """What is published of this state."""
        valence, arousal = self.values[len(EXPRESSIONS) :]
        return SmoothedReading(
            Affect(float(valence), float(arousal)), EXPRESSIONS[self.label.index]
        )


def _vector(reading: Reading) -> NDArray[np.float64]:
    affect = reading.affect
    return np.array([*reading.probabilities, affect.valence, affect.arousal], np.float64)


def _leads(probabilities: NDArray[np.float64], label: int, margin: float) -> list[bool]:
    """Return for each expression whether it is ahead of ``label`` by ``margin``."""
    ahead = probabilities - probabilities[label]
    return [bool(lead) for lead in (ahead > 0) & (ahead >= margin)]
