"""What a process that holds pictures does not leave behind."""

import ctypes
import resource

import pytest

from edge.child import no_dumps
from edge.cli import run_command_line

PR_GET_DUMPABLE = 3


def allowance() -> tuple[int, int]:
    """Return the limit of a core dump, bytes, and whether the kernel may write one."""
    dumpable: int = ctypes.CDLL(None).prctl(PR_GET_DUMPABLE)
    return resource.getrlimit(resource.RLIMIT_CORE)[0], dumpable


def test_dumps_are_forbidden_meanwhile() -> None:
    before = allowance()
    with no_dumps():
        assert allowance() == (0, 0)
    assert allowance() == before


def test_annotate_holds_pictures_and_leaves_no_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        "edge.recordings.annotation.annotate_command.run_annotate",
        lambda _options: seen.append(allowance()) or 0,
    )
    assert run_command_line(["annotate", "a.mp4", "b.mp4"]) == 0
    assert seen == [(0, 0)]
