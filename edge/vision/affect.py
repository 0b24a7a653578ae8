"""Smoothing of valence and arousal, and a stable label. Both depend on time, not on frames.

Smoothing is exponential: after a step, the smoothed value has covered 63 % of it after
``smoothing_s``, 90 % after 2.3 times that.

The stable label follows evidence, as a cumulative sum (E. S. Page, Continuous Inspection Schemes,
Biometrika 1954): by how much another expression leads the label beyond ``label_margin``, times how
long. What does not lead loses evidence again. So a clear change is shown soon, a doubtful one late,
and noise never. An expression of probability 1 is shown after ``label_hold_s`` h; one that leads by
d, with the margin m, after h (1 - m) / (d - m): with the defaults (0.15 s, 0.05) that is 0.15 s,
and 0.32 s for a lead of one half. Each needs one picture more, as a lead counts only between two
pictures that both show it.

Predictions that are not smoothed are published as well.
"""

import math
from dataclasses import dataclass

from edge.config import AffectConfig
from edge.vision.values import Affect, Prediction, SmoothedPrediction
from edge.vocabulary import EXPRESSIONS

# After 5 time constants a state weighs less than 1 %. The minimum keeps the label at a low frame
# rate with short smoothing.
_STALE_TIME_CONSTANTS = 5.0
_STALE_MIN_S = 2.0

_ROUNDING_S = 1e-9  # a sum of many small steps misses the exact value by far less


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
    """The stable label, and the evidence for each other expression.

    Attributes:
        index: position in ``EXPRESSIONS``.
        probabilities: of the newest prediction, in the order of ``EXPRESSIONS``.
        evidence_s: for each expression, the sum of its leads over the label beyond the margin,
            times seconds; 0 or more.
    """

    index: int
    probabilities: tuple[float, ...]
    evidence_s: tuple[float, ...] = (0.0,) * len(EXPRESSIONS)

    def updated(
        self, probabilities: tuple[float, ...], elapsed_s: float, config: AffectConfig
    ) -> "StableLabel":
        """Return the label after ``probabilities``, ``elapsed_s`` after the previous ones.

        The label changes to an expression with enough evidence; if there are several, to the most
        likely one.
        """
        margin, needed_s = config.label_margin, config.label_hold_s * (1 - config.label_margin)
        before, now = self.probabilities[self.index], probabilities[self.index]
        evidence_s, candidates = [], []
        for index, share in enumerate(probabilities):
            # between two predictions the smaller lead counts: one alone is no evidence
            lead = min(share - now, self.probabilities[index] - before)
            evidence_s.append(max(0.0, self.evidence_s[index] + (lead - margin) * elapsed_s))
            is_ahead = share > now and share - now >= margin
            if is_ahead and evidence_s[-1] >= needed_s - _ROUNDING_S:
                candidates.append(index)
        if not candidates:
            return StableLabel(self.index, probabilities, tuple(evidence_s))
        return StableLabel(max(candidates, key=probabilities.__getitem__), probabilities)


@dataclass(frozen=True, slots=True)
class AffectState:
    """The filter state of one track.

    Attributes:
        sensor_ns: time of the last prediction.
        affect: smoothed valence and arousal.
        label: the stable label.
    """

    sensor_ns: int
    affect: Affect
    label: StableLabel

    @classmethod
    def initial(cls, prediction: Prediction, sensor_ns: int) -> "AffectState":
        """Return the state after a first prediction: its values, and its most likely label.

        If several are equally likely, the first in the order of ``EXPRESSIONS``.
        """
        probabilities = tuple(prediction.probabilities.tolist())
        label = StableLabel(probabilities.index(max(probabilities)), probabilities)
        return cls(sensor_ns, prediction.affect, label)

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
        old, new = self.affect, prediction.affect
        affect = Affect(
            _between(old.valence, new.valence, gain), _between(old.arousal, new.arousal, gain)
        )
        probabilities = tuple(prediction.probabilities.tolist())
        return AffectState(sensor_ns, affect, self.label.updated(probabilities, elapsed_s, config))

    @property
    def smoothed(self) -> SmoothedPrediction:
        """The smoothed prediction that is published."""
        return SmoothedPrediction(self.affect, EXPRESSIONS[self.label.index])


def _between(old: float, new: float, gain: float) -> float:
    # rounding must not move a value out of the interval between old and new
    return min(max(old + gain * (new - old), min(old, new)), max(old, new))
