"""``session.json`` of an earlier analysis: what a later one reads of it has to be there."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from edge.errors import ConfigError
from edge.protocol.events import ModelReference
from edge.recordings.analysis.results_folder import read_session
from edge.results.analysed import SESSION
from edge.validation import first_error


class _Recording(BaseModel):
    file: str
    sha256: str
    damage: list[str]


class _Device(BaseModel):
    name: str


class _Zones(BaseModel):
    seats: dict[str, Any]


class _Settings(BaseModel):
    device: _Device
    zones: _Zones


class _Analysis(BaseModel):
    stream: str
    settings: _Settings


class _Frames(BaseModel):
    analysed: int
    first_s: float
    last_s: float
    share_read: float
    without_face: int
    share_without_face: float


class _Faces(BaseModel):
    found: int
    reasons: dict[str, int]


class _Outputs(BaseModel):
    codes: dict[int, str]


class _Session(BaseModel):
    """The part of the file that is read; the rest is taken over."""

    recording: _Recording
    analysis: _Analysis
    models: dict[str, ModelReference]
    frames: _Frames
    faces: _Faces
    outputs: _Outputs


def earlier_session(folder: Path) -> dict[str, Any] | None:
    """Return ``session.json`` of an earlier analysis; None if there is no folder of it.

    Raises:
        ConfigError: the folder holds something else, or the file is damaged.
    """
    session = read_session(folder)
    if session is not None:
        try:
            _Session.model_validate(session)
        except ValidationError as error:
            raise ConfigError(
                f"{folder / SESSION}: is damaged, or of another version: {first_error(error)}; move"
                f" {folder.name} away, or choose another --out folder"
            ) from error
    return session
