"""``benchmarks calm``: a face that holds still, and a change of expression."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import calm
from benchmarks.cli import main
from benchmarks.evaluation.drift import DRIFT_PX, FACE_PX, HEIGHT, SCALE, WIDTH, Drift
from benchmarks.evaluation.pictures import faces_in
from edge.config import DetectorConfig
from edge.vision.detect import open_detector
from edge.vision.golden import golden_picture
from tests.support.command_errors import refusal

# auto would measure every artifact first
SETTINGS = [
    each
    for key, name in (
        ("detector.artifact", "centerface.onnx"),
        ("detector.region_artifact", "centerface.onnx"),
        ("expression.artifact", "expression.onnx"),
    )
    for each in ("--set", f'{key}="{name}"')
]


def test_a_drifting_face_stays_near_the_middle_and_the_seed_gives_the_pictures() -> None:
    detector = open_detector(DetectorConfig(artifact="centerface.onnx"))
    picture, _ = golden_picture()
    face = faces_in(detector, picture)[0].box
    first, again, other = (list(Drift(seed).pictures(picture, face, 0, 60)) for seed in (1, 1, 2))
    assert all(map(np.array_equal, first, again))
    assert not np.array_equal(first[0], other[0])
    assert len({each.tobytes() for each in first}) == 60  # noise of its own
    boxes = [faces_in(detector, each)[0].box for each in first[::10]]
    x = np.array([each.x + each.width / 2 for each in boxes])
    heights = np.array([each.height for each in boxes])
    assert np.abs(x - WIDTH / 2).max() < DRIFT_PX + 4  # a detector's box varies
    assert np.abs(heights / FACE_PX - 1).max() < SCALE + 0.05
    assert np.ptp(x) > 1
    assert first[0].shape == (HEIGHT, WIDTH)


def test_the_demo_face_keeps_its_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calm, "SECONDS", 4.0)  # for the time of the test
    path = tmp_path / "result.json"
    assert main(["calm", *SETTINGS, "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert result["photographs"] == 1
    assert result["stable_labels"]["mean"] == 1
    assert result["unchanged"] == 1
    assert result["lag_s"] is None  # one photograph shows no change
    assert "stable labels in 10 s" in capsys.readouterr().out


@pytest.mark.nir
def test_a_change_of_expression_is_shown_in_time(
    nir_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calm, "SECONDS", 2.0)
    with (nir_faces / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = [row for row in rows if row["file"] in ("1-0-neutral.jpg", "1-1-happy.jpg")]
    labels, path = tmp_path / "labels.csv", tmp_path / "result.json"
    with labels.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(chosen)
    images = str(nir_faces / "images")
    arguments = ["--images", images, "--labels", str(labels), "--json", str(path)]
    assert main(["calm", *SETTINGS, *arguments]) == 0
    result = json.loads(path.read_text())
    assert result["lag_s"]["changes"] == 1
    assert 0 < result["lag_s"]["median"] < 2
    assert result["by_person"][0]["photographs"] == len(chosen) == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--images", "photos"], "--images and --labels: expected both"),
        (["--seeds", "0"], "--seeds 0: expected 1 to 1000"),
        (["--images", "photos", "--labels", "none.csv"], "--labels none.csv: No such file"),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in refusal(main, ["calm", *SETTINGS, *arguments], capsys)
