"""Pictures of a folder: those of a benchmark, and for int8 exports two sets.

The hash of its bytes assigns a picture to the set for calibration or to that for evaluation. So no
picture is in both, whatever else the folder holds, and the same folder gives the same artifacts.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edge.clock import Stopwatch
from edge.errors import ConfigError, FrameRefused, ModelError
from edge.validation import file_errors
from edge.vision.detect import Detector
from edge.vision.expression.crop import square_crop
from edge.vision.inference import Network, find_model, load_manifest, open_network
from edge.vision.inference.manifest import Calibration, Task
from edge.vision.regions.square import cut_out, square_around
from edge.vision.resize import resize_area, resize_linear
from edge.vision.sources.images import SUFFIXES, read_grey
from edge.vision.values import Box, Detection, Frame, Luma

PICTURES_MIN: Final = 16
"""Pictures that a folder must hold: fewer cannot show an agreement of 97 %."""

_CALIBRATE_MAX: Final = 64  # more pictures do not change the ranges
_EVALUATE_MAX: Final = 200
_CALIBRATE_SHARE: Final = 0.4
_CANVAS: Final = 110  # grey level around a shrunk picture
_SQUARES: Final = 2  # round each face
_JITTER: Final = 0.05
"""Standard deviation of the place and of the size of a square, in sizes of the face."""


class Pictures(Sequence[Luma]):
    """Mono pictures of a folder, each read when it is accessed."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, place: int) -> Luma:  # type: ignore[override]
        """Return a picture, uint8 (height, width).

        Raises:
            ModelError: the file changed since the folder was read.
        """
        try:
            return read_grey(self._paths[place])
        except FrameRefused as error:
            raise ModelError(f"{self._paths[place].parent}: {error}") from error


@dataclass(frozen=True, slots=True)
class Split:
    """A folder of pictures, split in two sets.

    Attributes:
        calibrate: pictures to measure ranges on.
        evaluate: pictures to measure parity on.
        record: the manifest's entry for ``calibrate``.
    """

    calibrate: Pictures
    evaluate: Pictures
    record: Calibration


def split_pictures(folder: Path, option: str = "--calibration") -> Split:
    """Return the pictures of ``folder``, split by the hashes of their files.

    Copies of a picture count once. At most 64 are used for calibration and 200 for evaluation.

    Args:
        folder: of the pictures.
        option: by which it was given, for errors.

    Raises:
        ModelError: it is not a folder, or holds too few readable pictures; one line.
    """
    by_hash: dict[str, Path] = {}
    refused = ""
    for path in picture_paths(folder, option):
        try:
            read_grey(path)
            by_hash.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), path)
        except (FrameRefused, OSError) as error:
            refused = f"; {error}"
    if len(by_hash) < PICTURES_MIN:
        raise ModelError(
            f"{option} {folder}: {len(by_hash)} different pictures, expected"
            f" {PICTURES_MIN} or more that show faces{refused}"
        )
    digests = sorted(by_hash)
    border = round(_CALIBRATE_SHARE * 2**32)
    calibrate = [each for each in digests if int(each[-8:], 16) < border]
    evaluate = [each for each in digests if int(each[-8:], 16) >= border]
    if not calibrate or not evaluate:
        raise ModelError(
            f"{option} {folder}: all pictures fall into one of the two sets; give more"
        )
    calibrate, evaluate = calibrate[:_CALIBRATE_MAX], evaluate[:_EVALUATE_MAX]
    return Split(
        Pictures([by_hash[each] for each in calibrate]),
        Pictures([by_hash[each] for each in evaluate]),
        Calibration(
            count=len(calibrate),
            sha256=hashlib.sha256("\n".join(calibrate).encode()).hexdigest(),
        ),
    )


def photographs(images: Path, least: int = 1) -> list[Path]:
    """Return the picture files in the folder ``--images``, in the order of their names.

    Raises:
        ConfigError: it is not a folder, or holds fewer than ``least``.
    """
    try:
        paths = picture_paths(images, "--images")
    except ModelError as error:
        raise ConfigError(str(error)) from error
    if len(paths) < least:
        raise ConfigError(
            f"--images {images}: {len(paths)} pictures in it; expected {least} or more that show"
            " faces"
        )
    return paths


