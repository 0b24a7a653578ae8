"""CSV files that people bring: marks and other sensors, as spreadsheets and loggers write them.

Comma, semicolon and tab are accepted as separators, and a decimal comma where the separator is
another character. The first line names the columns.
"""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge.errors import ConfigError
from edge.files.regular import open_regular

_SEPARATORS: Final = ",;\t"
_CODE: Final = re.compile(r"[+-]?0[0-9]")
_WHOLE: Final = re.compile(r"[+-]?[0-9]+")
_INT64: Final = (-(2**63), 2**63 - 1)


@dataclass(frozen=True, slots=True)
class UserTable:
    """A table of a user.

    Attributes:
        path: of the file.
        columns: their names, without spaces around them.
        rows: cells of each row, as many as columns, without spaces around them.
        lines: number of each row's line in the file, from 1.
        has_decimal_comma: whether ``1,5`` is a number.
    """

    path: Path
    columns: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]
    has_decimal_comma: bool

    def column(self, name: str, option: str) -> int:
        """Return the place of a column.

        Args:
            name: of the column.
            option: that named it, for the error message.

        Raises:
            ConfigError: there is no such column, or two.
        """
        count = self.columns.count(name)
        if count == 1:
            return self.columns.index(name)
        has = ", ".join(self.columns)
        problem = "has no column" if not count else "has several columns"
        raise ConfigError(f"{option}: {self.path} {problem} {name!r}; it has: {has}")

    def number(self, cell: str) -> float:
        """Return a cell as a number.

        Raises:
            ValueError: it is none, or not finite.
        """
        return number(cell.replace(",", ".") if self.has_decimal_comma else cell)


def number(text: str) -> float:
    """Return a text as a number.

    Raises:
        ValueError: it is none, or not finite.
    """
    if "_" in text or not text.isascii():  # Python alone reads 1_000, and digits of any script
        raise ValueError("no number")
    value = float(text)
    if not abs(value) < float("inf"):
        raise ValueError("not finite")
    return value


def separator_of(text: str) -> str:
    """Return the separator of a CSV file by its first line: comma, semicolon or tab."""
    return max(_SEPARATORS, key=text.split("\n", 1)[0].count)


def typed(cells: Sequence[str], to_number: Callable[[str], float] = number) -> list[Any]:
    """Return a column as numbers if all its cells are, else as texts; None: empty.

    Whole numbers stay exact. Texts are columns with a code such as ``007``, whose zeros a number
    would lose, or with a whole number that neither 64 bits nor a float can hold.

    Args:
        cells: of the column.
        to_number: reads a number; raises ValueError if it is none.
    """
    texts = [cell or None for cell in cells]
    given = [cell for cell in texts if cell is not None]
    if any(_CODE.match(cell) for cell in given):
        return texts
    try:
        numbers = [None if cell is None else to_number(cell) for cell in texts]
    except ValueError:
        return texts
    wholes = {cell: int(cell) for cell in given if _WHOLE.fullmatch(cell)}
    if len(wholes) == len(set(given)) and all(
        _INT64[0] <= each <= _INT64[1] for each in wholes.values()
    ):
        return [None if cell is None else wholes[cell] for cell in texts]
    if any(int(float(each)) != each for each in wholes.values()):
        return texts
    return numbers


def read_user_csv(path: Path, option: str) -> UserTable:
    """Read a table; empty lines are left out.

    Args:
        path: of the file.
        option: that named it, such as ``--marks``, for error messages.

    Raises:
        ConfigError: it cannot be read, is no text in UTF-8, or a row has another number of cells
            than the first line.
    """
    try:
        with open(path, encoding="utf-8-sig", opener=open_regular) as file:
            text = file.read()
    except OSError as error:
        raise ConfigError(
            f"{option} {path}: cannot be read: {error.strerror}; expected a CSV file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{option} {path}: byte {error.start} is no UTF-8; save it as CSV in UTF-8"
        ) from error
    separator = separator_of(text)
    columns: tuple[str, ...] = ()
    rows, lines = [], []
    # str.splitlines would end lines at characters such as U+2028, which are text
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    begun = 0
    try:
        for row in reader:
            begun = reader.line_num
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not columns:
                columns = tuple(cells)
                continue
            if len(cells) != len(columns):
                raise ConfigError(
                    f"{option} {path}: line {reader.line_num} has {len(cells)} cells, the first"
                    f" line {len(columns)}; separate columns by one of comma, semicolon, tab"
                )
            rows.append(cells)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise ConfigError(
            f"{option} {path}: line {begun + 1}: {error}; a quote ends where the cell ends, and a"
            ' quote within it is written twice, as in "the ""blue"" mask"'
        ) from error
    if not columns:
        raise ConfigError(f"{option} {path}: is empty; expected a line of column names")
    return UserTable(path, columns, rows, lines, separator != ",")
