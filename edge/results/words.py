"""How a report writes figures: seconds, shares, means; and the frame of a section."""

from typing import Final

from edge.results.markup import Child, Html, tag
from edge.results.summary import Moments

DASH: Final = "–"
"""Stands for what is not known."""

_LEAST_S: Final = 0.1


def section(heading: str, *children: Child) -> Html:
    """Return a section with its heading."""
    return tag("section", tag("h2", heading), *children)


def seconds_text(value: float) -> str:
    """Return seconds, with a tenth below ten minutes."""
    if 0 < value < _LEAST_S:
        return f"< {_LEAST_S}"
    return f"{value:.1f}" if value < 600 else f"{value:.0f}"


def duration_text(seconds: float) -> str:
    """Return a length of time in words."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours} h {minute} min" if hours else f"{minute} min {second} s"


def percent_text(part: float | None, total: float) -> str:
    """Return a share in percent, without its sign; None: it is not known."""
    return f"{part / total * 100:.1f}" if part is not None and total > 0 else DASH


def mean_text(moments: Moments) -> str:
    """Return mean and standard deviation."""
    if moments.mean is None or moments.sd is None:
        return DASH
    return f"{signed_text(moments.mean)}\u00a0±\u00a0{moments.sd:.2f}"


def signed_text(value: float | None) -> str:
    """Return a value of -1..1 with its sign; zero has none."""
    return (
        DASH
        if value is None
        else f"{value + 0.0:+.2f}".replace("+0.00", "0.00").replace("-0.00", "0.00")
    )
