"""The Python API of recordings: pictures, folders and videos to results.

::

    from edge import Reader

    reader = Reader(purpose="research-consent")
    for result in reader.video("session.mp4", every=5):
        for face in result.faces:
            print(result.time_s, face.track, face.expression and face.expression.label)
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge.config import Config
from edge.errors import ConfigError, FrameRefused
from edge.protocol.messages import FACES
from edge.recordings.result import Result
from edge.recordings.settings import Selection, Settings
from edge.recordings.steps import Steps
from edge.vision.face_message import faces_json
from edge.vision.golden import open_verified
from edge.vision.sources.depth import StreamDepth
from edge.vision.sources.images import read_grey
from edge.vision.sources.orientation import turned
from edge.vision.sources.picture_file import grey
from edge.vision.values import Frame, Luma

Channels = Literal["bgr", "rgb"]


class Reader:
    """Reads the faces of pictures, folders of pictures and videos, with the daemon's results.

    The networks are loaded and verified once, in the constructor. Use a reader from one thread;
    several of its iterators may be open at once.

    Args:
        purpose: the declared lawful purpose: ``research-consent``, ``medical`` or ``safety``; None:
            ``device.purpose`` of the configuration.
        config: a TOML file as for the daemon, or a ``Config``; None: the defaults.
        settings: texts ``section.key=value``, as for ``--set``.

    Raises:
        ConfigError: no purpose is declared, or a mistake in the configuration.
        ModelError: a network fails verification.
    """

    def __init__(
        self,
        *,
        purpose: str | None = None,
        config: Config | Path | str | None = None,
        settings: Sequence[str] = (),
    ) -> None:
        self._settings = Settings(config, settings, purpose)
        self._picture_config = self._settings.of_picture()
        self._pipeline = open_verified(self._picture_config)

    def picture(self, picture: NDArray[Any] | Path | str, *, channels: Channels = "bgr") -> Result:
        """Return the faces of one picture, which stands alone; tracks are numbered from 1.

        Args:
            picture: a picture file, or an array: uint8 (height, width) or (height, width, 3 or 4),
                or uint16 (height, width) with the effective depth ``source.bits``, or measured.
            channels: order of the colours of an array; OpenCV's is ``bgr``.

        Raises:
            ConfigError: the file is missing or cannot be decoded, an array of another shape or
                type, or neither of them.
            InferenceError: the detector failed on it.
        """
        source = self._picture_config.source
        depth = StreamDepth(getattr(source, "bits", None))
        file = None
        if isinstance(picture, np.ndarray):
            luma = _luma_of(picture, channels, depth)
        else:
            path = _path_of(picture)
            try:
                luma, file = read_grey(path, depth), path.name
            except FrameRefused as error:
                raise ConfigError(f"picture {error}") from error
        luma = turned(luma, source.rotate_deg, source.flip)
        frame = Frame(luma, index=0, sensor_ns=0, clock="media", captured_ns=0)
        state = self._pipeline.renewed(self._picture_config).step(frame)
        return Result(
            index=0,
            media_ns=0,
            width=frame.width,
            height=frame.height,
            faces=tuple(FACES.validate_json(faces_json(state.faces, self._picture_config.mesh))),
            ignored=state.ignored,
            file=file,
        )

    def folder(
        self,
        path: Path | str,
        *,
        start_s: float = 0.0,
        end_s: float | None = None,
        every: int = 1,
    ) -> Iterator[Result]:
        """Return the results of a folder of pictures, in the order of their names.

        They are a series at ``source.rate_hz`` (0.5): faces keep their tracks from one picture to
        the next where the rate is high enough. Pictures that cannot be read are left out, and
        counted in ``Result.dropped``.

        Args:
            path: the folder.
            start_s: only pictures from this time on, seconds.
            end_s: only pictures before this time; None: to the end.
            every: only pictures whose number is a multiple of it.

        Raises:
            ConfigError: the folder holds no pictures, none of them can be read, or a wrong
                argument.
            InferenceError: the detector fails again and again.
        """
        return self._results(self._settings.of_folder(path), Selection(start_s, end_s, every))

    def video(
        self,
        path: Path | str,
        *,
        start_s: float = 0.0,
        end_s: float | None = None,
        every: int = 1,
    ) -> Iterator[Result]:
        """Return the results of a video file, one at a time: memory does not grow with its length.

        Args:
            path: the file.
            start_s: only pictures from this time within the video on, seconds; those before are
                decoded and left out.
            end_s: only pictures before this time; None: to the end.
            every: only pictures whose number is a multiple of it.

        Raises:
            ConfigError: the file holds no video that can be decoded, or a wrong argument.
            InferenceError: the detector fails again and again.
        """
        return self._results(self._settings.of_video(path), Selection(start_s, end_s, every))

    def _results(self, config: Config, selection: Selection) -> Iterator[Result]:
        steps = Steps(self._pipeline, config, selection)
        return (item for item in steps if isinstance(item, Result))


def _path_of(picture: Path | str) -> Path:
    try:
        return Path(picture)
    except TypeError as error:
        raise ConfigError(
            f"picture of type {type(picture).__name__}: expected an array, or the name of a file"
            " (cv2.imread gives None for a file that it cannot read)"
        ) from error


def _luma_of(picture: NDArray[Any], channels: Channels, depth: StreamDepth) -> Luma:
    """Return an array as the mono picture that the sources would make of it."""
    if channels not in ("bgr", "rgb"):
        raise ConfigError(f"channels {channels!r}: expected 'bgr' or 'rgb'")
    shape = picture.shape
    is_grey = len(shape) == 2 or (len(shape) == 3 and shape[2] == 1)
    is_colour = len(shape) == 3 and shape[2] in (3, 4)
    is_deep = picture.dtype == np.uint16 and is_grey
    if not (is_grey or is_colour) or not (picture.dtype == np.uint8 or is_deep) or 0 in shape:
        raise ConfigError(
            f"picture: {picture.dtype} {shape}; expected uint8 (height, width) or (height, width,"
            " 3 or 4), or uint16 (height, width)"
        )
    if is_deep:
        return depth.reduce(np.ascontiguousarray(picture.reshape(shape[:2])))
    if is_colour and channels == "rgb":
        picture = np.concatenate((picture[:, :, 2::-1], picture[:, :, 3:]), axis=2)
    return grey(picture)
