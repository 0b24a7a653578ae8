"""What every section of the configuration shares: strictness, and the types of values."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

Seconds = Annotated[float, Field(gt=0, le=3600)]
Wait = Annotated[float, Field(gt=0, le=8)]
"""Seconds a source may wait inside a call: the hub replaces a worker after 10 s in one."""
Share = Annotated[float, Field(ge=0, le=1)]
Threads = Annotated[int, Field(ge=1, le=16)]
Prior = Annotated[float, Field(gt=0, lt=1)]
Pixels = Annotated[int, Field(ge=16, le=16384)]


def matching(pattern: str, expected: str) -> AfterValidator:
    """Return a check that a whole text matches ``pattern``; the message says it in words."""
    form = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if not form.fullmatch(value):
            raise ValueError(f"expected {expected}")
        return value

    return AfterValidator(check)


class Section(BaseModel):
    """A part of the configuration: strict types, unknown keys refused, frozen."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )

    @field_validator("*")
    @classmethod
    def _speakable(cls, value: Any) -> Any:
        """Refuse what no path, address or name can hold: the system's calls would raise on it."""
        if isinstance(value, str) and "\0" in value:
            raise ValueError("expected text without a NUL character")
        return value
