"""Other sensors joined by time: newest sample before the frame, limits, clocks, wrong files."""

from pathlib import Path

import pandas
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import ConfigError
from edge.results import after_analysis, check_inputs
from edge.results.join import read_sensors, series_of
from edge.results.tables import read_table
from tests.support.recorded import START_NS, analysed, session, write_log


def sensor_file(folder: Path, text: str, name: str = "chamber.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_each_frame_has_the_newest_sample_before_it(tmp_path: Path) -> None:
    folder = analysed(tmp_path / "clip", session())
    pressure = sensor_file(
        tmp_path, "time_s;pressure (bar);valve\n0;1,0;open\n5;2,5;\n7;3,25;shut\n"
    )
    heart = sensor_file(tmp_path, "time_s,rate_bpm\n0.5,61\n1.5,62\n2.5,\n3.5,64\n", "heart.csv")
    frames = (folder / "frames.parquet").read_bytes()
    after_analysis(folder, joins=[pressure, heart])
    assert (folder / "frames.parquet").read_bytes() == frames
    rows = pandas.read_csv(folder / "joined.csv")
    columns = ["chamber_pressure (bar)", "chamber_valve", "heart_rate_bpm"]
    assert list(rows.columns[-3:]) == columns
    plain = pandas.read_csv(folder / "frames.csv")
    pandas.testing.assert_frame_equal(rows[plain.columns], plain)
    at = rows.set_index("time_s")[columns]
    assert at.loc[0.0].tolist()[:2] == [1.0, "open"]
    assert pandas.isna(at.loc[0.45, "heart_rate_bpm"])
    assert at.loc[0.5, "heart_rate_bpm"] == 61
    assert at.loc[4.95].tolist()[:2] == [1.0, "open"]
    assert at.loc[5.0, "chamber_pressure (bar)"] == 2.5
    assert pandas.isna(at.loc[5.0, "chamber_valve"])
    assert pandas.isna(at.loc[2.5, "heart_rate_bpm"])  # an empty cell is no earlier value
    assert at.loc[5.45, "heart_rate_bpm"] == 64  # 2 s old at most: twice the spacing of 1 s
    assert pandas.isna(at.loc[5.55, "heart_rate_bpm"])
    typed = pyarrow.parquet.read_table(folder / "joined.parquet")
    assert typed.num_rows == len(rows)
    assert str(typed.schema.field("heart_rate_bpm").type) == "int64"
    pandas.testing.assert_frame_equal(
        typed.select(columns).to_pandas(), rows[columns], check_dtype=False
    )
    first = (folder / "joined.parquet").read_bytes(), (folder / "joined.csv").read_bytes()
    after_analysis(folder, joins=[pressure, heart])
    assert ((folder / "joined.parquet").read_bytes(), (folder / "joined.csv").read_bytes()) == first


@pytest.mark.parametrize(
    "times",
    [
        ["2025-11-24T16:00:02+00:00", "2025-11-24T17:00:04.500+01:00"],
        ["2025-11-24T16:00:02Z", "2025-11-24 16:00:04.5+00:00"],
        [f"{START_NS / 1e9 + 2}", f"{START_NS / 1e9 + 4.5}"],
        [f"{START_NS // 1_000_000 + 2000}", f"{START_NS // 1_000_000 + 4500}"],
        [f"{START_NS // 1000 + 2_000_000}", f"{START_NS // 1000 + 4_500_000}"],
        [f"{START_NS + 2_000_000_000}", f"{START_NS + 4_500_000_000}"],
        ["2", "4.5"],
    ],
    ids=["iso", "iso with Z", "s", "ms", "us", "ns", "from the start"],
)
def test_times_of_any_kind_mean_the_same(tmp_path: Path, times: list[str]) -> None:
    path = sensor_file(tmp_path, "when,bar\n" + "".join(f"{each},2.8\n" for each in times))
    (sensor,) = read_sensors([path], "when")
    table = read_table(write_log(tmp_path / "log.sqlite", session()))
    (series,) = series_of([sensor], table)
    assert series.name == "chamber_bar"
    assert series.time_s == pytest.approx([2.0, 4.5], abs=1e-5)


def test_dates_need_a_recording_with_a_date(tmp_path: Path) -> None:
    messages = [
        each.model_copy(update={"time": each.time.model_copy(update={"clock": "media"})})
        if each.kind == "frame"
        else each
        for each in session()
    ]
    folder = analysed(tmp_path / "clip", messages)
    path = sensor_file(tmp_path, "time,bar\n2025-11-24T16:00:02Z,1\n")
    with pytest.raises(ConfigError, match=r"nothing says when .*clip was recorded: give"):
        after_analysis(folder, joins=[path])


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=30),
    st.lists(st.floats(-5, 120), min_size=1, max_size=30),
)
def test_the_newest_sample_is_never_later_nor_too_old(
    tmp_path_factory: pytest.TempPathFactory, times: list[float], at: list[float]
) -> None:
    import numpy as np

    from edge.results.join import Sensor

    ordered = np.sort(np.array(times))
    sensor = Sensor(Path("x"), False, ordered, {}, limit_s=3.0)
    for moment, found in zip(at, sensor.newest(np.array(at)), strict=True):
        earlier = [each for each in times if moment - 3.0 <= each <= moment]
        assert (found == -1) == (not earlier)
        if earlier:
            assert ordered[found] == max(earlier)


