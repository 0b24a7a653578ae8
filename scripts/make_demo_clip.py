"""Make the bundled demo clip: a near-infrared-like video from one public-domain portrait.

The portrait is NASA's photograph of the astronaut Eileen Collins in the scikit-image package. The
script cuts it out, converts it to the mono picture of a camera with a near-infrared lamp (more
weight on red, smoother skin), and renders it in front of a moving camera: two persons of different
size, a part without a face, a dark part. The same inputs and versions give the same bytes.

    pip install '.[clip]' && python scripts/make_demo_clip.py

writes ``edge/vision/sources/clip/demo.mp4`` and prints its size and SHA-256. The README in that
folder gives the timeline as measured.
"""

import argparse
import hashlib
import math
import subprocess
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray
from skimage import data

Picture = NDArray[np.float32]

WIDTH_PX, HEIGHT_PX, RATE_HZ, LENGTH_S = 1280, 720, 25, 12.0
SEED = 20241

FACE_CENTRE_PX = (226.0, 122.0)  # in the portrait; hairline to chin is about 125 px
NEAR_SCALE, FAR_SCALE = 2.05, 1.12

# The timeline in seconds. The persons move between the two times of each pair.
FAR_ENTERS_S, FAR_LEAVES_S = (1.6, 3.0), (4.0, 5.2)
NEAR_LEAVES_S, NEAR_RETURNS_S = (5.2, 6.2), (7.4, 8.4)
LAMP_FADES_S, LAMP_RECOVERS_S = (9.2, 9.6), (10.4, 10.8)
LAMP_LOW = 0.004

# Outline of the person in the portrait, drawn by hand; GrabCut finds the edge near it.
OUTLINE_PX = """
    152,100 156,60 180,28 225,12 270,24 298,58 302,100 288,126 272,134 261,150 250,172
    262,178 300,205 306,238 336,262 352,300 362,350 400,342 450,352 488,392 500,450 511,480
    511,511 20,511 22,400 40,320 48,280 112,216 118,180 150,152 184,148 180,130 160,126
"""


def smoothstep(value: float, start: float, end: float) -> float:
    """Return 0 before ``start``, 1 after ``end``, and a smooth rise between."""
    share = min(max((value - start) / (end - start), 0.0), 1.0)
    return share * share * (3 - 2 * share)


def between(time_s: float, rise_s: tuple[float, float], fall_s: tuple[float, float]) -> float:
    """Return a weight that rises from 0 to 1 in ``rise_s`` and falls to 0 in ``fall_s``."""
    return smoothstep(time_s, *rise_s) * (1 - smoothstep(time_s, *fall_s))


