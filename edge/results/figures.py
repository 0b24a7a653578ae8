"""What all figures share: style, colours, the time axis, and files with the same bytes each time.

Figures are drawn without pyplot and without a user's own style, so that they depend on the data
and on the version of matplotlib alone.
"""

import functools
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from edge.errors import ConfigError
from edge.vocabulary import ExpressionName

WIDTH_IN: Final = 7.2
"""Width of a figure: a page of A4 between its margins, or two columns of a journal."""

DPI: Final = 200

VALENCE: Final = "#0072B2"
AROUSAL: Final = "#D55E00"
INK: Final = "#222222"
PALE: Final = "#8a8a8a"
NOT_IN_VIEW: Final = "#efefef"

EXPRESSION_COLOURS: Final[dict[ExpressionName, str]] = {
    "neutral": "#a9a9a9",
    "happy": "#F0E442",
    "sad": "#0072B2",
    "surprise": "#56B4E9",
    "fear": "#CC79A7",
    "disgust": "#009E73",
    "anger": "#D55E00",
    "contempt": "#332288",
}
"""Told apart with colour-blind eyes: Okabe and Ito (2008), with grey and indigo."""

_STYLE: Final[dict[str, Any]] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.6,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.1,
    "hatch.linewidth": 0.4,
    "figure.dpi": 100,
    "svg.hashsalt": "affect-edge",
    "svg.fonttype": "path",
}

Figure = Any
"""A figure of matplotlib, which is loaded only when one is drawn."""

Axes = Any


def require_matplotlib() -> Any:
    """Return matplotlib.

    Raises:
        ConfigError: it is not installed.
    """
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of its fonts at first use
    try:
        import matplotlib  # noqa: PLC0415
        import matplotlib.figure  # noqa: PLC0415
        import matplotlib.patheffects  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "plots need the package matplotlib: pip install 'affect-edge[recordings]'"
        ) from error
    return matplotlib


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style of this program inside a ``with`` block.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    matplotlib = require_matplotlib()
    defaults = {
        key: value
        for key, value in dict.items(matplotlib.rcParamsDefault)
        if not key.startswith(("backend", "webagg", "tk.", "macosx"))
    }
    with matplotlib.rc_context({**defaults, **_STYLE}):
        yield


def new_figure(height_in: float) -> Figure:
    """Return an empty figure; call it inside ``styled``."""
    figure = require_matplotlib().figure.Figure
    return figure(figsize=(WIDTH_IN, height_in), layout="constrained", facecolor="white")


def as_png(figure: Figure) -> bytes:
    """Return a figure as PNG, the same bytes each time; call it inside ``styled``."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()


def as_svg(figure: Figure) -> bytes:
    """Return a figure as SVG, the same bytes each time; call it inside ``styled``."""
    file = io.BytesIO()
    figure.savefig(
        file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    return file.getvalue()


def plain(text: str) -> str:
    """Return a person's text for a figure: no formulas, and ``□`` for what the font lacks."""
    known = _characters()
    shown = "".join(each if ord(each) in known else "□" for each in " ".join(text.split()))
    return shown.replace("$", r"\$")


@functools.cache
def _characters() -> frozenset[int]:
    matplotlib = require_matplotlib()
    path = matplotlib.font_manager.findfont(_STYLE["font.family"])
    return frozenset(matplotlib.ft2font.FT2Font(path).get_charmap())


def has_hours(end_s: float) -> bool:
    """Return whether times on an axis up to ``end_s`` are written with hours, all of them."""
    return end_s >= 3600


def clock_text(seconds: float, *, step_s: float = 1.0, hours: bool = False) -> str:
    """Return a time on the axis: ``1:30`` (minutes and seconds) or ``2:05:00``.

    Args:
        seconds: of the time.
        step_s: below 1 s, tenths are written, too.
        hours: write hours also where there are none: beside ``1:00:00``, ``10:00`` would be read as
            ten hours.
    """
    sign, tenths = ("-" if seconds < 0 else ""), round(abs(seconds) * 10)
    whole, tenth = divmod(tenths, 10)
    minutes, second = divmod(whole, 60)
    hour, minute = divmod(minutes, 60)
    fraction = f".{tenth}" if step_s < 1 else ""
    head = f"{hour}:{minute:02}" if hour or hours else f"{minute}"
    return f"{sign}{head}:{second:02}{fraction}"


def set_time_axis(axes: Axes, start_s: float, end_s: float) -> None:
    """Give the lowest panel of a figure its time axis."""
    ticker = require_matplotlib().ticker
    end_s = max(end_s, start_s + 1e-3)
    hours = has_hours(end_s)
    span = end_s - start_s
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400,
             21600, 43200, 86400)  # fmt: skip
    step = next((each for each in steps if span / each <= 9), span / 8)
    axes.set_xlim(start_s, end_s)
    axes.xaxis.set_major_locator(ticker.MultipleLocator(step))
    axes.xaxis.set_major_formatter(
        ticker.FuncFormatter(lambda value, _at: clock_text(value, step_s=step, hours=hours))
    )
    unit = "hours:minutes:seconds" if hours else "minutes:seconds"
    axes.set_xlabel(f"Time from the start ({unit})")
