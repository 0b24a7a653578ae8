"""The machine part of ``check``, on trees of files and with real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge import board as board_module
from edge.board import Board
from edge.check import check, machine
from edge.check.machine import machine_lines
from edge.config import Config, load_config
from edge.errors import ConfigError
from edge.hub.identity import StreamIdentity
from tests.support.daemons import ROOT
from tests.support.rights import AS_PLAIN_USER
from tests.test_board import CARD, CGROUP, FORBIDDEN, SWAPS, board

CPU = {"proc/cpuinfo": "processor\t: 0\n", "sys/devices/system/cpu/possible": "0-3\n"}
PLAIN = {**CPU, "proc/meminfo": "MemTotal: 927744 kB\n", "proc/swaps": SWAPS}


def lines(folder: Path, files: dict[str, str], *settings: str) -> dict[str, tuple[str, str]]:
    """Return level and text of each line by subject."""
    config = load_config(settings=settings, environment={})
    found = machine_lines(config, board(folder, files))
    return {text.partition(":")[0].partition(" ")[0]: (level, text) for level, text in found}


def test_a_board_without_findings(tmp_path: Path) -> None:
    assert lines(tmp_path, {**PLAIN, **CGROUP}) == {
        "processor": ("ok", "processor: /proc/cpuinfo and /sys/devices/system/cpu can be read"),
        "memory": ("ok", "memory: 906 MiB, of which the worker may take 362 MiB"),
        "swap": ("ok", "swap: none on storage"),
        "journal.path": (
            "ok",
            "journal.path: not set, so only the newest messages are kept, in memory; the service"
            " sets it (docs/logging.md, The journal)",
        ),
    }


def test_a_missing_memory_cgroup_is_reported(tmp_path: Path) -> None:
    level, text = lines(tmp_path, PLAIN)["memory"]
    assert level == "ok"
    assert "MemoryMax and MemorySwapMax of the service have no effect" in text


def test_a_worker_limit_above_the_boards_memory_is_a_warning(tmp_path: Path) -> None:
    level, text = lines(tmp_path, PLAIN, "limits.worker_rss_mb=1000")["memory"]
    assert (level, "lower limits.worker_rss_mb" in text) == ("WARN", True)


@pytest.mark.parametrize(
    ("files", "refused", "level", "words"),
    [
        ({"proc/swaps": SWAPS + CARD}, "limit is 64 KiB", "WARN", "cannot lock its memory (limit"),
        ({"proc/swaps": SWAPS + CARD}, "", "ok", "is not swapped"),
        ({"proc/swaps": SWAPS + CARD, **FORBIDDEN}, "limit is 64 KiB", "ok", "is not swapped"),
    ],
)
def test_swap(  # noqa: PLR0917
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], refused: str,
    level: str, words: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(machine, "_LOCK_MEMORY", f"answer({refused!r})")
    found, text = lines(tmp_path, {**PLAIN, **files})["swap"]
    assert found == level
    assert "/var/swap" in text
    assert words in text


def test_unknown_swap_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_LOCK_MEMORY", "import sys; sys.exit(1)")
    assert lines(tmp_path, {**PLAIN, "proc/swaps": SWAPS + CARD})["swap"][0] == "WARN"
    (tmp_path / "proc/swaps").unlink()
    assert lines(tmp_path, {})["swap"] == (
        "WARN",
        "swap: unknown, /proc/swaps cannot be read or has no table",
    )


def test_the_child_tries_to_lock_its_memory() -> None:
    code, (refused,) = machine._run(machine._LOCK_MEMORY)
    assert code == 0
    assert refused == "" or "limit of locked memory" in refused


@pytest.mark.parametrize("missing", sorted(CPU))
def test_a_processor_file_that_cannot_be_read(tmp_path: Path, missing: str) -> None:
    files = {name: text for name, text in PLAIN.items() if name != missing}
    level, text = lines(tmp_path, files)["processor"]
    assert (level, f"/{missing} cannot be read" in text) == ("WARN", True)


def test_check_ends_before_it_loads_a_runtime_that_would_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On ARM both runtimes end with SIGSEGV on an empty /proc/cpuinfo."""

    def load(*_: object) -> None:
        raise AssertionError("a runtime was about to be loaded")

    monkeypatch.setattr(machine, "is_arm", lambda: True)
    monkeypatch.setattr(check, "open_detector", load)
    bad = board(tmp_path, {**PLAIN, "proc/cpuinfo": ""})
    assert check.run_check(Config(), bad) == 78
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("ok     configuration: device edge, purpose demo, source demo")
    assert second.startswith("WRONG  processor: /proc/cpuinfo lists no processor")


