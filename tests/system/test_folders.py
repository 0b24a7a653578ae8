"""A folder of pictures through the whole daemon: names, what is left out, several pages."""

import os
from pathlib import Path

import cv2
import numpy as np

from tests.support.daemons import PURPOSE, RunningDaemon, affect_edge
from tests.support.tiff import tiff


def test_a_mixed_folder_is_read_whole_and_the_rest_is_reported(tmp_path: Path) -> None:
    """A name that is not UTF-8 ended worker after worker; a pipe held each for ten seconds."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture = np.full((48, 64), 99, np.uint8)
    good = cv2.imencode(".png", picture)[1].tobytes()
    names = [b"f1.png", b"f2.png", b"f10.png", b"g\xe4.png"]
    for name in names:
        Path(os.fsdecode(bytes(folder) + b"/" + name)).write_bytes(good)
    Path(os.fsdecode(bytes(folder) + b"/h\xe4.jpg")).write_bytes(b"")
    (folder / "i.tif").write_bytes(tiff([picture, picture]))
    (folder / "j.heic").write_bytes(b"x")
    os.mkfifo(folder / "pipe")
    (folder / "k.png").symlink_to("pipe")
    (folder / "z.png").write_bytes(good[:-30] + bytes(10) + good[-20:])
    with RunningDaemon(
        tmp_path, "--source", str(folder), "--no-pace", "--wait-for-subscriber", *PURPOSE
    ) as daemon:
        assert daemon.run_to_end() == 0
        lost = "\N{REPLACEMENT CHARACTER}"
        assert [(m["frame"]["file"], m["frame"]["page"]) for m in daemon.frames] == [
            ("f1.png", None), ("f2.png", None), ("f10.png", None), (f"g{lost}.png", None),
            ("i.tif", 1), ("i.tif", 2),
        ]  # fmt: skip
        assert not daemon.events("worker_lost")
        assert [event["detail"] for event in daemon.events("folder_opened")] == [
            {"files": 7, "left_out": {".heic": 1, "pipe": 2}, "bits": None}
        ]
        reasons = [event["detail"]["reason"] for event in daemon.events("frame_refused")]
        assert [reason.partition(":")[0] for reason in reasons] == [f"h{lost}.jpg", "z.png"]
        ended = daemon.events("epoch_ended")[0]["detail"]
        assert (ended["frames"], ended["dropped"], ended["captured"]) == (6, 2, 8)
        lines = daemon.stderr.splitlines()
    assert "affect-edge: INFO: folder opened: 7 picture files; left out: 1 .heic, 2 pipe" in lines
    assert all(line.startswith("affect-edge: ") for line in lines), lines


def test_a_path_that_is_not_utf8_is_refused_in_words(tmp_path: Path) -> None:
    folder = bytes(tmp_path) + b"/b\xe4ume"
    os.mkdir(folder)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8), np.uint8))
    os.rename(bytes(tmp_path) + b"/a.png", folder + b"/a.png")
    path = os.fsdecode(folder)
    for arguments, environment in (
        (("--source", path), {}),
        (("--set", "source.kind=images", "--set", f"source.path={path}"), {}),
        (("--set", "source.kind=images"), {"AFFECT_EDGE__SOURCE__PATH": path}),
    ):
        for command in ("run", "check"):
            if command == "check" and "--source" in arguments:
                continue
            done = affect_edge(command, *arguments, *PURPOSE, environment=environment)
            assert done.returncode == 78
            (line,) = done.stderr.splitlines()
            assert "source.path: expected a name in UTF-8: rename the file or folder" in line
