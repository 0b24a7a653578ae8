"""Stills: what is on the dashboard, of pictures in every format and of a moment of a video."""

import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cli import run_command_line
from edge.recordings.annotation.drawing.canvas import PALETTE, UNREAD
from edge.recordings.annotation.drawing.dashboard import ROWS_MAX, dashboard
from edge.recordings.annotation.overlay import FrameOverlay
from edge.recordings.annotation.still import read_colour, still_of_video
from edge.vision.golden import GOLDEN_FACE
from edge.vision.sources.images import read_grey
from edge.vision.sources.video import DEMO_CLIP
from tests.support.videos import FixedOverlays, gradient, happy_face, make_video, unread_face

PURPOSE = ("--purpose", "medical")


def run(*arguments: object) -> int:
    return run_command_line(["annotate", "--still", *map(str, arguments)])


def has_colour(board: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(board.astype(int) - colour).max(axis=2) <= 2).any())


def test_dashboard_shows_a_row_for_each_face() -> None:
    picture = gradient(640, 480)
    faces = [happy_face(1, (50, 50, 100, 120)), unread_face(2, (300, 50, 90, 100), "blurred")]

    one, two = (dashboard(picture, faces[:count], "a.png", "") for count in (1, 2))

    assert one.shape[1] == two.shape[1] == 1500
    assert two.shape[0] == one.shape[0] + 440
    assert has_colour(one, PALETTE[0])
    assert has_colour(two, UNREAD)


def test_dashboard_shows_no_bar_for_what_the_network_does_not_know() -> None:
    face = happy_face(1, (50, 50, 100, 120))
    assert face.emotion is not None
    known = face.emotion.probabilities
    boards = [
        dashboard(
            gradient(640, 480),
            [replace(face, emotion=replace(face.emotion, probabilities=(*known[:7], last)))],
            "a.png",
            "",
        )
        for last in (None, 0.0)
    ]
    assert boards[0].shape == boards[1].shape
    assert (boards[0] != boards[1]).any()  # a dash in place of 0.00


def test_dashboard_of_a_crowd_shows_the_largest_and_says_so() -> None:
    faces = [happy_face(n + 1, (30.0 * n, 10, 20 + n, 30 + n)) for n in range(ROWS_MAX + 4)]

    board = dashboard(gradient(640, 480), faces, "a.png", "")
    most = dashboard(gradient(640, 480), faces[:ROWS_MAX], "a.png", "")

    assert board.shape[0] == most.shape[0] + 32  # the line that says so


@pytest.mark.parametrize(
    "box", [(-50, -40, 100, 120), (600, 400, 200, 200), (10, 10, 0.5, 0.2), (0, 0, 5000, 5000)]
)
def test_boxes_beyond_the_picture_are_drawn(box: tuple[float, float, float, float]) -> None:
    assert dashboard(gradient(640, 480), [happy_face(1, box)], "a.png", "").size


