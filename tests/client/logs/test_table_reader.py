"""Rows of tables as they lie on the disk: torn lines, open quotes, names of Parquet files."""

from pathlib import Path

import pytest

from edge.client.logs import opened_log
from edge.client.logs.erasing import erase_session
from edge.client.logs.table_reader import csv_rows, parquet_batches, parquet_files
from edge.errors import ConfigError
from tests.support import erasable
from tests.support.logs import received


def table(folder: Path, content: str) -> Path:
    path = folder / "table.csv"
    path.write_text(content, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('a,b,c\n1,"x, ""y""",2\n3,,4\n', [(2, ["2", 'x, "y"']), (3, ["4", ""])]),
        ("a,b,c\r\n1,x,2\r\n", [(2, ["2", "x"])]),
        ("a,b,c\n1,x\u2028y\0,2\n", [(2, ["2", "x\u2028y"])]),
        ("a,b,c\n1,x,2\n3,x", [(2, ["2", "x"])]),
        ('a,b,c\n1,x,2\n3,"half', [(2, ["2", "x"])]),
        ('a,b,c\n1,x,2\n3,x,"half', [(2, ["2", "x"])]),
        ("a,b,c\n", []),
    ],
)
def test_each_line_is_a_row(
    tmp_path: Path, content: str, expected: list[tuple[int, list[str]]]
) -> None:
    assert list(csv_rows(table(tmp_path, content), ["c", "b"])) == expected


@pytest.mark.parametrize("torn", ['3,"half', '3,x,"half', "3", ""])
def test_a_torn_line_swallows_no_others(tmp_path: Path, torn: str) -> None:
    path = table(tmp_path, f"a,b,c\n1,x,2\n{torn}\n5,x,6\n7,x,8\n")
    with pytest.raises(
        ConfigError, match=r"table.csv: line 3 is torn: it has not 3 cells"
    ) as raised:
        list(csv_rows(path, ["c"]))
    assert "\n" not in str(raised.value)


def test_files_of_an_erased_session_stand_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    with opened_log(path) as log:
        log.cursors()
        for message in erasable.record():
            log.write(received(message))
    erase_session(str(path), "morning", lambda _line: None)
    files = parquet_files(path / "events")
    assert any(each.name.endswith(".erased.parquet") for each in files)
    (path / "events" / ".s-1-0.parquet.new").touch()
    assert parquet_files(path / "events") == files
    found = [
        (epoch, seq)
        for each in files
        for batch in parquet_batches(each, ["epoch", "seq", "device"], rows=2)
        for epoch, seq in zip(batch["epoch"].to_pylist(), batch["seq"].to_pylist(), strict=True)
    ]
    assert len(found) > 3
    firsts = [next(parquet_batches(each, ["epoch", "seq"], rows=1)) for each in files]
    places = [(each["epoch"][0].as_py(), each["seq"][0].as_py()) for each in firsts]
    assert places == sorted(places)