def person_plate() -> tuple[Picture, Picture]:
    """Return the person as near-infrared reflectance, and its opacity; both 0..1, 512 x 512."""
    portrait = data.astronaut()
    polygon = np.array([point.split(",") for point in OUTLINE_PX.split()], np.int32)
    inside = np.zeros(portrait.shape[:2], np.uint8)
    cv2.fillPoly(inside, [polygon], 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (15, 15))
    marks = np.full(inside.shape, cv2.GC_BGD, np.uint8)
    marks[cv2.dilate(inside, kernel) > 0] = cv2.GC_PR_BGD
    marks[inside > 0] = cv2.GC_PR_FGD
    marks[cv2.erode(inside, kernel, borderType=cv2.BORDER_REPLICATE) > 0] = cv2.GC_FGD
    cv2.setRNGSeed(SEED)
    bgr = np.ascontiguousarray(portrait[..., ::-1])
    cv2.grabCut(bgr, marks, None, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    solid = np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    solid = cv2.morphologyEx(solid, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    solid = cv2.morphologyEx(solid, cv2.MORPH_CLOSE, kernel) & inside
    solid = cv2.erode(solid, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
    opacity = cv2.GaussianBlur(solid.astype(np.float32), (0, 0), 1.2)

    linear = (portrait.astype(np.float32) / 255) ** 2.2
    # Near infrared is next to red: lips and blemishes look like skin, blue cloth looks dark.
    mono = 0.80 * linear[..., 0] + 0.20 * linear[..., 1]
    # Skin scatters near infrared deeply, which flattens its texture and shading.
    soft = cv2.bilateralFilter(mono, 9, 0.08, 5)
    return 0.9 * (0.35 * mono + 0.65 * soft) ** 0.9, opacity


def chamber_wall() -> Picture:
    """Return the background as reflectance, larger than the frame: panels, seams, a porthole."""
    height, width = HEIGHT_PX + 240, WIDTH_PX + 640
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    wall = 0.055 + 0.02 * np.sin(columns / 310) + 0.015 * rows / height
    for seam_px in range(90, width, 380):
        wall -= 0.03 * np.exp(-(((columns - seam_px) / 4) ** 2))
        wall += 0.02 * np.exp(-(((columns - seam_px - 9) / 3) ** 2))
    for rivet_row in range(60, height, 150):
        for rivet_column in range(115, width, 380):
            cv2.circle(wall, (rivet_column, rivet_row), 6, 0.11, -1, cv2.LINE_AA)
    centre = (width - 380, 330)
    cv2.circle(wall, centre, 150, 0.12, -1, cv2.LINE_AA)
    cv2.circle(wall, centre, 118, 0.02, -1, cv2.LINE_AA)
    cv2.rectangle(wall, (0, height - 190), (width, height - 175), 0.10, -1)
    return cv2.GaussianBlur(wall, (0, 0), 2.0).astype(np.float32)


def put_person(
    scene: Picture,
    plate: tuple[Picture, Picture],
    centre_px: tuple[float, float],
    scale: float,
    turn_deg: float,
    *,
    mirrored: bool,
    light: float,
) -> Picture:
    """Return ``scene`` with the person in front of it, the centre of the face at ``centre_px``."""
    flip = -1.0 if mirrored else 1.0
    cosine, sine = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
    turn = scale * np.array([[flip * cosine, -sine], [flip * sine, cosine]])
    shift = np.array(centre_px) - turn @ np.array(FACE_CENTRE_PX)
    matrix = np.column_stack([turn, shift])
    size = (WIDTH_PX, HEIGHT_PX)
    body = cv2.warpAffine(plate[0], matrix, size, flags=cv2.INTER_CUBIC)
    cover = cv2.warpAffine(plate[1], matrix, size, flags=cv2.INTER_LINEAR)
    return scene * (1 - cover) + np.clip(body, 0, 1) * light * cover


def lamp() -> Picture:
    """Return the light of a lamp next to the lens: bright in the middle, weak in the corners."""
    rows, columns = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX].astype(np.float32)
    distance2 = ((columns - 0.5 * WIDTH_PX) / 620) ** 2 + ((rows - 0.47 * HEIGHT_PX) / 470) ** 2
    return (0.06 + 0.94 * np.exp(-1.1 * distance2)).astype(np.float32)


def frames() -> list[NDArray[np.uint8]]:
    """Return every frame of the clip, uint8 (HEIGHT_PX, WIDTH_PX)."""
    noise = np.random.default_rng(SEED)
    plate, wall, light = person_plate(), chamber_wall(), lamp()
    return [
        _frame(number / RATE_HZ, plate, wall, light, noise)
        for number in range(round(LENGTH_S * RATE_HZ))
    ]


def _frame(
    time_s: float,
    plate: tuple[Picture, Picture],
    wall: Picture,
    light: Picture,
    noise: np.random.Generator,
) -> NDArray[np.uint8]:
    # slow camera motion: pan, tilt, zoom and roll
    pan_px = 34 * math.sin(0.55 * time_s) + 5 * math.sin(2.1 * time_s)
    tilt_px = 14 * math.sin(0.43 * time_s + 1)
    zoom = 1 + 0.05 * math.sin(0.37 * time_s)
    roll_deg = 2.2 * math.sin(0.6 * time_s + 0.5)
    matrix = cv2.getRotationMatrix2D((WIDTH_PX / 2, HEIGHT_PX / 2), 0.6 * roll_deg, zoom)
    matrix[:, 2] += (-320 + 0.4 * pan_px, -120 + 0.4 * tilt_px)
    scene = cv2.warpAffine(wall, matrix, (WIDTH_PX, HEIGHT_PX), borderMode=cv2.BORDER_REPLICATE)

    far = between(time_s, FAR_ENTERS_S, FAR_LEAVES_S)
    if far > 0:
        x_px = 1700 - 660 * far + 0.6 * pan_px
        y_px = 300 + 4 * math.sin(5 * time_s) + 0.6 * tilt_px
        scene = put_person(
            scene, plate, (x_px, y_px), FAR_SCALE * zoom, -1.5, mirrored=True, light=0.85
        )
    near = 1 - between(time_s, NEAR_LEAVES_S, NEAR_RETURNS_S)
    if near > 0:
        x_px = -900 + 1460 * near + pan_px
        y_px = 335 + 5 * math.sin(3.1 * time_s) + tilt_px
        scene = put_person(
            scene, plate, (x_px, y_px), NEAR_SCALE * zoom, roll_deg, mirrored=False, light=1.0
        )

    level = 1 - (1 - LAMP_LOW) * between(time_s, LAMP_FADES_S, LAMP_RECOVERS_S)
    lit = cv2.GaussianBlur(scene, (0, 0), 0.8) * light * level
    # photon noise (its variance is proportional to the light) and the sensor's read noise
    grain = noise.standard_normal(lit.shape, np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 0.7) * 2.0
    linear = lit + grain * np.sqrt(1.2e-4 * lit + 4e-6)
    return np.rint(255 * np.clip(linear, 0, 1) ** (1 / 2.0)).astype(np.uint8)


def encode(pictures: list[NDArray[np.uint8]], path: Path, *, quality: int) -> None:
    """Write grey full-range H.264; with one thread the bytes are the same every time."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error"]
    command += ["-f", "rawvideo", "-pix_fmt", "gray", "-video_size", f"{WIDTH_PX}x{HEIGHT_PX}"]
    command += ["-framerate", str(RATE_HZ), "-color_range", "pc", "-i", "-"]
    command += ["-c:v", "libx264", "-pix_fmt", "gray", "-preset", "veryslow", "-crf", str(quality)]
    command += ["-g", str(2 * RATE_HZ), "-threads", "1", "-color_range", "pc"]
    command += ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-movflags", "+faststart"]
    command += [str(path)]
    stream = b"".join(picture.tobytes() for picture in pictures)
    subprocess.run(command, input=stream, check=True)


def main() -> None:
    """Make the clip; print its size and hash."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    home = Path(__file__).resolve().parent.parent
    parser.add_argument("--out", type=Path, default=home / "edge/vision/sources/clip/demo.mp4")
    parser.add_argument("--quality", type=int, default=27, help="x264 CRF; higher is smaller")
    options = parser.parse_args()
    encode(frames(), options.out, quality=options.quality)
    clip = options.out.read_bytes()
    print(f"{options.out}: {len(clip)} bytes, sha256 {hashlib.sha256(clip).hexdigest()}")


if __name__ == "__main__":
    main()