def read_picture(path: Path) -> Luma:
    """Return a picture of the folder ``--images``, uint8 (height, width).

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return read_grey(path)
    except FrameRefused as error:
        raise ConfigError(f"--images {path.parent}: {error}") from error


def picture_paths(folder: Path, option: str) -> list[Path]:
    """Return the picture files in ``folder``, in the order of their names.

    Raises:
        ModelError: it is not a folder, or cannot be listed.
    """
    with file_errors(option, folder, expected="a folder of pictures"):
        entries = sorted(folder.iterdir())
    return [
        entry
        for entry in entries
        if entry.suffix.lower() in SUFFIXES
        and not entry.name.startswith(".")
        and os.path.isfile(entry)
    ]


def float_network(name: str | Path, task: Task) -> Network:
    """Return the float network of a model, the reference: the same artifact on every board.

    Raises:
        ModelError: the model cannot be trusted, or has no float artifact that passed parity.
    """
    manifest = load_manifest(find_model(name))
    float_files = [
        each.file
        for each in sorted(manifest.artifacts, key=lambda each: each.runtime != "onnxruntime")
        if each.precision == "fp32" and manifest.parity[each.file].passed
    ]
    if not float_files:
        raise ModelError(
            f"model {manifest.name}: no float artifact that passed parity; export one as well"
        )
    return open_network(name, task=task, artifact=float_files[0])


# -- detectors: whole pictures, and small faces ---------------------------------------------------


def faces_in(detector: Detector, picture: Luma) -> tuple[Detection, ...]:
    """Return the faces of one picture, highest score first.

    Raises:
        InferenceError: the network failed.
    """
    return detector.detect(Frame(picture, 0, 0, "media", 0), Stopwatch())


def shrunk_face(picture: Luma, face: Box, height_px: int, seed: int) -> tuple[Luma, Box] | None:
    """Return ``picture`` shrunk until ``face`` has this height, on grey, and the box of the face.

    The canvas has the picture's size. None if the face is not higher than ``height_px``.
    """
    share = height_px / face.height
    high, wide = picture.shape
    size = (max(1, round(wide * share)), max(1, round(high * share)))
    if share >= 1:
        return None
    small = resize_area(picture, size)
    random = np.random.default_rng((seed, height_px))
    left = int(random.integers(0, wide - size[0] + 1))
    top = int(random.integers(0, high - size[1] + 1))
    canvas = np.full((high, wide), _CANVAS, np.uint8)
    canvas[top : top + size[1], left : left + size[0]] = small
    across, down = size[0] / wide, size[1] / high
    place = Box(
        left + face.x * across, top + face.y * down, face.width * across, face.height * down
    )
    return canvas, place


# -- detectors of regions: squares round faces -----------------------------------------------------


def squares_round_faces(pictures: Iterable[Luma], detector: Detector, side: int) -> list[Luma]:
    """Return squares round the faces of ``pictures``, as the daemon cuts out regions.

    They are moved and scaled at random, as a prediction is off; the same ones each time.

    Args:
        pictures: of any size.
        detector: a float detector of full frames, which locates the faces.
        side: of the squares, pixels.
    """
    squares = []
    for number, picture in enumerate(pictures):
        random = np.random.default_rng((number, side))
        for face in faces_in(detector, picture):
            for _ in range(_SQUARES):
                x, y, scale = random.normal(0, _JITTER, 3)
                width, height = face.box.width * np.exp(scale), face.box.height * np.exp(scale)
                size = max(width, height)
                box = Box(face.box.x + x * size, face.box.y + y * size, width, height)
                square = cut_out(picture, square_around(box))
                squares.append(resize_linear(square, (side, side)))
    return squares


# -- other networks: crops of faces ---------------------------------------------------------------


def face_crops(
    pictures: Iterable[Luma], detector: Detector, size: tuple[int, int], margin: float
) -> Iterator[Luma]:
    """Yield the face of each picture as the daemon would crop it, uint8 (height, width).

    A picture on which the detector finds no face counts as a crop.

    Args:
        pictures: of any size.
        detector: finds the faces; the highest one counts.
        size: width and height of the crops.
        margin: share of the box's longer side added to it.
    """
    for picture in pictures:
        if faces := faces_in(detector, picture):
            box = max(faces, key=lambda face: face.box.height).box
            yield square_crop(picture, box, size, margin)
        else:
            high, wide = picture.shape
            yield square_crop(picture, Box(0, 0, wide, high), size, 0.0)
