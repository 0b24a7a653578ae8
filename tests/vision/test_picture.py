"""Does a picture show something? Noise of a dark sensor does not, a dim face does."""

import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.clock import Stopwatch
from edge.config import DetectorConfig
from edge.vision.detect import Detector, open_detector
from edge.vision.picture import Repeats, look_of, measure
from edge.vision.sources.video import DEMO_CLIP
from edge.vision.values import Floats, Frame, Luma
from tests.support.source_media import ffmpeg, grey_by_opencv

HEIGHT, WIDTH = 720, 1280
NEAR, WALL, LAMP_OFF = 0, 160, range(240, 261)  # frames of the clip; see its README


@pytest.fixture(scope="module")
def clip() -> list[Luma]:
    return grey_by_opencv(DEMO_CLIP)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return open_detector(DetectorConfig(), None)


def noise(sigma: float, *, blur: float = 0.0, seed: int = 1) -> Floats:
    """Return noise of a sensor; ``blur``: as demosaicing and noise reduction leave it."""
    made = np.random.default_rng(seed).standard_normal((HEIGHT, WIDTH)).astype(np.float32)
    if blur:
        made = np.asarray(cv2.GaussianBlur(made, (0, 0), blur))
    return made * np.float32(sigma / made.std())


def levels(values: NDArray[Any]) -> Luma:
    rounded: Luma = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded


def look(luma: Luma) -> str:
    return look_of(measure(luma))


@pytest.mark.parametrize("pedestal", [0, 4, 16])
@pytest.mark.parametrize("sigma", [0.3, 1, 3, 6])
@pytest.mark.parametrize("blur", [0.0, 2.0])
def test_a_sensor_without_light_is_dark(pedestal: int, sigma: float, blur: float) -> None:
    assert look(levels(pedestal + noise(sigma, blur=blur))) == "dark"


@pytest.mark.parametrize("quality", [30, 85])
def test_so_it_is_after_compression(quality: int) -> None:
    coded = cv2.imencode(".jpg", levels(8 + noise(5)), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    assert look(np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE))) == "dark"


def test_so_it_is_with_hot_pixels_row_noise_and_glow() -> None:
    chance = np.random.default_rng(3)
    rows, columns = np.indices((HEIGHT, WIDTH))
    hot = np.where(chance.random((HEIGHT, WIDTH)) < 0.0005, 200, 0)
    assert look(levels(4 + noise(4) + hot)) == "dark"
    assert look(levels(4 + noise(4) + chance.normal(0, 2, (HEIGHT, 1)))) == "dark"
    corner = np.exp(-((columns - WIDTH) ** 2 + rows**2) / (2 * 300**2))
    assert look(levels(4 + noise(2) + 10 * corner)) == "dark"


def test_the_clip_is_dark_while_its_lamp_is_off_and_else_it_is_normal(clip: list[Luma]) -> None:
    looks = [look(luma) for luma in clip]
    assert {looks[index] for index in LAMP_OFF} == {"dark"}
    assert {found for index, found in enumerate(looks) if index not in LAMP_OFF} == {"normal"}


@pytest.mark.parametrize(
    ("share", "sigma"),
    [(0.3, 6), (0.2, 6), (0.15, 3), (0.1, 0), (0.1, 1), (0.1, 3), (0.07, 1), (0.05, 0)],
)
def test_a_dim_face_that_the_detector_finds_is_not_dark(
    clip: list[Luma], detector: Detector, share: float, sigma: float
) -> None:
    dim = levels(clip[NEAR] * share + (noise(sigma) if sigma else 0))
    assert detector.detect(Frame(dim, 0, 0, "media", 0), Stopwatch()), "a face is found"
    assert look(dim) == "normal"


@pytest.mark.parametrize("share", [0.02, 0.01])
def test_a_lamp_that_leaves_almost_nothing_is_dark(
    clip: list[Luma], detector: Detector, share: float
) -> None:
    dim = levels(clip[NEAR] * share + noise(1))
    assert not detector.detect(Frame(dim, 0, 0, "media", 0), Stopwatch())
    assert look(dim) == "dark"


@pytest.mark.parametrize("level", [30, 128, 200, 255])
@pytest.mark.parametrize("sigma", [0, 2, 6])
def test_a_picture_without_detail_is_flat(level: int, sigma: float) -> None:
    assert look(levels(level + (noise(sigma) if sigma else np.zeros((HEIGHT, WIDTH))))) == "flat"


