"""Names that people give: codes of participants, names of seats and of sessions.

They stay text in every table and spreadsheet, unlike 007, 1-2, 1E5, MAR1 or NA.
"""

import re
from typing import Annotated, Final

from pydantic import AfterValidator

_FORM: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")

_MONTH = (
    "jan|january|januar|feb|february|februar|mar|march|mrz|apr|april|may|mai|jun|june|juni|jul|july"
    "|juli|aug|august|sep|sept|september|oct|okt|october|oktober|nov|november|dec|dez|december"
    "|dezember"
)
_DATE: Final = re.compile(rf"({_MONTH})-?\d{{1,4}}(-\d{{1,4}})?", re.IGNORECASE)
"""What spreadsheets turn into a date although it begins with a letter, such as MAR1."""

_NO_TEXT: Final = frozenset(
    ["t", "f", "true", "false", "na", "nan", "null", "none", "nil", "inf", "infinity"]
)
"""What pandas, R or a spreadsheet reads as a truth value, a number or nothing, in lower case."""


def _require_code(code: str) -> str:
    if not _FORM.fullmatch(code):
        raise ValueError(
            "expected a letter, then letters, digits, - and _, 32 in all at most, such as P07"
        )
    if _DATE.fullmatch(code):
        raise ValueError("a spreadsheet would turn it into a date; expected a code such as P07")
    if code.lower() in _NO_TEXT:
        raise ValueError("a table would not keep it as text; expected a code such as P07")
    return code


Code = Annotated[str, AfterValidator(_require_code)]
"""A pseudonym of a participant: a letter, then letters, digits, - and _, at most 32 in all. No
names: codes are recorded."""

SeatName = Code
"""Name of a seat in ``[zones]``, of the same form: it begins with a letter, unlike a track."""

SessionName = Code
"""Name of a session, of the same form."""
