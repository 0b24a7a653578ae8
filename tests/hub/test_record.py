"""What the first message of an epoch says of its conditions, and what it must not say."""

import json
from pathlib import Path

from edge import __version__
from edge.board import Board
from edge.config import Config, load_config
from edge.config.recorded import _without_secrets, recorded_config, versions
from edge.hub.record import epoch_started

PURPOSE = 'device.purpose="safety"'


def test_the_epoch_has_every_key_of_the_configuration() -> None:
    config = load_config(settings=["tracking.vanish_s=2.5"], environment={})
    recorded = epoch_started(config, Board(), None).config
    assert Config.model_validate(recorded) == config
    assert recorded["tracking"]["vanish_s"] == 2.5


def test_a_cameras_password_is_not_recorded() -> None:
    url = "rtsp://user:S3cret@10.0.0.2/live?token=S3cret"
    settings = ['source.kind="stream"', f'source.url="{url}"', PURPOSE]
    config = load_config(settings=settings, environment={})
    recorded = recorded_config(config)
    assert recorded["source"]["url"] == "rtsp://...@10.0.0.2/..."
    assert "S3cret" not in json.dumps(epoch_started(config, Board(), None).model_dump(mode="json"))


def test_folders_above_a_recording_are_not_recorded() -> None:
    settings = ['source.kind="video"', 'source.path="/srv/Jane Doe/visit 3.mp4"', PURPOSE]
    recorded = recorded_config(load_config(settings=settings, environment={}))
    assert recorded["source"]["path"] == "visit 3.mp4"


def test_versions_of_all_that_computes_results() -> None:
    found = versions()
    assert found["affect-edge"] == __version__
    assert {"python", "kernel", "numpy", "opencv", "onnxruntime", "pyzmq"} <= found.keys()
    assert all(found.values())


def test_the_board_is_named_where_it_says_what_it_is(tmp_path: Path) -> None:
    assert Board(tmp_path).model() is None
    path = tmp_path / "proc/device-tree/model"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    assert Board(tmp_path).model() == "Raspberry Pi 5 Model B Rev 1.0"
    path.write_bytes(b"\xff\0\x01")
    assert Board(tmp_path).model() is None


def test_keys_and_tokens_are_not_recorded() -> None:
    """Whatever a section calls them: the value is hidden by the key's name."""
    hidden = _without_secrets(
        {
            "security": {"secret_key": "/etc/keys/S3cret", "allowed_keys": "/etc/keys/allowed"},
            "metrics": {"token_file": "S3cret", "client_secret": ["S3cret"], "address": ""},
            "source": {"url": "http://10.0.0.2/?pwd=S3cret", "Password": "S3cret", "token": None},
        }
    )
    assert "S3cret" not in json.dumps(hidden)
    assert hidden["security"]["allowed_keys"] == "/etc/keys/allowed"
    assert hidden["source"]["token"] is None
