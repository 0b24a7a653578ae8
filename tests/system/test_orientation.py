"""The daemon with a camera that is mounted upside down."""

from pathlib import Path

from tests.support.daemons import PURPOSE, RunningDaemon
from tests.support.source_media import encode


def test_faces_of_a_camera_mounted_upside_down_are_read(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.mp4", "-vf", "scale=640:360,hflip,vflip", frames=12)
    for rotate_deg, found in ((0, False), (180, True)):
        folder = tmp_path / str(rotate_deg)
        folder.mkdir()
        setting = f"source.rotate_deg={rotate_deg}"
        arguments = ("--source", str(clip), "--no-pace", "--wait-for-subscriber", *PURPOSE)
        with RunningDaemon(folder, *arguments, "--set", setting) as daemon:
            assert daemon.run_to_end() == 0, daemon.stderr
        assert bool(daemon.frames[-1]["faces"]) == found
        (started,) = daemon.events("epoch_started")
        assert started["detail"]["rotate_deg"] == rotate_deg
        assert started["detail"]["flip"] == "none"
    x, y, width, height = daemon.frames[-1]["faces"][0]["box"]
    assert 0 < x < x + width < 640
    assert 0 < y < y + height < 360
