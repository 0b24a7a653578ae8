"""``benchmarks mesh``: the demo clip's face, turned by known angles."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import mesh
from benchmarks.cli import main
from tests.support.command_errors import refusal

# auto would measure every artifact first
SETTINGS = ["--set", 'mesh.artifact="mesh.tflite"', "--set", 'detector.artifact="centerface.onnx"']


def test_the_pose_of_turned_faces_is_within_five_degrees(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # fewer pictures, for the time of the test
    monkeypatch.setattr(mesh, "_YAWS", (-30.0, 0.0, 30.0))
    monkeypatch.setattr(mesh, "_TILTS", ((0.0, 0.0), (0.0, 15.0)))
    path = tmp_path / "result.json"
    assert main(["mesh", *SETTINGS, "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert result["faces"] == 1
    assert result["lost"] == 0
    rows = {row["turn"]: row for row in result["pose_error_deg"]}
    assert set(rows) == {-30, 0, 30, None}
    assert all(rows[None][name][0] <= 5 for name in ("yaw", "pitch", "roll"))
    assert rows[None]["yaw"][1] < rows[None]["quality_yaw"][1]
    eyes = [row["median"] for row in result["openness_by_lids"]]
    assert eyes == sorted(eyes, reverse=True)
    assert eyes[0] > 0.8
    assert eyes[-1] < 0.3
    assert "face-mesh" in result["models"]
    assert "faces: 1; turned ones that were not found: 0" in capsys.readouterr().out


def test_photographs_without_a_face_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((200, 300), 90, np.uint8))
    line = refusal(main, ["mesh", *SETTINGS, "--images", str(tmp_path)], capsys)
    assert "no photograph shows a frontal face" in line