def journal(path: Path | str) -> tuple[str, str]:
    return machine._journal(str(path))


def test_free_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def line(folder: Path) -> tuple[str, str]:
        return lines(tmp_path, PLAIN, f'journal.path="{folder}"')["journal.path"]

    level, text = line(tmp_path / "not" / "yet")
    assert (level, "the daemon will make the folder" in text) == ("ok", True)
    assert not (tmp_path / "not").exists()
    assert "MiB free" in line(tmp_path)[1]
    assert "will make" not in line(tmp_path)[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["proc", "sys"]
    real = os.statvfs(tmp_path)
    full = os.statvfs_result((*real[:4], 10, *real[5:10]))
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    level, text = line(tmp_path)
    assert (level, "expected at least 100" in text) == ("WARN", True)


def test_a_journal_folder_that_the_daemon_refuses_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon ends with exit code 78 on each of these."""
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "locked" / "lock").mkdir(parents=True)
    long = "x" * 300
    for path, words in (
        (tmp_path / "file", "file is not a folder"),
        (tmp_path / "file" / "below" / "it", "file is not a folder"),
        ("/proc/nope", "No such file"),
        ("/proc/nope/below", "No such file"),
        (tmp_path / long, "File name too long"),
        (tmp_path / "absent" / long / "below", "File name too long"),
        (tmp_path / "nowhere", "No such file"),
        (tmp_path / "nowhere" / "below", "No such file"),
        (tmp_path / "loop", "symbolic links"),
        (tmp_path / "locked", "Is a directory"),
    ):
        level, text = journal(path)
        assert (level, words in text) == ("WRONG", True), text
        assert "\n" not in text
        with pytest.raises(ConfigError, match=r"journal\.path"):
            StreamIdentity.open(str(path))
    monkeypatch.chdir(tmp_path)
    assert journal("here/and/now")[0] == "ok"
    (tmp_path / "locked" / "lock").rmdir()
    assert journal(tmp_path / "locked")[0] == "ok"


@pytest.mark.parametrize("inside", ["", "/below", "/below/it"])
@pytest.mark.parametrize("mode", [0o000, 0o444, 0o555])
def test_a_journal_folder_that_this_user_cannot_write_is_a_warning(
    tmp_path: Path, mode: int, inside: str
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(mode)
    program = (
        f"from edge.check.machine import _journal\nprint(*_journal('{closed}{inside}'), sep='|')"
    )
    done = subprocess.run(
        [*AS_PLAIN_USER, sys.executable, "-c", program],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    level, _, text = done.stdout.partition("|")
    assert (level, "this user cannot write there" in text) == ("WARN", True), done.stdout


def test_a_child_runs_nothing_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy", "libcamera", "edge", "inspect"):
        (tmp_path / f"{name}.py").write_text("print('foreign'); raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert machine._run("import edge.board; answer(edge.board.__file__)") == (
        0,
        [board_module.__file__],
    )
    code, answers = machine._run("import numpy, inspect; answer(numpy.__name__)")
    assert (code, answers) == (0, ["numpy"])
    grandchild = (
        "import subprocess, sys;"
        "python = [sys.executable, '-c', 'import numpy; print(1)'];"
        "answer(subprocess.check_output(python, text=True))"
    )
    assert machine._run(grandchild) == (0, ["1"])


PICAMERA = ("source.kind=picamera", "device.purpose=safety")


def test_the_camera_stack_is_imported_in_another_process(tmp_path: Path) -> None:
    """This machine has none; the line is the daemon's own error."""
    level, text = lines(tmp_path, PLAIN, *PICAMERA)["camera"]
    assert level == "WRONG"
    assert "picamera2" in text
    assert not {"picamera2", "libcamera"} & set(sys.modules)


@pytest.mark.parametrize(
    ("program", "level", "words"),
    [
        ("print('noise'); answer('0.3.31')", "ok", "picamera2 0.3.31 can be imported"),
        ("answer('old'); import sys; sys.exit(78)", "WRONG", "camera: old"),
        (
            "print('cut', end=''); answer('old'); print('more'); import sys; sys.exit(78)",
            "WRONG",
            "camera: old",
        ),
        (
            "import atexit; atexit.register(print, 'bye'); answer('0.3.31')",
            "ok",
            "picamera2 0.3.31 can be imported",
        ),
        ("import sys; sys.exit(0)", "WRONG", "ended with exit code 0 and without an answer"),
        ("import os; os._exit(0)", "WRONG", "ended with exit code 0 and without an answer"),
        ("import sys; sys.exit(78)", "WRONG", "importing picamera2 ended with exit code 78"),
        ("print('0.3.31')", "WRONG", "ended with exit code 0 and without an answer"),
        ("import os; os.kill(os.getpid(), 11)", "WRONG", "ended with SIGSEGV"),
        ("raise ValueError", "WRONG", "ended with exit code 1"),
        ("import time; time.sleep(60)", "WRONG", "ended with SIGKILL"),
    ],
)
def test_every_outcome_of_the_import_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, level: str, words: str
) -> None:
    monkeypatch.setattr(machine, "_LOAD_STACK", program)
    monkeypatch.setattr(machine, "_IMPORT_S", 2.0)
    found, text = lines(tmp_path, PLAIN, *PICAMERA)["camera"]
    assert found == level
    assert words in text
    assert "\n" not in text


