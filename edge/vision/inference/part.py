"""Base class and shared types of the parts of a manifest."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Positive = Annotated[float, Field(gt=0)]
Text = Annotated[str, Field(min_length=1)]
Coordinate = Annotated[float, Field(ge=-5, le=5)]
"""Valence or arousal of one expression; may exceed -1..1, since means over uncertain predictions
shrink towards 0."""


class Part(BaseModel):
    """A part of a manifest: strict types, finite numbers, unknown fields refused, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
