"""``benchmarks schedule``: its scenes, its figures, and its refusals."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.cli import main
from benchmarks.evaluation.face_agreement import FaceAgreement
from benchmarks.evaluation.motion import HEIGHT, RATE_HZ, SECONDS, WIDTH, scenes
from benchmarks.pipeline import read_frames
from benchmarks.schedule import REFERENCE, ROWS, VARIANTS
from edge.config import Config, DetectorConfig
from edge.vision.detect import Detector, open_detector
from edge.vision.golden import golden_picture
from edge.vision.pipeline import Pipeline
from edge.vision.regions import open_finder
from edge.vision.sources.images import read_grey
from edge.vision.values import Box, Detection, FaceState, Frame, Quality, Track
from tests.support.command_errors import refusal

QUALITY = Quality(True, (), 100.0, 0.1, 0.5, 0.0, 0.0)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return open_detector(DetectorConfig(artifact="centerface.onnx"))


def face(track: int, x: float) -> FaceState:
    landmarks = np.full((5, 2), [x + 50, 50], np.float32)
    return FaceState(Track(track, Detection(Box(x, 0, 100, 100), landmarks, 0.9), 0.0), QUALITY)


# -- scenes ----------------------------------------------------------------------------------------


def test_the_same_pictures_give_the_same_moving_scenes(detector: Detector) -> None:
    picture, _ = golden_picture()
    pictures = [picture, np.ascontiguousarray(picture[:, ::-1]), np.zeros((99, 99), np.uint8)]
    one, two = (scenes(pictures, detector) for _ in range(2))
    assert [each.name for each in one] == ["pan", "zoom", "crossing"]  # no face in the third
    for first, second in zip(one, two, strict=True):
        count = 0
        for number, (left, right) in enumerate(zip(first.frames(), second.frames(), strict=True)):
            assert left.shape == (HEIGHT, WIDTH)
            if number % 40 == 0:
                assert np.array_equal(left, right)
            count += 1
        assert count == RATE_HZ * SECONDS


@pytest.mark.nir
def test_moving_photographs_lose_no_face(nir_faces: Path) -> None:
    paths = sorted((nir_faces / "images").iterdir())[::25]
    every = DetectorConfig(artifact="centerface.onnx")
    full = open_detector(every)
    pictures = [read_grey(path) for path in paths]
    config = Config(
        detector=every.model_copy(
            update={"schedule": "region", "region_artifact": "centerface.onnx"}
        )
    )
    known = Pipeline(full, None, Config(detector=every))  # type: ignore[arg-type]
    by_regions = Pipeline(full, None, config, finder=open_finder(config, full))  # type: ignore[arg-type]
    overlaps = []
    for repeat, scene in enumerate(scenes(pictures, full)):
        for number, luma in enumerate(itertools.islice(scene.frames(), 50)):
            at_ns = round((10 * repeat + number / RATE_HZ) * 1e9)
            frame = Frame(luma, number, at_ns, "media", 0, repeat=repeat)
            found = by_regions.detect(frame).tracks
            for track in known.detect(frame).tracks:
                box = track.detection.box
                overlaps.append(max((box.iou(each.detection.box) for each in found), default=0.0))
    assert len(overlaps) > 150
    assert np.mean(np.array(overlaps) > 0.5) >= 0.99
    assert np.mean(overlaps) >= 0.85


# -- figures ---------------------------------------------------------------------------------------


def test_agreement_counts_faces_identities_delay_and_jitter() -> None:
    agreement = FaceAgreement()
    agreement.add(0.0, [face(1, 0)], [])
    agreement.add(0.1, [face(1, 0)], [face(7, 10), face(8, 300)])
    agreement.add(0.2, [face(1, 0)], [face(7, 10)])
    agreement.add(0.3, [face(1, 0)], [face(9, 20)])
    figures = agreement.figures()
    assert (figures["faces"], figures["recall"], figures["extra_faces"]) == (4, 0.75, 1)
    assert figures["identity_switches"] == 1
    assert figures["delay_max_s"] == pytest.approx(0.1)
    # one second difference of 10 pixels, of a face of 100
    assert figures["landmark_jitter"] == pytest.approx(0.1)
    assert figures["stable_label"] is figures["valence_ccc"] is None


def test_tracks_do_not_continue_into_another_scene() -> None:
    agreement = FaceAgreement()
    agreement.add(0.0, [face(1, 0)], [face(5, 0)])
    agreement.end_scene()
    agreement.add(9.0, [face(1, 0)], [face(6, 0)])
    assert agreement.figures()["identity_switches"] == 0
    assert agreement.figures()["delay_max_s"] == 0


# -- the command -----------------------------------------------------------------------------------


def test_every_pipeline_has_every_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def few(config: Config, limit: int | None) -> Iterator[Frame]:
        return itertools.islice(read_frames(config, limit), 20)

    monkeypatch.setattr("benchmarks.schedule.read_frames", few)
    path = tmp_path / "result.json"
    assert main(["schedule", "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert set(result["variants"]) == set(VARIANTS)
    for name, kinds in result["variants"].items():
        (figures,) = kinds.values()
        assert set(ROWS) < set(figures)
        assert figures["faces"] == 20
        assert figures["recall"] == 1.0
        assert (figures["full_looks_per_1000"] == 1000) == name.startswith("every frame")
    assert result["variants"][REFERENCE]["demo"]["iou_mean"] == pytest.approx(1.0)


def test_wrong_pictures_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["schedule", "--images", str(tmp_path)]
    assert "--images" in refusal(main, [*folder[:-1], str(tmp_path / "none")], capsys)
    assert cv2.imwrite(str(tmp_path / "one.png"), np.zeros((99, 99), np.uint8))
    assert "1 pictures in it; expected 2 or more" in refusal(main, folder, capsys)
    line = refusal(main, ["schedule", "--pictures", "1"], capsys)
    assert "--pictures 1: expected 2 or more" in line