@pytest.mark.parametrize("title", ["Žluťoučký kůň.png", "測試.png", "a\nb\x07.png", "x" * 500, ""])
def test_titles_with_any_letters_are_drawn(title: str) -> None:
    assert dashboard(gradient(64, 48), [], title, title).size


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG"])
def test_still_of_a_picture(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out{suffix}"

    assert run(GOLDEN_FACE, out, *PURPOSE) == 0

    board = cv2.imread(str(out))
    assert board is not None
    assert board.shape[1] == 1500
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_picture_without_a_face_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture, out = tmp_path / "in.png", tmp_path / "out.png"
    cv2.imwrite(str(picture), gradient(320, 240))

    assert run(picture, out, *PURPOSE) == 0

    assert capsys.readouterr().err.endswith("1 still, 0 faces\n")
    assert cv2.imread(str(out)) is not None


def test_folder_gives_a_still_of_each_picture(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    face = cv2.imread(str(GOLDEN_FACE))
    for name in ("a.png", "b.jpg", "b.bmp", "notes.txt"):
        if name == "notes.txt":
            (folder / name).write_text("no picture")
        else:
            cv2.imwrite(str(folder / name), face)
    (folder / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")

    assert run(folder, out, *PURPOSE) == 1  # one could not be read

    lines = capsys.readouterr().err.splitlines()
    assert any("damaged.png" in line for line in lines)
    assert lines[-1].endswith("3 stills, 3 faces; 1 picture could not be read")
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.bmp.png", "b.jpg.png"]
    assert run(folder, out, *PURPOSE) == 78  # they exist
    assert "--force" in capsys.readouterr().err
    (folder / "damaged.png").unlink()
    assert run(folder, out, *PURPOSE, "--force") == 0


def test_where_no_picture_can_be_read_the_input_is_wrong(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It had the exit code of a failure that another try may mend."""
    (folder := tmp_path / "in").mkdir()
    (folder / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (folder / "text.png").write_text("no picture")
    assert run(folder, tmp_path / "out", *PURPOSE) == 78
    assert "0 stills, 0 faces; 2 pictures could not be read" in capsys.readouterr().err


def test_codes_are_those_of_the_picture(tmp_path: Path) -> None:
    codes, plain, named = (tmp_path / name for name in ("codes.csv", "plain.png", "named.png"))
    codes.write_text(f"track,participant,file\n1,P07,{GOLDEN_FACE.name}\n1,P08,other.png\n")

    assert run(GOLDEN_FACE, plain, *PURPOSE) == 0
    assert run(GOLDEN_FACE, named, *PURPOSE, "--participants", codes) == 0

    assert (cv2.imread(str(plain)) != cv2.imread(str(named))).any()


def test_still_of_a_moment_of_a_video(tmp_path: Path) -> None:
    recording = make_video(tmp_path / "in.mp4", [gradient(320, 240, n) for n in range(50)])
    asked: list[tuple[int, int | None]] = []

    class Asked(FixedOverlays):
        by_index = False

        def frames(self, start_ns: int, end_ns: int | None, *_: object) -> object:  # type: ignore[override]
            asked.append((start_ns, end_ns))
            for frame in super().frames(start_ns, end_ns):
                assert isinstance(frame, FrameOverlay)
                if end_ns is not None and frame.media_ns < end_ns:
                    yield frame

    overlays = Asked([happy_face(1, (100, 60, 80, 90))], (320, 240))

    board, faces = still_of_video(recording, 1_010_000_000, overlays, {})

    assert faces == 1
    assert asked == [(0, 1_000_500_001)]
    assert has_colour(board, PALETTE[0])


def test_still_of_the_clip_is_the_same_each_time(tmp_path: Path) -> None:
    first, second = tmp_path / "first.png", tmp_path / "second.png"

    for out in (first, second):
        assert run(DEMO_CLIP, out, *PURPOSE, "--at", "1s") == 0

    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("clip", "out.png"), "expected --at"),
        (("clip", "out.mp4", "--at", "1s"), ".png"),
        (("clip", "out.png", "--at", "13s"), "the recording has 12.000 s"),
        (("clip", "out.png", "--at", "1s", "--start", "1s"), "no --start"),
        (("face", "out.png", "--at", "1s"), "no --from and --at"),
        (("face", "face", "--force"), "is the recording itself"),
        (("face", "out"), ".png"),
        (("empty", "out"), "no pictures in it"),
        (("text.png", "out.png"), "cannot be decoded"),
        (("missing.png", "out.png"), "no such file"),
        (("pictures", "pictures"), "another one"),
        (("pictures", "file"), "expected a folder"),
        (("pictures", "no/out"), "No such file or directory"),
    ],
)
def test_what_cannot_be_a_still_is_refused(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: tuple[str, ...],
    expected: str,
) -> None:
    for name in ("empty", "pictures"):
        (tmp_path / name).mkdir()
    shutil.copy(GOLDEN_FACE, tmp_path / "pictures" / "a.png")
    shutil.copy(GOLDEN_FACE, tmp_path / "face.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "file").write_text("")
    before = sorted(os.walk(tmp_path))
    named = {"clip": DEMO_CLIP, "face": tmp_path / "face.png"}
    paths = [named.get(name, tmp_path / name) for name in arguments[:2]]

    assert run(*paths, *arguments[2:], *PURPOSE) == 78

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert expected in lines[0]
    assert sorted(os.walk(tmp_path)) == before


def test_pictures_keep_their_colour_and_stand_upright(tmp_path: Path) -> None:
    picture = gradient(64, 48)
    colour, grey, deep = (tmp_path / name for name in ("colour.png", "grey.png", "deep.png"))
    cv2.imwrite(str(colour), picture)
    cv2.imwrite(str(grey), picture[:, :, 0])
    cv2.imwrite(str(deep), picture[:, :, 0].astype(np.uint16) * 16)  # 12 bits

    assert (read_colour(colour) == picture).all()
    assert (read_colour(grey) == picture[:, :, :1]).all()
    assert (read_colour(deep)[:, :, 0] == read_grey(deep)).all()


def test_picture_of_a_rotated_camera_stands_upright(tmp_path: Path) -> None:
    turned_by = cv2.rotate(cv2.imread(str(GOLDEN_FACE)), cv2.ROTATE_90_COUNTERCLOCKWISE)
    picture, out = tmp_path / "in.png", tmp_path / "out.png"
    cv2.imwrite(str(picture), turned_by)
    upright = tmp_path / "upright.png"
    assert run(GOLDEN_FACE, upright, *PURPOSE) == 0

    options = ("--set", "source.kind=images", "--set", "source.path=.")
    assert run(picture, out, *PURPOSE, *options, "--set", "source.rotate_deg=90") == 0

    faces = [cv2.imread(str(each))[80:470, 40:430] for each in (out, upright)]
    assert cv2.PSNR(*faces) > 30
