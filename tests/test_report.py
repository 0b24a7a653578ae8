"""The report of the tests of faults, written by a run of pytest over three invented tests."""

import subprocess
import sys
from pathlib import Path

from tests.support.daemons import ROOT

TESTS = """
import pytest

def test_a():
    print("40 kills, 0 missing")

def test_b():
    print("12 missing")
    assert False

def test_c():
    pytest.skip("needs root")
"""


def test_the_report_has_conditions_and_the_figures_of_each_test(tmp_path: Path) -> None:
    (tmp_path / "test_invented.py").write_text(TESTS)
    report = tmp_path / "faults.md"
    options = ["-p", "tests.support.report", "--report", report, "--rootdir", tmp_path]
    command = [sys.executable, "-m", "pytest", *options, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1, done.stdout
    written = report.read_text()
    outcomes = ["test_a: passed", "test_b: failed", "test_c: skipped"]
    printed = ["40 kills, 0 missing", "12 missing", "needs root"]
    for expected in ["| commit | ", "| cores | ", "| date | ", *outcomes, *printed]:
        assert expected in written
    assert "40 kills, 0 missing" in done.stdout


def test_a_report_that_cannot_be_written_is_said_before_the_tests(tmp_path: Path) -> None:
    options = ["-p", "tests.support.report", "--report", tmp_path / "missing" / "faults.md"]
    command = [sys.executable, "-m", "pytest", *options, "--rootdir", tmp_path, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 4
    assert "faults.md: No such file or directory" in done.stderr
