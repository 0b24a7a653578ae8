"""``benchmarks thresholds``: limits, over pictures made from the golden face."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cli import main
from benchmarks.thresholds import DEGRADATIONS, crossing
from edge.vision.golden import golden_picture
from tests.support.command_errors import refusal


def test_a_limit_is_interpolated_between_two_degrees() -> None:
    assert crossing([(10, 1.0), (6, 0.9), (2, 0.7)], least=0.8) == pytest.approx(4)
    assert crossing([(0.1, 0.9), (0.3, 0.5)], least=0.8) == pytest.approx(0.15)
    assert crossing([(1, 0.9), (2, 0.8)], least=0.8) is None
    assert crossing([(1, 0.7), (2, 0.9)], least=0.8) == 1


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1)), min_size=2), st.floats(0.1, 0.9))
def test_a_limit_is_never_outside_the_measured_range(
    points: list[tuple[float, float]], least: float
) -> None:
    limit = crossing(points, least=least)
    measures = [measure for measure, _ in points]
    if min(share for _, share in points) >= least:
        assert limit is None
    else:
        assert limit is not None
        assert min(measures) - 1e-9 <= limit <= max(measures) + 1e-9


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    face, _ = golden_picture()
    rows = ["file,subject,expression,valence,arousal"]
    for name, gain in (("a", 0.8), ("b", 1.0)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.clip(face * gain, 0, 255).astype(np.uint8))
        rows.append(f"{name}.png,{name},happy,0.9,0.2")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_every_degradation_is_measured_and_changes_its_measure(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pictures / "result.json"
    words = ["thresholds", "--images", str(pictures), "--labels", str(pictures / "labels.csv")]
    assert main([*words, "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert result["faces"] == 2
    assert set(result["faults"]) == set(DEGRADATIONS)
    assert set(result["limits"]) == {each.key for each in DEGRADATIONS.values()}
    for name, kind in DEGRADATIONS.items():
        rows = result["faults"][name]
        assert [row["degree"] for row in rows] == list(kind.degrees)
        assert all(0 <= row["same_label"] <= 1 for row in rows)
        # the measure that the daemon takes follows the degradation
        measures = [row["measure"] for row in rows]
        falling = name in ("fewer pixels", "blur", "less light")
        assert measures == sorted(measures, reverse=falling)
    # a plain smile is still one when only the frame differs
    assert result["same_label_when_only_the_frame_differs"] > 0.9
    assert sum(row["faces"] for row in result["hits_by_lead"]) == 2
    printed = capsys.readouterr().out
    assert "size_min_px" in printed
    for row in result["hits_by_lead"]:  # a bin has two ends, also in print
        upper = {0.0: "0.1", 0.1: "0.2", 0.2: "0.4", 0.4: "1.0"}[row["from"]]
        assert f"lead over the second {row['from']:.1f} to {upper}: {row['faces']} faces" in printed


def test_the_same_seed_gives_the_same_figures(pictures: Path) -> None:
    words = ["thresholds", "--images", str(pictures), "--labels", str(pictures / "labels.csv")]
    results = []
    for name in ("one.json", "two.json"):
        assert main([*words, "--json", str(pictures / name)]) == 0
        results.append(json.loads((pictures / name).read_text())["faults"])
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ("file,subject\na.png,1\n", "no column arousal"),
        ("file,subject,expression,valence,arousal\ngone.png,1,happy,0,0\n", "gone.png"),
        ("file,subject,expression,valence,arousal\nempty.png,1,happy,0,0\n", "no face was found"),
    ],
)
def test_unusable_input_is_refused_in_one_line(
    pictures: Path, capsys: pytest.CaptureFixture[str], labels: str, complaint: str
) -> None:
    cv2.imwrite(str(pictures / "empty.png"), np.full((240, 320), 90, np.uint8))
    (pictures / "labels.csv").write_text(labels)
    words = ["thresholds", "--images", str(pictures), "--labels", str(pictures / "labels.csv")]
    assert complaint in refusal(main, words, capsys)
