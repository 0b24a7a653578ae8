"""The daemon with each artifact of a bundled model, and with the one that auto chooses."""

import json
import shutil
from pathlib import Path

import pytest

from edge.vision.golden import GOLDEN_FACE
from edge.vision.inference import find_model, load_manifest
from edge.vision.values import Box
from tests.support.daemons import PURPOSE, RunningDaemon

MODEL = "centerface-320x192"
FILES = [artifact.file for artifact in load_manifest(find_model(MODEL)).artifacts]


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        shutil.copy(GOLDEN_FACE, folder / name)
    return folder


@pytest.mark.parametrize("artifact", [*FILES, "auto"])
def test_the_daemon_runs_with_each_artifact(artifact: str, faces: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    arguments = ["--source", str(faces), *PURPOSE, "--no-pace", "--wait-for-subscriber"]
    arguments += ["--set", f'detector.artifact="{artifact}"']
    arguments += ["--set", f'journal.path="{journal}"']
    with RunningDaemon(tmp_path, *arguments) as daemon:
        assert daemon.run_to_end(60) == 0, daemon.stderr
        assert "XNNPACK" not in daemon.stderr
        assert len(daemon.frames) == 3
        manifest = load_manifest(find_model(MODEL))
        assert manifest.golden is not None
        for message in daemon.frames:
            (face,) = message["faces"]
            assert Box(*face["box"]).iou(Box(*manifest.golden.box)) > 0.88
            assert face["expression"] is not None
        (started,) = daemon.events("worker_started")
        reported = started["detail"]["models"]["detector"]["sha256"]
    hashes = {each.file: each.sha256 for each in manifest.artifacts}
    choices = journal / "artifact-choices.json"
    if artifact == "auto":
        chosen = [each["chosen"] for each in json.loads(choices.read_text()).values()]
        assert reported in [hashes.get(file) for file in chosen]
    else:
        assert reported == hashes[artifact]