def test_paper_and_glow_are_flat_and_a_wall_is_not(clip: list[Luma]) -> None:
    rows, columns = np.indices((HEIGHT, WIDTH))
    vignette = 1 - ((columns / WIDTH - 0.5) ** 2 + (rows / HEIGHT - 0.5) ** 2)
    assert look(levels(160 * vignette + noise(2))) == "flat"
    glow = np.exp(-((columns - WIDTH / 2) ** 2 + rows**2) / (2 * 500**2))
    assert look(levels(20 + 180 * glow + noise(2))) == "flat"
    assert look(clip[WALL]) == "normal"


def test_no_near_infrared_face_is_dark_or_flat(nir_faces: Path) -> None:
    pictures = [
        cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in (nir_faces / "images").glob("*.jpg")
    ]
    for share in (1.0, 0.3, 0.15):
        found = {look(levels(picture * share + 0.0)) for picture in pictures if picture is not None}
        assert found == {"normal"}


def test_what_is_dark_stays_so_until_it_is_clearly_brighter() -> None:
    dark, lighter = (measure(levels(level + noise(2))) for level in (20, 24))
    assert (look_of(dark), look_of(lighter)) == ("dark", "flat")
    assert look_of(lighter, "dark") == "dark"
    assert look_of(measure(levels(40 + noise(2))), "dark") == "flat"


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (23, 50)])
def test_a_tiny_picture_is_not_judged(shape: tuple[int, int]) -> None:
    assert measure(np.zeros(shape, np.uint8)) is None
    assert look(np.zeros(shape, np.uint8)) == "normal"


@pytest.mark.parametrize("shape", [(24, 24), (48, 64), (720, 1280), (3000, 4000)])
def test_measures_do_not_depend_on_size(shape: tuple[int, int]) -> None:
    assert look(np.zeros(shape, np.uint8)) == "dark"
    assert look(np.full(shape, 128, np.uint8)) == "flat"
    half = np.indices(shape)[1] // (shape[1] // 2) * 200
    assert look(half.astype(np.uint8)) == "normal"


# -- repeats -------------------------------------------------------------------------------------


def repeats(pictures: list[Luma], *, encoded: bool = True) -> list[bool]:
    seen = Repeats(encoded=encoded)
    return [seen.update(picture) for picture in pictures]


def test_the_same_picture_again_is_a_repeat() -> None:
    picture = levels(100 + noise(20))
    assert repeats([picture, picture.copy(), picture.copy()]) == [False, True, True]


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (48, 64)])
def test_so_it_is_at_any_size(shape: tuple[int, int]) -> None:
    one, other = np.full(shape, 7, np.uint8), np.full(shape, 90, np.uint8)
    turned = np.full(shape[::-1], 90, np.uint8)
    assert repeats([one, one.copy(), other, other.copy()]) == [False, True, False, True]
    assert repeats([other, turned])[-1] == (shape == (1, 1))


def test_noise_and_the_smallest_change_are_news() -> None:
    still = levels(100 + noise(20))
    assert not any(repeats([levels(still + noise(0.5, seed=seed)) for seed in range(20)]))
    counting = [still.copy() for _ in range(300)]
    for number, picture in enumerate(counting):
        picture[0, 0] = number % 256
    assert not any(repeats(counting))


def test_loops_of_moving_and_of_noisy_pictures_are_news(clip: list[Luma]) -> None:
    assert not any(repeats(clip[:12] * 4))
    still = levels(100 + noise(20))
    assert not any(repeats([levels(still + noise(1, seed=seed)) for seed in range(25)] * 3))
    few = [levels(still + noise(1, seed=seed)) for seed in range(3)] * 20
    assert not any(repeats(few, encoded=False)), "nothing is encoded: this is a poor sensor"


@pytest.mark.parametrize(
    "options",
    [
        ("-c:v", "mjpeg", "-q:v", "5"),
        ("-c:v", "libx264", "-g", "250"),
        ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "12"),
        ("-c:v", "mpeg4"),
        ("-c:v", "libx265", "-x265-params", "log-level=none"),
    ],
    ids=["mjpeg", "h264", "h264-camera", "mpeg4", "h265"],
)
def test_a_still_picture_that_was_encoded_is_a_repeat(
    clip: list[Luma], tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Encoders turn it into several, between which they alternate."""
    assert cv2.imwrite(str(tmp_path / "still.png"), clip[NEAR][::2, ::2])
    video = tmp_path / "still.mkv"
    ffmpeg("-loop", "1", "-framerate", "25", "-i", tmp_path / "still.png", "-t", "6",
           "-pix_fmt", "yuv420p", *options, video)  # fmt: skip
    runs = [
        len(list(run))
        for repeated, run in itertools.groupby(repeats(grey_by_opencv(video)))
        if repeated
    ]
    assert max(runs) >= 50, f"{runs}: no two seconds of repeats"
