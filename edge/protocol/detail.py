"""The base class of what events carry."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, field_validator

from edge.validation import replace_surrogates


class Detail(BaseModel):
    """Fields of an event. Frozen; readers ignore unknown fields."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, extra="ignore")

    event: ClassVar[str]
    """The event's name on the wire."""

    @field_validator("*", mode="before")
    @classmethod
    def _encodable(cls, value: Any) -> Any:
        """Replace what is not Unicode, such as in the file names of an old share."""
        return replace_surrogates(value) if isinstance(value, str) else value