FAKE_LIBCAMERA = ""
FAKE_PICAMERA2 = """
import json
from pathlib import Path

class MappedArray:
    def __init__(self, request, stream, write=True): ...

class Picamera2:
    def cancel_all_and_flush(self): ...

    @staticmethod
    def load_tuning_file(tuning_file, dir=None):
        path = Path(dir or "/nowhere", tuning_file)
        if not path.is_file():
            raise RuntimeError("Tuning file not found")
        return json.loads(path.read_text("utf-8"))
"""
FAKE_JOB = """
class Job:
    def get_result(self, timeout=None): ...
"""


@pytest.mark.parametrize(
    ("content", "level", "words"),
    [
        (json.dumps({"version": 2.0, "algorithms": []}), "ok", "can be loaded"),
        (json.dumps({"rpi.agc": {}}), "ok", "can be loaded"),
        ("{}", "WRONG", '"algorithms"'),
        (json.dumps({"name": "package", "version": 1}), "WRONG", '"algorithms"'),
        ("[]", "WRONG", "expected a tuning file"),
        ("{", "WRONG", "cannot be read as JSON"),
        ("[" * 100_000, "WRONG", "nested too deeply"),
        (None, "WRONG", "no such tuning file"),
    ],
    ids=["new", "old", "empty", "another JSON", "list", "cut off", "deep", "missing"],
)
def test_the_tuning_file_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, level: str, words: str
) -> None:
    (tmp_path / "picamera2").mkdir()
    for name, text in (
        ("libcamera.py", FAKE_LIBCAMERA),
        ("picamera2/__init__.py", FAKE_PICAMERA2),
        ("picamera2/job.py", FAKE_JOB),
    ):
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    tuning = tmp_path / "tuning.json"
    if content is not None:
        tuning.write_text(content)
    found, text = lines(tmp_path, PLAIN, *PICAMERA, f'source.tuning="{tuning}"')["camera"]
    assert found == level, text
    assert words in text
    assert str(tuning) in text


def test_a_process_that_ends_while_loading_the_tuning_file_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_LOAD_STACK", "answer('0.3.31'); import os; os._exit(0)")
    level, text = lines(tmp_path, PLAIN, *PICAMERA, 'source.tuning="a.json"')["camera"]
    assert level == "WRONG"
    assert "loading source.tuning 'a.json' ended with exit code 0" in text


def test_warnings_do_not_change_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "machine_lines", lambda *_: [("ok", "a: b"), ("WARN", "c: d")])
    assert check.run_check(Config(), Board()) == 0
    assert "WARN   c: d\n" in capsys.readouterr().out
    wrong = [("ok", "a: b"), ("WRONG", "c: d")]
    monkeypatch.setattr(check, "machine_lines", lambda *_: wrong)
    assert check.run_check(Config(), Board()) == 78
    assert "golden face" in capsys.readouterr().out  # the check continues


def test_the_first_line_names_the_source_without_its_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "machine_lines", lambda *_: [("WRONG", "a: b")])
    settings = (
        "device.name=chamber-1", "device.purpose=medical", "source.kind=stream",
        "source.url=rtsp://me:secret@192.168.7.20/1?token=secret",
    )  # fmt: skip
    check.run_check(load_config(settings=settings, environment={}), Board())
    first = capsys.readouterr().out.splitlines()[0]
    assert first == (
        "ok     configuration: device chamber-1, purpose medical,"
        " source stream rtsp://...@192.168.7.20/..."
    )