@pytest.mark.parametrize(
    ("text", "column", "error"),
    [
        ("seconds,bar\n1,2\n", None, r"which column is the time\? It has: seconds, bar; name one"),
        ("seconds,bar\n1,2\n", "time", "has no column 'time'; it has: seconds, bar"),
        ("t,t\n1,2\n", "t", "has several columns 't'"),
        ("time\n", None, "holds no samples"),
        ("time,bar\nsoon,1\n", None, "line 2: time is 'soon': no date and time; expected"),
        ("time,bar\n2025-11-24 16:00,1\n", None, "without an offset from UTC"),
        ("time,bar\n1,1\n\nx,1\n", None, "line 4: time is 'x': expected a number, as in the rows"),
        ("time,bar,bar\n1,2,3\n", None, r"--join: .*chamber.csv has several columns 'bar'"),
        ('time,valve\n1,"open\n2,shut\n3,open\n', None, r"chamber.csv: line 2: unexpected end"),
        ("time,age_s\n1,1\n", None, None),
    ],
)
def test_wrong_files_are_refused_in_one_line(
    tmp_path: Path, text: str, column: str | None, error: str | None
) -> None:
    path = sensor_file(tmp_path, text, "track.csv" if error is None else "chamber.csv")
    error = error or "the column 'track_age_s' would be there twice; rename the file"
    with pytest.raises(ConfigError, match=error) as raised:
        check_inputs(joins=[path], time_column=column)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "type_", "expected"),
    [
        (["9007199254740993", "-9223372036854775808"], "int64", None),
        (["+5", ""], "int64", [5, None]),
        (["007", "12"], "string", None),
        (["00.5", "1"], "string", None),
        (["0", "-0.5"], "double", [0.0, -0.5]),
        (["1_000", "2"], "string", None),
        (["\u0661", "2"], "string", None),
        (["9007199254740993", "0.5"], "string", None),
        (["9223372036854775808", "1"], "double", [2.0**63, 1.0]),
        (["9223372036854775809", "1"], "string", None),
        (["1" + "0" * 5000, "1"], "string", None),
    ],
)
def test_cells_keep_their_value(
    tmp_path: Path, given: list[str], type_: str, expected: list | None
) -> None:
    folder = analysed(tmp_path / "clip", session())
    rows = "".join(f"{at},{cell}\n" for at, cell in zip((0, 5), given, strict=True))
    after_analysis(folder, joins=[sensor_file(tmp_path, f"time_s,value\n{rows}")])
    typed = pyarrow.parquet.read_table(
        folder / "joined.parquet", columns=["time_s", "chamber_value"]
    )
    assert str(typed.schema.field("chamber_value").type) == type_
    values = dict(zip(*(column.to_pylist() for column in typed.columns), strict=True))
    if expected is None:
        expected = [int(each) for each in given] if type_ == "int64" else list(given)
    assert [values[0.0], values[5.0]] == expected
    csv_rows = pandas.read_csv(folder / "joined.csv", dtype=str, keep_default_na=False)
    cells = csv_rows.set_index("time_s")["chamber_value"]
    written = ["" if each is None else str(each) for each in expected]
    assert [cells["0.0"], cells["5.0"]] == written


def test_a_column_of_times_without_a_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="--time-column 'when': expected --join FILE, too"):
        check_inputs(time_column="when")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    paths = [sensor_file(folder, "time,bar\n1,1\n") for folder in (tmp_path, tmp_path / "other")]
    with pytest.raises(ConfigError, match="'chamber_bar' would be there twice"):
        check_inputs(joins=paths)


def test_peaks_stay_in_a_thinned_series(tmp_path: Path) -> None:
    values = ["1"] * 20_000
    values[12_345] = "9"
    rows = "".join(f"{at / 1000:.3f},{value}\n" for at, value in enumerate(values))
    (sensor,) = read_sensors([sensor_file(tmp_path, "time_s,bar\n" + rows)], None)
    table = read_table(write_log(tmp_path / "log.sqlite", session()))
    (series,) = series_of([sensor], table)
    assert len(series.values) < 3000
    assert series.values.max() == 9
    assert series.time_s[series.values.argmax()] == pytest.approx(12.345)
