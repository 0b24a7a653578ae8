"""The section ``[preview]``: small pictures for aiming the camera; off."""

from pydantic import Field

from edge.config.section import Section


class PreviewConfig(Section):
    """Whether operators may open the preview, for how long, and how large its pictures are.

    ``width_px``: of a picture; its height follows.
    """

    enabled: bool = False
    minutes: float = Field(5.0, gt=0, le=10)
    width_px: int = Field(320, ge=64, le=640)
