"""Smoothing of predictions over time, and a stable label. Both depend on time, not on frames.

Smoothing is exponential: after a step, the smoothed value has covered 63 % of it after
``smoothing_s``, 90 % after 2.3 times that. The stable label has a longer latency: when one
expression of probability 1 replaces another, the new one leads by ``label_margin`` m after
``smoothing_s * ln(2 / (1 - m))``, and has to lead for ``label_hold_s`` from then on. With the
defaults (0.5 s, 0.07, 0.3 s) that is 1.15 s to 90 % of a step, and 0.38 s + 0.3 s to a new label.
Unsmoothed predictions are published as well.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge.config import AffectConfig
from edge.vision.values import Affect, Prediction, SmoothedPrediction
from edge.vocabulary import EXPRESSIONS

# After 5 time constants a state weighs less than 1 %. The minimum keeps the label at a low frame
# rate with short smoothing.
_STALE_TIME_CONSTANTS = 5.0
_STALE_MIN_S = 2.0


class AffectSmoother:
    """Smooths the predictions of each track. Not thread-safe: owned by the classify thread.

    A track without a prediction for longer than ``stale_s`` starts from the next one, without its
    old state. Stale states are deleted when a track starts: memory is bounded by the number of
    tracks started within ``stale_s``.
    """

    def __init__(self, config: AffectConfig) -> None:
        self._config = config
        self._states: dict[int, AffectState] = {}
        self.stale_s = max(
            _STALE_MIN_S, _STALE_TIME_CONSTANTS * config.smoothing_s, config.label_hold_s
        )

    def __len__(self) -> int:
        """Return the number of tracks with a state."""
        return len(self._states)

    def update(self, track_id: int, prediction: Prediction, sensor_ns: int) -> SmoothedPrediction:
        """Return ``prediction`` smoothed with the earlier ones of the same track.

        Args:
            track_id: the track that the prediction belongs to; one prediction per frame.
            prediction: the network's prediction; finite.
            sensor_ns: when the frame was taken. A step backwards counts as no elapsed time.
        """
        state = self._states.get(track_id)
        if state is None or self._is_stale(state, sensor_ns):
            self._states = {
                track: other
                for track, other in self._states.items()
                if not self._is_stale(other, sensor_ns)
            }
            state = AffectState.initial(prediction, sensor_ns)
        else:
            state = state.updated(prediction, sensor_ns, self._config)
        self._states[track_id] = state
        return state.smoothed

    def _is_stale(self, state: "AffectState", sensor_ns: int) -> bool:
        # a state later than this frame is from before the clock restarted
        return abs(sensor_ns - state.sensor_ns) > self.stale_s * 1e9


@dataclass(frozen=True, slots=True)
class StableLabel:
    """The stable label, and how long each other expression has led it.

    Attributes:
        index: position in ``EXPRESSIONS``.
        ahead_s: for each expression, the seconds for which it has led the label by the margin in
            every frame; None if it does not lead now.
    """

    index: int
    ahead_s: tuple[float | None, ...] = (None,) * len(EXPRESSIONS)

    def updated(
        self, probabilities: Sequence[float], elapsed_s: float, config: AffectConfig
    ) -> "StableLabel":
        """Return the label after ``probabilities``, ``elapsed_s`` after the previous ones.

        The label changes to an expression that has led it by ``label_margin`` in every frame for
        ``label_hold_s``; if there are several, to the most likely one.
        """
        leads = _leads(probabilities, self.index, config.label_margin)
        ahead_s = tuple(
            None if not lead else 0.0 if before is None else before + elapsed_s
            for lead, before in zip(leads, self.ahead_s, strict=True)
        )
        candidates = [
            index
            for index, seconds in enumerate(ahead_s)
            if seconds is not None and seconds >= config.label_hold_s
        ]
        if not candidates:
            return StableLabel(self.index, ahead_s)
        label = max(candidates, key=probabilities.__getitem__)
        leads = _leads(probabilities, label, config.label_margin)
        return StableLabel(label, tuple(0.0 if lead else None for lead in leads))


@dataclass(frozen=True, slots=True)
class AffectState:
    """The filter state of one track.

    Attributes:
        sensor_ns: time of the last prediction.
        values: smoothed probabilities in the order of ``EXPRESSIONS``, then valence and arousal.
        label: the stable label.
    """

    sensor_ns: int
    values: tuple[float, ...]
    label: StableLabel

    @classmethod
    def initial(cls, prediction: Prediction, sensor_ns: int) -> "AffectState":
        """Return the state after a first prediction: its values, and its most likely label.

        If several are equally likely, the first in the order of ``EXPRESSIONS``.
        """
        values = _values(prediction)
        probabilities = values[: len(EXPRESSIONS)]
        return cls(sensor_ns, values, StableLabel(probabilities.index(max(probabilities))))

    def updated(
        self, prediction: Prediction, sensor_ns: int, config: AffectConfig
    ) -> "AffectState":
        """Return the state after one more prediction.

        A first-order low-pass filter, exact for any time step: the prediction is taken as constant
        since the last one, so that the result for a constant input does not depend on the frame
        rate.
        """
        elapsed_s = max(0, sensor_ns - self.sensor_ns) / 1e9
        gain = -math.expm1(-elapsed_s / config.smoothing_s)
        # plain numbers: for ten of them arrays cost more than the arithmetic
        values = tuple(
            # rounding must not move a value out of the interval between old and new
            min(max(old + gain * (new - old), min(old, new)), max(old, new))
            for old, new in zip(self.values, _values(prediction), strict=True)
        )
        label = self.label.updated(values[: len(EXPRESSIONS)], elapsed_s, config)
        return AffectState(sensor_ns, values, label)

    @property
    def probabilities(self) -> tuple[float, ...]:
        """Smoothed probabilities, in the order of ``EXPRESSIONS``."""
        return self.values[: len(EXPRESSIONS)]

    @property
    def smoothed(self) -> SmoothedPrediction:
        """The smoothed prediction that is published."""
        valence, arousal = self.values[len(EXPRESSIONS) :]
        return SmoothedPrediction(Affect(valence, arousal), EXPRESSIONS[self.label.index])


def _values(prediction: Prediction) -> tuple[float, ...]:
    affect = prediction.affect
    return (*prediction.probabilities.tolist(), affect.valence, affect.arousal)


def _leads(probabilities: Sequence[float], label: int, margin: float) -> list[bool]:
    """Return for each expression whether it leads ``label`` by ``margin``."""
    own = probabilities[label]
    return [each > own and each - own >= margin for each in probabilities]
