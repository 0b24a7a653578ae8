"""The base class of every section of the configuration, and types of values."""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
)

from edge.clock import parse_wall_time

Seconds = Annotated[float, Field(ge=0.001, le=3600)]
Rate = Annotated[float, Field(ge=0.001, le=1000)]
"""Hz. At lower rates, the times of frames, in ns, exceed 64 bits after some frames."""
Wait = Annotated[float, Field(ge=0.001, le=8)]
"""Time-out in seconds of one call into a source; the hub replaces a worker after 10 s in one."""
Share = Annotated[float, Field(ge=0, le=1)]


def _threads(value: Any) -> Any:
    if value == "auto" or (type(value) is int and 1 <= value <= 16):
        return value
    raise ValueError('expected "auto", or 1 to 16')


Threads = Annotated[Annotated[int, Field(ge=1, le=16)] | Literal["auto"], BeforeValidator(_threads)]
"""Threads of a network; ``"auto"``: see ``edge.vision.inference.threads``."""
Prior = Annotated[float, Field(gt=0, lt=1)]
Bits = Annotated[int, Field(ge=8, le=16)]
"""Effective depth of pictures whose values have 16 bits."""
WallTime = Annotated[str, BeforeValidator(parse_wall_time)]
"""Date and time with its offset from UTC, ISO 8601; TOML's own type or text."""
Pixels = Annotated[int, Field(ge=16, le=16384)]


def _no_address(value: str) -> str:
    if re.match(r"[a-z]+://", value, re.IGNORECASE):
        raise ValueError('expected a path; an address is the url of source.kind = "stream"')
    return value


no_address = AfterValidator(_no_address)
"""Refuses the address of a camera where a path is expected."""


def matching(pattern: str, expected: str) -> AfterValidator:
    """Return a validator that refuses a text unless all of it matches ``pattern``.

    ``expected`` describes the pattern in the error message.
    """
    form = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if not form.fullmatch(value):
            raise ValueError(f"expected {expected}")
        return value

    return AfterValidator(check)


class Section(BaseModel):
    """A section of the configuration: frozen, with strict types and no unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )

    @field_validator("*")
    @classmethod
    def _without_nul(cls, value: Any) -> Any:
        """Refuse NUL characters: system calls raise on a path or name that holds one."""
        if isinstance(value, str) and "\0" in value:
            raise ValueError("expected text without a NUL character")
        return value
