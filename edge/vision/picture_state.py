"""Follows what the pictures of a source show: something, nothing, or always the same."""

from typing import Final

from edge.config import Config, is_file
from edge.protocol.events import PictureStateChanged
from edge.vision.picture import Look, PictureMeasures, Repeats, look_of, measure
from edge.vision.picture_rules import CAUSES, NOTHING_S, PICTURES_MIN, RULES, SOMETHING_S, STILL_S
from edge.vision.values import Frame
from edge.vocabulary import PictureState

_MEASURE_EVERY_NS: Final = 500_000_000


class PictureWatch:
    """Follows the pictures of one source, over re-openings, too. For the capture thread.

    Times are those of the pictures (``sensor_ns``): a file gives the same at any speed.

    Args:
        config: of the daemon.
        state: what the hub knows already.

    Attributes:
        state: of the picture now.
    """

    def __init__(self, config: Config, state: PictureState = "normal") -> None:
        rules = RULES[config.source.kind]
        self._repeated_state = rules.repeated
        self._repeated_s = STILL_S if is_file(config.source) else config.limits.stall_s
        self._repeats = Repeats(encoded=rules.encoded)
        self._measures: PictureMeasures | None = None
        self._look: Look = state if state in ("dark", "flat") else "normal"
        self._measured_ns: int | None = None
        self._nothing, self._something, self._repeated = _Span(), _Span(), _Span()
        self.state = state

    def is_repeat(self, frame: Frame) -> bool:
        """Return whether the next picture is a repeat; to be called once for each, in order.

        Costs some microseconds while pictures differ.
        """
        return self._repeats.update(frame.luma)

    def update(self, frame: Frame, *, repeats: bool | None = None) -> PictureStateChanged | None:
        """Take in the next picture; return the change of the state that it makes, if any.

        Twice a second this costs most of a millisecond. A picture that is no repeat does not make
        the state ``frozen`` or ``still``.

        Args:
            frame: of the picture.
            repeats: what ``is_repeat`` said of it; None: it was not asked.
        """
        if repeats is None:
            repeats = self.is_repeat(frame)
        if self._is_due(frame.sensor_ns):
            self._measures = measure(frame.luma)
            self._look = look_of(self._measures, self._look)
        shows = self._look == "normal"
        self._nothing.update(frame, holds=not shows)
        self._something.update(frame, holds=shows)
        self._repeated.update(frame, holds=repeats and shows)
        if self._nothing.lasts(NOTHING_S, PICTURES_MIN):
            return self._change(self._look, self._nothing)
        if self._repeated.lasts(self._repeated_s, PICTURES_MIN):
            return self._change(self._repeated_state, self._repeated)
        if self.state in ("frozen", "still") and not repeats:
            return self._change("normal", _Span(frame))
        if self.state in ("dark", "flat") and self._something.lasts(SOMETHING_S, 1):
            return self._change("normal", self._something)
        return None

    def _is_due(self, now_ns: int) -> bool:
        last_ns = self._measured_ns
        if last_ns is not None and 0 <= now_ns - last_ns < _MEASURE_EVERY_NS:
            return False
        self._measured_ns = now_ns
        return True

    def _change(self, state: PictureState, span: "_Span") -> PictureStateChanged | None:
        if state == self.state:
            return None
        self.state = state
        measures = self._measures
        reason = ""
        if state != "normal":
            reason = f"{state} for {span.seconds:.1f} s: {CAUSES[state]}"
        return PictureStateChanged(
            state=state,
            reason=reason,
            index=span.first_index,
            sensor_ns=span.first_ns,
            brightness=None if measures is None else round(measures.brightness, 4),
            brightest=None if measures is None else round(measures.brightest, 4),
            contrast=None if measures is None else round(measures.contrast, 4),
        )


class _Span:
    """For how long something has been so without a break, by the pictures' own times."""

    def __init__(self, first: Frame | None = None) -> None:
        self.first_index = self.first_ns = self._last_ns = self._pictures = 0
        if first is not None:
            self.update(first, holds=True)

    def update(self, frame: Frame, *, holds: bool) -> None:
        """Take in whether it is so in the next picture."""
        if not holds:
            self._pictures = 0
            return
        if self._pictures == 0:
            self.first_index, self.first_ns = frame.index, frame.sensor_ns
        self._pictures += 1
        self._last_ns = frame.sensor_ns

    @property
    def seconds(self) -> float:
        """From the first of these pictures to the last."""
        return (self._last_ns - self.first_ns) / 1e9

    def lasts(self, seconds: float, pictures: int) -> bool:
        """Return whether it has been so for that long, and in that many pictures."""
        return self._pictures >= pictures and self.seconds >= seconds
