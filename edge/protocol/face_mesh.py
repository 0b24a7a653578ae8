"""The face mesh of a face in a frame message; null where it was not measured."""

from typing import Annotated

from pydantic import Field

from edge.protocol.wire import Pixel, RoundedTo, Share, Wire


class HeadPose(Wire):
    """How the head is turned, degrees; all 0: it looks into the camera, upright.

    ``yaw``: positive to the picture's right. ``pitch``: positive up. ``roll``: positive where the
    crown leans to the picture's right.
    """

    yaw: Pixel
    pitch: Pixel
    roll: Pixel


class Eyes(Wire):
    """How far the person's left and right eye are open: 0 closed, 1 as usual or wider."""

    left: Share
    right: Share


class Lids(Wire):
    """The eyes over the last minute; null where the measurements do not show it.

    ``perclos``: share of time in which they were closed. ``perclos_reason`` and ``blinks_reason``
    say why null: ``too_short`` or ``too_seldom``; else they are empty. ``closed_s``: for how long
    the eyes have been closed until this picture, 0 in the first one; null: they are open.
    """

    perclos: Share | None
    perclos_reason: str
    blinks_per_min: Annotated[float, Field(ge=0), RoundedTo(1)] | None
    blinks_reason: str
    closed_s: Annotated[float, Field(ge=0), RoundedTo(3)] | None = None


class FaceMesh(Wire):
    """What the face mesh measured in this picture.

    ``mouth``: how far the lips are apart, 0 closed, 1 wide open. ``coefficients``: by name, 0..1,
    those that ``mesh.coefficients`` asks for; a coefficient is not a coded action unit.
    ``landmarks``: the 478 points, x and y in pixels; null unless ``mesh.landmarks`` is on.
    """

    pose: HeadPose
    eyes: Eyes
    mouth: Share
    lids: Lids
    coefficients: dict[str, Share]
    landmarks: list[Annotated[list[Pixel], Field(min_length=2, max_length=2)]] | None = None
