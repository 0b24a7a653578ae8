"""The form in which codes and baselines are kept over restarts."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from edge.codes import Code
from edge.participants.baselines import Baseline
from edge.protocol.messages import Point

Signed = Annotated[float, Field(ge=-1, le=1)]
Count = Annotated[int, Field(ge=0)]


class Kept(BaseModel):
    """A part of the file: strict, unknown fields refused, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class KeptBaseline(Kept):
    """A baseline: two means, how they were learnt, and what speaks against them."""

    read_s: Annotated[float, Field(ge=0)]
    readings: Count
    valence: Signed
    arousal: Signed
    reason: str = ""

    @classmethod
    def of(cls, baseline: Baseline | None) -> Self | None:
        """Return ``baseline`` in this form."""
        if baseline is None:
            return None
        return cls(
            read_s=baseline.read_s,
            readings=baseline.readings,
            valence=baseline.point.valence,
            arousal=baseline.point.arousal,
            reason=baseline.reason,
        )

    def value(self) -> Baseline:
        """Return the baseline."""
        point = Point(valence=self.valence, arousal=self.arousal)
        return Baseline(self.read_s, self.readings, point, self.reason)


class KeptParticipant(Kept):
    """A participant, when last in view (null: never), and whether a baseline was being learnt."""

    participant: Code
    last_unix_ns: int | None = None
    is_learning: bool = False
    baseline: KeptBaseline | None = None
