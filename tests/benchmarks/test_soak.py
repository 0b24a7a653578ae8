"""The figures of the soak: growth of the hub, what is counted in a log, and which limits count."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cli import main
from benchmarks.soak import growth, missed
from tests.support.soak_count import count_sqlite


@given(st.floats(-5, 5), st.floats(20, 200), st.integers(40, 3000))
def test_the_slope_of_a_line_is_found_without_uncertainty(
    slope: float, start_mb: float, seconds: int
) -> None:
    samples = [(100.0 + at_s, start_mb + slope * at_s / 3600, 30) for at_s in range(seconds)]
    found = growth(samples)
    assert found["rss_mb"]["slope_per_h"] == pytest.approx(slope, abs=0.01)
    assert found["rss_mb"]["uncertainty_per_h"] == pytest.approx(0, abs=0.01)
    assert found["open_files"] == {"first": 30, "last": 30, "max": 30}


def test_growth_in_the_warm_up_does_not_count() -> None:
    samples = [(float(at_s), min(60.0, 50 + at_s / 50), 30) for at_s in range(3600)]
    assert growth(samples)["rss_mb"]["slope_per_h"] == 0


def result(**changed: Any) -> dict[str, Any]:
    counted = {"stored": 1000, "missing": 0, "twice": 0, "gaps": []}
    return {
        "hours": 72.0,
        "rss_mb": {"first": 60.0, "last": 61.0, "slope_per_h": 0.4, "uncertainty_per_h": 0.1},
        "open_files": {"first": 30, "last": 30, "max": 40},
        "publish_ms": {"p50": 0.5, "p99": 4.0},
        "logs": {"log.sqlite": counted},
        "ended_by_themselves": [],
        **changed,
    }


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"rss_mb": {"first": 60.0, "last": 99.0, "slope_per_h": 0.7, "uncertainty_per_h": 0.1}},
         "+0.7 MB/h"),
        ({"open_files": {"first": 30, "last": 31, "max": 40}}, "31 at last"),
        ({"publish_ms": {"p50": 0.5, "p99": 51.0}}, "p99 51.0 ms"),
        ({"logs": {"a": {"missing": 1, "twice": 0, "gaps": []}}}, "a: 1 missing"),
        ({"logs": {"a": {"missing": 0, "twice": 2, "gaps": []}}}, "2 twice"),
        ({"logs": {"a": {"missing": 0, "twice": 0, "gaps": ["x"]}}}, "1 gaps"),
        ({"ended_by_themselves": ["exit code 1"]}, "1 processes ended"),
    ],
)  # fmt: skip
def test_each_missed_limit_is_named(changed: dict[str, Any], text: str) -> None:
    assert missed(result()) == []
    assert text in " ".join(missed(result(**changed)))


def test_a_short_run_is_not_measured_by_its_slope() -> None:
    rss = {"first": 60.0, "last": 61.0, "slope_per_h": 40.0, "uncertainty_per_h": 9.0}
    assert missed(result(hours=1.0, rss_mb=rss)) == []


def test_missing_and_repeated_messages_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    rows = [("s", 1, 0), ("s", 1, 2), ("s", 1, 2), ("s", 3, 0), ("s", 3, 1), ("s", 3, 2)]
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE messages (stream, epoch, seq)")
        database.execute("CREATE TABLE gaps (reason)")
        database.executemany("INSERT INTO messages VALUES (?, ?, ?)", rows)
        database.execute("INSERT INTO gaps VALUES ('trimmed')")
        database.commit()
    counted = count_sqlite(str(path), {("s", 1): 3, ("s", 3): 1}, {("s", 3): 1})
    # 1 and 3 of epoch 1; epoch 2, of which nobody has seen anything; what came after is left out
    assert counted.missing == 3
    assert (counted.stored, counted.twice, len(counted.gaps)) == (5, 1, 1)


def test_bad_options_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["soak", "--hours", "0"]) == 78
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--hours 0: expected more than 0" in error
