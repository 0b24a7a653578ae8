"""CSV files that people bring: marks and other sensors, as spreadsheets and loggers write them.

Comma, semicolon and tab are accepted as separators, and a decimal comma where the separator is
another character. The first line names the columns.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.errors import ConfigError

_SEPARATORS: Final = ",;\t"


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
        text = cell.replace(",", ".") if self.has_decimal_comma else cell
        if "_" in text or not text.isascii():  # Python alone reads 1_000, and digits of any script
            raise ValueError("no number")
        value = float(text)
        if not abs(value) < float("inf"):
            raise ValueError("not finite")
        return value


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
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(
            f"{option} {path}: cannot be read: {error.strerror}; expected a CSV file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{option} {path}: byte {error.start} is no UTF-8; save it as CSV in UTF-8"
        ) from error
    first = text.split("\n", 1)[0]
    separator = max(_SEPARATORS, key=first.count)
    columns: tuple[str, ...] = ()
    rows, lines = [], []
    # str.splitlines would end lines at characters such as U+2028, which are text
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        for row in reader:
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
        raise ConfigError(f"{option} {path}: line {reader.line_num}: {error}") from error
    if not columns:
        raise ConfigError(f"{option} {path}: is empty; expected a line of column names")
    return UserTable(path, columns, rows, lines, separator != ",")
