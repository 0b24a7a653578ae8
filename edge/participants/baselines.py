"""The neutral baseline of a participant: learnt between an explicit start and stop.

A *baseline* is the mean valence and arousal of a person's neutral face. An automatic baseline would
take a person's most frequent expression for neutral, which is wrong for whoever holds another one.
Two means are kept per person; no picture, no feature.
"""

from dataclasses import dataclass, field
from typing import Final

from edge.config import AffectConfig
from edge.protocol.messages import Face, Point
from edge.vocabulary import BASELINE_MAX

_STEP_MAX_S: Final = 1.0
"""One prediction stands for at most this much time."""

_NOT_NEUTRAL: Final = ("happy", "surprise")
"""Expressions that networks do not confuse with neutral (unlike sad, anger and contempt)."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A person's neutral valence and arousal, or the reason why it is not known.

    Attributes:
        read_s: time between start and stop in which the face was classified.
        readings: number of predictions.
        point: their mean; the origin where there were none.
        reason: why this cannot serve as a baseline; empty where it can.
    """

    read_s: float
    readings: int
    point: Point
    reason: str = ""


@dataclass(slots=True)
class BaselineWindow:
    """Sums over the predictions between start and stop; of constant size, however many they are."""

    read_s: float = 0.0
    readings: int = 0
    last_ns: int | None = None
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])
    squares: list[float] = field(default_factory=lambda: [0.0, 0.0])
    not_neutral: list[float] = field(default_factory=lambda: [0.0] * len(_NOT_NEUTRAL))

    def add(self, face: Face, sensor_ns: int) -> None:
        assert face.affect is not None
        assert face.expression is not None
        if self.last_ns is not None:
            self.read_s += min(max(0, sensor_ns - self.last_ns) / 1e9, _STEP_MAX_S)
        self.last_ns = sensor_ns
        self.readings += 1
        for axis, value in enumerate((face.affect.valence, face.affect.arousal)):
            self.sums[axis] += value
            self.squares[axis] += value * value
        for index, name in enumerate(_NOT_NEUTRAL):
            # an expression that the network does not know is never held
            self.not_neutral[index] += getattr(face.expression.probabilities, name) or 0.0

    def assess(self, config: AffectConfig) -> Baseline:
        """Return the baseline, with the first reason against it, if any."""
        count = max(1, self.readings)
        valence, arousal = (total / count for total in self.sums)
        deviations = [
            max(0.0, square / count - (total / count) ** 2) ** 0.5
            for total, square in zip(self.sums, self.squares, strict=True)
        ]
        share, name = max(
            zip((total / count for total in self.not_neutral), _NOT_NEUTRAL, strict=True)
        )
        reason = ""
        if self.read_s < config.baseline_min_s:
            reason = (
                f"classified for {self.read_s:.1f} s only;"
                f" expected {config.baseline_min_s:g} s or more"
            )
        elif share > config.baseline_held_max:
            reason = f"not neutral: {name} at {share:.2f} on average"
        elif max(deviations) > config.baseline_spread_max:
            axis = ("valence", "arousal")[deviations.index(max(deviations))]
            reason = f"not neutral: {axis} varied by {max(deviations):.2f}"
        elif max(abs(valence), abs(arousal)) > BASELINE_MAX:
            reason = (
                f"too extreme for a neutral face: valence {valence:+z.2f}, arousal {arousal:+z.2f}"
            )
        point = Point(valence=valence, arousal=arousal)
        return Baseline(round(self.read_s, 3), self.readings, point, reason)
