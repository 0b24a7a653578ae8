"""Writes what the long tests print into a report; loaded by ``make faults``.

``pytest -p tests.support.report --report FILE``: the conditions of the run, then each test with its
outcome, seconds and printed figures, in Markdown. The same figures end the output of the run.
"""

from pathlib import Path

import pytest

from benchmarks.board import OtherLoad, machine


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--report", type=Path, help="write the tests' figures into this file")


def pytest_configure(config: pytest.Config) -> None:
    target: Path | None = config.getoption("--report")
    if target is not None:
        try:
            target.touch()
        except OSError as error:  # before a run of hours, not after it
            raise pytest.UsageError(f"--report {target}: {error.strerror}") from error
    config.pluginmanager.register(Report(config.getoption("--report")))


class Report:
    """Collects the figures of one run.

    Args:
        path: of the report, written again after each test; None: only the output has the figures.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._conditions = machine()
        self._load = OtherLoad()
        self._lines: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that ended, and what it printed."""
        if report.when != "call" and report.outcome == "passed":
            return
        self._lines += [f"- {report.nodeid}: {report.outcome}, {report.duration:.0f} s", ""]
        printed = report.capstdout.strip()
        if report.skipped and isinstance(report.longrepr, tuple):
            printed = report.longrepr[2]  # the reason
        if printed:
            self._lines += [*(f"      {line}" for line in printed.splitlines()), ""]
        if self._path is not None:
            self._path.write_text("\n".join([*self._head(), *self._lines]), "utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """End the output with the figures."""
        terminalreporter.section("figures")
        for line in self._lines:
            terminalreporter.line(line)
        if self._path is not None:
            terminalreporter.line(f"report: {self._path}")

    def _head(self) -> list[str]:
        found = {**self._conditions, "other_cpu_percent": round(self._load.percent())}
        rows = [f"| {name} | {value} |" for name, value in found.items()]
        return ["# Tests of faults", "", "| condition | value |", "|---|---|", *rows, ""]
