"""The Python API of recordings: the daemon's results, of files, folders and arrays."""

import subprocess
import sys
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge import Reader
from edge.config import Config, DeviceConfig
from edge.errors import ConfigError
from edge.vision.golden import GOLDEN_FACE
from edge.vision.sources.video import DEMO_CLIP
from tests.support.daemons import ROOT, RunningDaemon
from tests.support.source_media import encode


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(purpose="research-consent")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=40)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    golden = cv2.imread(str(GOLDEN_FACE), cv2.IMREAD_GRAYSCALE)
    for name, picture in (("1", golden), ("2", np.zeros_like(golden)), ("10", golden)):
        cv2.imwrite(str(folder / f"face-{name}.png"), picture)
    return folder


def test_a_video_gives_the_results_of_the_daemon(reader, tmp_path):
    results = list(reader.video(DEMO_CLIP))
    with RunningDaemon(tmp_path, "--no-pace", "--wait-for-subscriber") as daemon:
        assert daemon.run_to_end(110) == 0, daemon.stderr
        frames = daemon.frames
    assert len(results) == len(frames) == 300
    for result, frame in zip(results, frames, strict=True):
        assert [face.model_dump(mode="json") for face in result.faces] == frame["faces"]
        assert (result.index, result.media_ns) == (
            frame["frame"]["index"], frame["time"]["sensor_ns"]
        )  # fmt: skip
        assert (result.width, result.height) == (1280, 720)


def test_part_of_a_video(reader, clip):
    whole = list(reader.video(clip))
    part = list(reader.video(clip, start_s=0.4, end_s=1.2, every=3))
    times = [each.time_s for each in whole if 0.4 <= each.time_s < 1.2 and each.index % 3 == 0]
    assert [each.time_s for each in part] == times
    assert {each.dropped for each in part} == {0}


def test_faces_of_a_video_that_is_sampled_rarely_appear_at_once(clip):
    strict = Reader(purpose="safety", settings=["tracking.appear_score=1.0"])
    assert next(strict.video(clip)).faces == ()
    assert next(strict.video(clip, every=30)).faces != ()


def test_two_iterators_at_once_do_not_disturb_each_other(reader, clip):
    alone = list(islice(reader.video(clip), 10))
    pairs = list(islice(zip(reader.video(clip), reader.video(clip), strict=True), 10))
    assert [one for one, _ in pairs] == [other for _, other in pairs] == alone


def test_a_folder_of_pictures(reader, pictures):
    results = list(reader.folder(pictures))
    assert [each.file for each in results] == ["face-1.png", "face-2.png", "face-10.png"]
    assert [len(each.faces) for each in results] == [1, 0, 1]
    assert [each.time_s for each in results] == [0.0, 2.0, 4.0]


def test_a_picture_that_cannot_be_read_is_left_out(reader, pictures, tmp_path):
    for path in pictures.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "face-2.png").write_bytes(b"not a picture")
    assert [(each.index, each.dropped) for each in reader.folder(tmp_path)] == [(0, 0), (2, 1)]


def test_one_picture_as_a_file_and_as_an_array(reader):
    grey = cv2.imread(str(GOLDEN_FACE), cv2.IMREAD_GRAYSCALE)
    colour = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    by_file = reader.picture(GOLDEN_FACE)
    assert by_file.file == "golden-face.png"
    assert by_file.faces[0].expression is not None
    deep = grey.astype(np.uint16) * 256
    for picture in (grey, grey[..., None], colour, np.dstack((colour, grey)), deep):
        assert reader.picture(picture).faces == by_file.faces
    assert reader.picture(colour, channels="rgb").faces == by_file.faces


def test_the_order_of_colours_counts(reader):
    picture = np.zeros((200, 200, 3), np.uint8)
    picture[..., 0] = cv2.imread(str(GOLDEN_FACE), cv2.IMREAD_GRAYSCALE)[20:220, 100:300]
    by_order = [reader.picture(picture, channels=order) for order in ("bgr", "rgb")]
    brightness = [each.faces[0].quality.brightness for each in by_order if each.faces]
    swapped = reader.picture(np.ascontiguousarray(picture[..., ::-1]), channels="bgr")
    assert swapped.faces == by_order[1].faces
    assert len(set(brightness)) == len(brightness) > 0


def test_a_picture_is_turned_as_configured():
    turned = cv2.rotate(cv2.imread(str(GOLDEN_FACE)), cv2.ROTATE_180)
    upright = Reader(
        purpose="safety",
        settings=['source.kind="images"', 'source.path="."', "source.rotate_deg=180"],
    )
    assert upright.picture(turned).faces[0].expression is not None


@pytest.mark.parametrize(
    ("picture", "text"),
    [
        (np.zeros((20, 20), np.float32), "picture: float32 (20, 20); expected uint8"),
        (np.zeros((20, 20, 2), np.uint8), "picture: uint8 (20, 20, 2); expected uint8"),
        (np.zeros((0, 20), np.uint8), "picture: uint8 (0, 20); expected uint8"),
        ("no.png", "picture no.png: No such file or directory"),
        (DEMO_CLIP, "picture demo.mp4: cannot be decoded"),
        (cv2.imread("no.png"), "picture of type NoneType: expected an array, or the name of a"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(reader, picture, text):
    with pytest.raises(ConfigError) as raised:
        reader.picture(picture)
    assert str(raised.value).startswith(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"every": 0}, "every 0: expected a whole number, 1 or more"),
        ({"every": 1.5}, "every 1.5: expected a whole number, 1 or more"),
        ({"start_s": -1.0}, "start -1.0: expected seconds, 0 or more"),
        ({"start_s": 2.0, "end_s": 1.0}, "end 1 s: expected more than start 2 s"),
        ({"end_s": float("nan")}, "end nan: expected seconds, 0 or more"),
    ],
)
def test_a_wrong_selection_is_refused_at_once(reader, clip, arguments, text):
    with pytest.raises(ConfigError, match=text):
        reader.video(clip, **arguments)


def test_a_purpose_is_required(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match="purpose: not declared; expected one of research"):
        Reader()
    with pytest.raises(ConfigError, match="purpose 'fun': expected one of"):
        Reader(purpose="fun")
    (tmp_path / "edge.toml").write_text('[device]\npurpose = "medical"\n')
    assert Reader(config=tmp_path / "edge.toml")
    assert Reader(config=Config(device=DeviceConfig(purpose="medical")))
    monkeypatch.setenv("AFFECT_EDGE__DEVICE__PURPOSE", "safety")
    assert Reader()


def test_import_edge_stays_cheap():
    code = "import edge, sys; assert not {'numpy', 'cv2', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
