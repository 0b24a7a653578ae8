"""What every part of a message has in common: finite, rounded numbers; unknown fields ignored."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import core_schema


@dataclass(frozen=True, slots=True)
class RoundedTo:
    """Rounds a number when a message is built; one that is decoded was rounded by its sender."""

    digits: int

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        number = handler(source)
        # rounding the forty numbers of a face again would take a third of the time of decoding
        return core_schema.json_or_python_schema(
            json_schema=number,
            # + 0.0 turns -0.0 into 0.0
            python_schema=core_schema.no_info_after_validator_function(
                lambda value: round(value, self.digits) + 0.0, number
            ),
        )


Pixel = Annotated[float, RoundedTo(1)]
Milliseconds = Annotated[float, Field(ge=0), RoundedTo(3)]
Share = Annotated[float, Field(ge=0, le=1), RoundedTo(4)]
Signed = Annotated[float, Field(ge=-1, le=1), RoundedTo(4)]
Rounded = Annotated[float, RoundedTo(4)]
Count = Annotated[int, Field(ge=0)]


class Wire(BaseModel):
    """A part of a message: finite numbers only, unknown fields ignored, frozen."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, extra="ignore")
