"""The reboot after exit code 75: only then, three times in 24 hours, counted over reboots."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.faults.discarding_device import DiscardingDevice
from tests.faults.loop_device import run

ROOT = Path(__file__).parents[1]
DROP_IN = ROOT / "systemd/affect-edge.service.d/reboot.conf"
SCRIPT = ROOT / "systemd/reboot-on-75"
DAY_S = 86_400


class Board:
    """Stops the service again and again; commands that a test cannot use are scripts.

    Attributes:
        times: the file that survives reboots.
        now_s: wall clock.
        kind: of the file system, as ``stat -f`` names it.
    """

    def __init__(self, tmp_path: Path) -> None:
        self._folder, self._log = tmp_path / "kept", tmp_path / "log"
        self._bin = tmp_path / "bin"
        self._bin.mkdir()
        self.times = self._folder / "times"
        self.now_s = 1_800_000_000
        self.kind = "ext2/ext3"
        self._command("systemctl", f'echo "$@" >>{self._log}')
        self._command("date", 'echo "$NOW"')
        self._command("stat", 'echo "$KIND"')
        # the folder of a test may lie in memory, where direct reads are refused
        self._command("dd", 'cat "${1#if=}"')
        self.said = ""

    def _command(self, name: str, text: str) -> None:
        (self._bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (self._bin / name).chmod(0o755)

    def stop(self, code: str = "exited", status: str = "75") -> bool:
        """Let the service end; return whether the board reboots."""
        before = self.reboots
        done = subprocess.run(
            [SCRIPT, self._folder], capture_output=True, text=True, check=True,
            env={"PATH": f"{self._bin}:{os.environ['PATH']}", "NOW": str(self.now_s),
                 "KIND": self.kind, "EXIT_CODE": code, "EXIT_STATUS": status},
        )  # fmt: skip
        self.said = done.stderr
        return self.reboots > before

    @property
    def reboots(self) -> int:
        """How often the board was told to reboot."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        assert set(lines) <= {"--no-block reboot"}
        return len(lines)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


def test_three_reboots_in_24_hours_and_then_none(board: Board) -> None:
    answers = []
    for _ in range(50):
        answers.append(board.stop())
        board.now_s += 1800
    assert [n for n, reboots in enumerate(answers) if reboots] == [0, 1, 2, 48, 49]
    assert "number 3 of 3 in 24 hours" in board.said
    board.now_s += DAY_S
    assert board.stop()
    assert len(board.times.read_text().splitlines()) == 1, "old times are forgotten"


@pytest.mark.parametrize(
    ("code", "status"),
    [("exited", "0"), ("exited", "1"), ("exited", "78"), ("killed", "KILL"), ("dumped", "75"),
     ("", "")],
)  # fmt: skip
def test_nothing_else_reboots(board: Board, code: str, status: str) -> None:
    assert not board.stop(code, status)
    assert not board.times.exists()
    assert board.said == ""


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs", "overlayfs"])
def test_where_the_count_would_be_lost_nothing_reboots(board: Board, kind: str) -> None:
    board.kind = kind
    assert not board.stop()
    assert "does not survive" in board.said


def test_a_clock_that_starts_anew_at_each_boot_ends_the_reboots(board: Board) -> None:
    board.now_s = 100
    assert [board.stop() for _ in range(6)] == [True] * 3 + [False] * 3
    board.now_s = 50  # before the times in the file
    assert not board.stop()


@pytest.mark.parametrize("text", ["\x00\x00\n", "soon\n\n-5\n", "99999999999999999999\n" * 3])
def test_damaged_lines_count_as_reboots(board: Board, text: str) -> None:
    board.times.parent.mkdir()
    board.times.write_text(text)
    assert sum(board.stop() for _ in range(6)) <= 3


def test_a_file_that_cannot_be_written_prevents_the_reboot(board: Board, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("no folder")
    with pytest.raises(subprocess.CalledProcessError):  # the drop-in ignores it
        board.stop()
    assert board.reboots == 0


def test_a_device_that_drops_the_count_prevents_the_reboot(tmp_path: Path) -> None:
    with DiscardingDevice(24) as disk:
        board = Board(tmp_path)
        (tmp_path / "bin/dd").unlink()
        (tmp_path / "kept").symlink_to(disk.mount)
        assert board.stop()
        disk.discards = True
        assert not board.stop()
        assert "cannot be kept on its device" in board.said
        run("sync")


def test_the_drop_in_runs_the_script_as_root_and_ignores_its_failure() -> None:
    (command,) = re.findall(r"(?m)^ExecStopPost=(.*)$", DROP_IN.read_text())
    assert command == "-+/usr/local/lib/affect-edge/reboot-on-75 /var/lib/affect-edge-reboots"
    assert os.access(SCRIPT, os.X_OK)
    page = (ROOT / "docs/operation.md").read_text()
    assert "/usr/local/lib/affect-edge/reboot-on-75" in page
    assert "/etc/systemd/system/affect-edge.service.d/reboot.conf" in page
