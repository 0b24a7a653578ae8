"""Landmarks of the FER+ crops, by MediaPipe, for ``exporters.recipes train --landmarks``.

    make setup-landmarks
    .venv-landmarks/bin/python scripts/find_landmarks.py --data ferplus.npz --out landmarks.npz

Four minutes on two cores. Nothing of the project is imported: MediaPipe needs older libraries.
The mesh: Kartynnik et al., Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs,
2019; Grishchenko et al., Attention Mesh, 2020. MediaPipe and its weights are Apache-2.0.
"""

import argparse
import hashlib
import multiprocessing
import os
import sys
import zipfile
from pathlib import Path

import cv2
import mediapipe
import numpy as np
from numpy.typing import NDArray

SIDE = 192
"""Side in pixels of the enlarged crop: the input size of the mesh network."""

BORDER = 64
"""Grey pixels around the crop: the face detector expects a margin around a face."""

_CONFIDENCE = 0.1
"""Lowest score of the detector; low, because nearly every crop shows a face."""


def find_meshes(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the face mesh of n crops: (n, 478, 2), x and y, -1..1 across the crop.

    NaN where no face is found.
    """
    faces = mediapipe.solutions.face_mesh.FaceMesh(
        static_image_mode=True,
        refine_landmarks=True,
        max_num_faces=1,
        min_detection_confidence=_CONFIDENCE,
    )
    whole = SIDE + 2 * BORDER
    result = np.full((len(images), 478, 2), np.nan, np.float32)
    for index, image in enumerate(images):
        # the resize that is banned elsewhere: here it only enlarges training pictures
        large = cv2.resize(  # noqa: TID251
            image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC
        )
        grey = int(large.mean())
        padded = cv2.copyMakeBorder(
            large, BORDER, BORDER, BORDER, BORDER, cv2.BORDER_CONSTANT, value=grey
        )
        found = faces.process(cv2.cvtColor(padded, cv2.COLOR_GRAY2RGB)).multi_face_landmarks
        if found:
            places = np.array([(point.x, point.y) for point in found[0].landmark]) * whole
            result[index] = (places - BORDER) / (SIDE / 2) - 1
    return result


def _silence() -> None:
    """Close standard error: MediaPipe writes several lines for each network that it opens."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _print_error(reason: str) -> int:
    print(f"find_landmarks: {reason}", file=sys.stderr)
    return 78


def main() -> int:
    """Write to ``--out`` the meshes of each crop of ``--data`` and of its mirror image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="ferplus.npz")
    parser.add_argument("--out", type=Path, required=True, help="file to write, .npz")
    options = parser.parse_args()
    if options.out.suffix != ".npz" or not options.out.parent.is_dir():
        return _print_error(f"--out {options.out}: expected a .npz file in a folder that exists")
    try:
        with options.data.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            images = archive["images"]
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        return _print_error(f"--data {options.data}: not an archive with images ({error})")
    parts = [part for view in (images, images[:, :, ::-1]) for part in np.array_split(view, 64)]
    with multiprocessing.Pool(os.cpu_count(), initializer=_silence) as pool:
        meshes = np.concatenate(pool.map(find_meshes, parts, chunksize=1))
    plain, mirror = meshes.reshape(2, len(images), -1, 2).astype(
        np.float16
    )  # precision: a hundredth of a pixel
    of = hashlib.sha256(images.tobytes()).hexdigest()
    np.savez_compressed(options.out, plain=plain, mirror=mirror, of=np.array(of))
    missing = int(np.isnan(plain[:, 0, 0].astype(np.float32)).sum())
    print(f"{len(images)} crops, no face found on {missing}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
