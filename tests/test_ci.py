"""The report of `.ci/run`, with programs in place of make."""

import subprocess
from pathlib import Path

from tests.support.daemons import ROOT

MAKE = """#!/bin/sh
case $1 in
check) echo "All checks passed!" ;;
test)
    echo "SKIPPED [1] tests/test_a.py:3: no camera here"
    echo "12 passed, 1 skipped in 3.20s"
    echo "3 passed in 0.20s" ;;
*)
    echo "1 failed, 2 passed in 9.00s"
    exit 2 ;;
esac
"""


def run(folder: Path, *stages: str) -> "subprocess.CompletedProcess[str]":
    """Run stages as a user who may not install packages."""
    for name, text in {"make": MAKE, "id": "#!/bin/sh\necho 1000\n"}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "TMPDIR": str(folder)}
    command = [ROOT / ".ci" / "run", *stages]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_end_shows_each_stage_and_each_skip(tmp_path: Path) -> None:
    done = run(tmp_path, "check", "test")
    assert done.returncode == 0, done.stderr
    *_, header, check, test, total = done.stdout.splitlines()
    assert header.split() == ["stage", "seconds", "passed", "skipped", "outcome"]
    assert check.split()[0::2] == ["check", "0", "passed"]
    assert test.split()[2:] == ["15", "1", "passed"]
    assert total.split()[::2] == ["total", "passed"]
    assert "test: SKIPPED [1] tests/test_a.py:3: no camera here" in done.stdout


def test_a_failed_stage_ends_the_run_and_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "test-export", "test")
    assert done.returncode == 2
    *_, stage, total = done.stdout.splitlines()
    assert stage.split()[2:] == ["2", "0", "FAILED"]
    assert total.endswith("FAILED in test-export")
    assert "== test ==" not in done.stdout
