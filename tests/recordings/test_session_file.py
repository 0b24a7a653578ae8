"""``session.json`` of an earlier analysis, damaged in every place that is read."""

import json
from pathlib import Path
from typing import Any

import pytest

from edge.errors import ConfigError
from edge.recordings.analysis.session_file import earlier_session

MODEL = {
    "name": "m", "sha256": "0" * 64, "artifact": "m.onnx", "runtime": "onnxruntime",
    "precision": "fp32", "manifest_sha256": "0" * 64,
}  # fmt: skip
SESSION: dict[str, Any] = {
    "recording": {"file": "r.mp4", "sha256": "0" * 64, "damage": []},
    "analysis": {
        "stream": "s",
        "settings": {"device": {"name": "d"}, "zones": {"seats": {}}, "every": 1},
    },
    "models": {"detector": MODEL},
    "frames": {
        "analysed": 3, "first_s": 0.0, "last_s": 1.0, "share_read": 1.0, "without_face": 0,
        "share_without_face": 0.0,
    },
    "faces": {"found": 3, "reasons": {"blurred": 1}},
    "outputs": {"codes": {"1": "P01"}},
    "versions": {},
}  # fmt: skip


def write(folder: Path, session: object) -> None:
    (folder / "session.json").write_text(json.dumps(session))


@pytest.mark.parametrize("is_removed", [True, False])
@pytest.mark.parametrize(
    "place",
    [
        *("recording", "models", "frames", "faces", "outputs", "analysis.stream"),
        *("analysis.settings", "analysis.settings.zones.seats", "models.detector.sha256"),
        *("recording.damage", "frames.first_s", "faces.reasons", "outputs.codes"),
    ],
)
def test_what_is_damaged_is_named(tmp_path: Path, place: str, is_removed: bool) -> None:
    session = json.loads(json.dumps(SESSION))
    *path, last = place.split(".")
    part = session
    for name in path:
        part = part[name]
    part[last] = [None]
    if is_removed:
        del part[last]
    write(tmp_path, session)

    with pytest.raises(ConfigError) as raised:
        earlier_session(tmp_path)

    expected = f"{tmp_path}/session.json: is damaged, or of another version: {place}"
    assert str(raised.value).startswith(expected)
    assert "\n" not in str(raised.value)


def test_a_whole_one_is_returned_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, SESSION)

    assert earlier_session(tmp_path) == SESSION
    assert earlier_session(tmp_path / "none") is None


@pytest.mark.parametrize("content", [[], {}, "x", {"analysis": None}])
def test_another_file_of_this_name_is_none(tmp_path: Path, content: object) -> None:
    write(tmp_path, content)

    with pytest.raises(ConfigError, match=r"holds no results|is damaged"):
        earlier_session(tmp_path)
