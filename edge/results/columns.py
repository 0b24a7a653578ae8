"""Batches of rows as NumPy columns, sorted into a table."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge.client.logs.sessions import Session, Span
from edge.client.tidy import NONE
from edge.errors import ConfigError
from edge.results.batches import Batch, RecordedEvent
from edge.results.table import Floats, Integers, Subject, Table, TableEvent
from edge.vocabulary import EXPRESSIONS

Array = npt.NDArray[Any]
RunKey = tuple[str, int]
"""Stream and epoch."""

ROWS_MAX: Final = 6_000_000
"""Rows of faces that are read at most: three days of 20 frames a second and one face; 1 GB."""

GAP_MIN_S: Final = 1.0
GAP_SPACINGS: Final = 5.0
"""Frames that are further apart than both 1 s and five times the usual spacing have a gap between
them."""

_AFFECT: Final = ("valence", "arousal", "valence_relative", "arousal_relative")
_NUMBERS: Final[dict[str, Any]] = {
    "epoch": np.int32, "seq": np.int64, "unix_ns": np.int64, "track": np.int32,
    "time_s": np.float64, "frames_dropped": np.int32,
    "synchronized": np.bool_, **dict.fromkeys(_AFFECT, np.float64),
    "mesh_left_eye": np.float32, "perclos": np.float32, "blinks_per_min": np.float32,
}  # fmt: skip
_TEXTS: Final = ("device", "stream", "participant", "reasons", "stable_label")
_SIZE: Final[dict[str, Any]] = {"frame_width": np.int32, "frame_height": np.int32}
"""Of these and of ``_MET`` a table has the values that are met, not one for each row."""
_MET: Final = ("clock", "affect_source")
_SHARES: Final[dict[str, Any]] = {f"p_{name}": np.float32 for name in EXPRESSIONS}
"""Of these it has which are ever known."""

_OF_FRAME: Final = ("time_s", "unix_ns", "frames_dropped", "synchronized")


class Columns:
    """Collects batches of rows, then makes a table of them. Not thread-safe.

    Args:
        path: of the record, for error messages.
        device: the device whose rows are kept; None: the only one.
        spans: where the chosen session lies; None: the whole record.

    Attributes:
        read: rows read.
        kept: rows kept.
    """

    def __init__(self, path: Path, device: str | None, spans: list[Span] | None) -> None:
        self._path = path
        self._device = self._wanted = device
        self._spans = spans
        self._codes = {name: _Codes() for name in (*_TEXTS, *_MET)}
        self._parts: dict[str, list[Array]] = {name: [] for name in (*_NUMBERS, *_TEXTS)}
        self._met: dict[str, set[str | None]] = {name: set() for name in _MET}
        self._sizes: set[tuple[int, int]] = set()
        self._known: set[str] = set()  # expressions
        self.kept = 0
        self.read = 0

    def add(self, batch: Batch) -> None:
        """Add a batch: the rows of the chosen device and session.

        Raises:
            ConfigError: there are several devices and none is chosen, or too many rows.
        """
        numbers = _NUMBERS | _SIZE | _SHARES
        columns = {name: _numbers(batch[name], kind) for name, kind in numbers.items()}
        columns |= {name: codes.of(batch[name]) for name, codes in self._codes.items()}
        self.read += len(columns["seq"])
        keep = self._chosen(columns)
        if keep is not None:
            columns = {name: values[keep] for name, values in columns.items()}
        kept = columns["device"]
        if not len(kept):
            return
        self._check_device(kept)
        for name in _MET:
            self._met[name] |= self._codes[name].met(columns.pop(name))
        widths, heights = (columns.pop(name).tolist() for name in _SIZE)
        self._sizes |= set(zip(widths, heights, strict=True))
        for name in _SHARES:
            if np.isfinite(columns.pop(name)).any():
                self._known.add(name.removeprefix("p_"))
        for name, values in columns.items():
            self._parts[name].append(values)
        self.kept += len(kept)
        if self.kept > ROWS_MAX:
            raise ConfigError(
                f"{self._path}: has more than {ROWS_MAX} rows of faces, which is too long for one"
                " result: choose a part with --session NAME, or one file of a rotated log"
            )

    @property
    def devices(self) -> list[str]:
        """The devices met."""
        return sorted(text for text in self._codes["device"].texts if text)

    def _chosen(self, columns: dict[str, Array]) -> npt.NDArray[np.bool_] | None:
        """Return which rows are kept; None: all."""
        keep = None
        if self._wanted is not None:
            keep = columns["device"] == self._codes["device"].texts.get(self._wanted, -1)
        if self._spans is None:
            return keep
        epoch, seq = columns["epoch"], columns["seq"]
        within = np.zeros(len(seq), bool)
        for span in self._spans:
            (first_epoch, first), (last_epoch, last) = span.first, span.last
            after = (epoch > first_epoch) | ((epoch == first_epoch) & (seq >= first))
            before = (epoch < last_epoch) | ((epoch == last_epoch) & (seq <= last))
            stream = self._codes["stream"].texts.get(span.stream, -1)
            within |= (columns["stream"] == stream) & after & before
        return within if keep is None else keep & within

    def _check_device(self, kept: Array) -> None:
        """Note the only device.

        Raises:
            ConfigError: there is another one, and none was chosen.
        """
        met = sorted(filter(None, {self._device, *self._codes["device"].met(kept)}))
        if len(met) > 1:
            raise ConfigError(
                f"{self._path}: holds the records of several devices, such as {' and '.join(met)}:"
                " choose one with --device NAME"
            )
        self._device = met[0] if met else None

    def table(
        self,
        events: Sequence[RecordedEvent],
        *,
        context: Sequence[RecordedEvent],
        session: Session | None,
    ) -> Table:
        """Return the table. The rows are gone from here afterwards.

        Args:
            events: of the record and the chosen session, in order.
            context: of the record, that say how any of its runs was recorded.
            session: that was chosen.
        """
        device = self._device or next((each.device for each in events), "")
        parts = self._sorted()
        run, seq = parts.pop("run"), parts.pop("seq")
        is_first = np.ones(len(seq), bool)
        is_first[1:] = (seq[1:] != seq[:-1]) | (run[1:] != run[:-1])
        frame = np.cumsum(is_first, dtype=np.int32) - 1
        frames = {name: parts.pop(name)[is_first] for name in _OF_FRAME}
        frame_run = run[is_first]
        spacing_s = _usual_spacing(frames["time_s"], frame_run)
        offsets_s = _offsets(frames["time_s"], frames["unix_ns"], frame_run, spacing_s)
        time_s = frames["time_s"] + offsets_s[frame_run]
        runs = {key: float(offset) for key, offset in zip(self._runs, offsets_s, strict=True)}
        placed = _placed(events, runs, time_s, frames["unix_ns"])
        zero_s = 0.0
        if session is not None:
            zero_s = min([*time_s[:1].tolist(), *(time for time, _ in placed[:1])], default=0.0)
        time_s = np.maximum.accumulate(time_s - zero_s)  # a file's times may jump back
        of_runs = [each for each in context if (each.stream, each.epoch) in runs]
        is_face = parts["track"] != NONE
        faces = {name: values[is_face] for name, values in parts.items()}
        subjects, subject = self._subjects(faces["participant"], faces["track"], run[is_face])
        labels = [_LABELS.get(text, NONE) for text in self._codes["stable_label"].texts]
        return Table(
            path=self._path,
            device=device,
            session=session,
            is_file="media" in self._met["clock"],
            frame_time_s=time_s,
            frame_s=_durations(time_s, frame_run, spacing_s),
            frame_unix_ns=frames["unix_ns"],
            spacing_s=spacing_s,
            synchronized=float(frames["synchronized"].mean()) if len(time_s) else 0.0,
            dropped=int(frames["frames_dropped"].sum()),
            picture_sizes=tuple(sorted(self._sizes)),
            frame=frame[is_face],
            subject=subject,
            reasons=faces["reasons"],
            label=np.array(labels, np.int8)[faces["stable_label"]],
            valence=faces["valence"],
            arousal=faces["arousal"],
            valence_relative=faces["valence_relative"],
            arousal_relative=faces["arousal_relative"],
            is_measured=np.isfinite(faces["mesh_left_eye"]),
            perclos=faces["perclos"],
            blinks_per_min=faces["blinks_per_min"],
            affect_sources=tuple(sorted(filter(None, self._met["affect_source"]))),
            unknown=tuple(name for name in EXPRESSIONS if self._known and name not in self._known),
            subjects=subjects,
            reason_texts=tuple(text or "" for text in self._codes["reasons"].texts),
            events=_on_axis(placed, zero_s),
            context=_on_axis(_placed(of_runs, runs, time_s + zero_s, frames["unix_ns"]), zero_s),
        )

    def _sorted(self) -> dict[str, Array]:
        """Return the columns by run and number, with ``run``; set ``_runs``, the keys of the runs.

        Runs are in the order of their first wall time.
        """
        parts: dict[str, Array] = {}
        for name in list(self._parts):
            kind = _NUMBERS.get(name, np.int32)
            parts[name] = np.concatenate([*self._parts.pop(name), np.zeros(0, kind)])
        keys = parts.pop("stream").astype(np.int64) << 32 | parts.pop("epoch")
        del parts["device"]
        met, run = np.unique(keys, return_inverse=True)
        del keys
        first_ns = np.full(len(met), np.iinfo(np.int64).max)
        np.minimum.at(first_ns, run, parts["unix_ns"])
        order = np.argsort(first_ns, kind="stable")
        streams = list(self._codes["stream"].texts)
        self._runs = [(streams[met[at] >> 32], int(met[at] & 0xFFFFFFFF)) for at in order]
        parts["run"] = np.argsort(order).astype(np.int32)[run]
        run, seq = parts["run"], parts["seq"]
        # a log is in this order nearly always: then nothing is copied
        if np.any((run[1:] < run[:-1]) | ((run[1:] == run[:-1]) & (seq[1:] < seq[:-1]))):
            rows = np.lexsort((seq, run))
            parts = {name: values[rows] for name, values in parts.items()}
        return parts

    def _subjects(
        self, participant: Array, track: Array, run: Array
    ) -> tuple[tuple[Subject, ...], Integers]:
        """Return the subjects in their order, and the index of each face's subject."""
        codes = list(self._codes["participant"].texts)
        none = codes.index(None) if None in codes else -1
        tracks = int(track.max(initial=0)) + 1
        keys = np.where(
            participant == none, len(codes) + run.astype(np.int64) * tracks + track, participant
        )
        met, index = np.unique(keys.astype(np.int64), return_inverse=True)
        subjects = []
        for key in met.tolist():
            if key < len(codes):
                subjects.append(Subject(codes[key], None))
            else:
                of_run, number = divmod(key - len(codes), tracks)
                subjects.append(Subject(None, number, of_run))
        order = sorted(
            range(len(subjects)),
            key=lambda at: (
                subjects[at].participant is None,
                subjects[at].participant or "",
                *(subjects[at].run, subjects[at].track or 0),
            ),
        )
        places = np.argsort(np.array(order, np.int64))
        return tuple(subjects[at] for at in order), places.astype(np.int32)[index]


_LABELS: Final[dict[str | None, int]] = {name: at for at, name in enumerate(EXPRESSIONS)}


class _Codes:
    """Numbers for texts, in the order in which they are met. Not thread-safe."""

    def __init__(self) -> None:
        self.texts: dict[str | None, int] = {}

    def of(self, cells: Any) -> Integers:
        """Return the numbers of a column of texts."""
        texts = self.texts
        if isinstance(cells, list):
            return np.array([texts.setdefault(each, len(texts)) for each in cells], np.int32)
        cells = cells.dictionary_encode(null_encoding="encode")
        known = [texts.setdefault(each, len(texts)) for each in cells.dictionary.to_pylist()]
        codes = np.array(known, np.int32)
        return codes[np.asarray(cells.indices.to_numpy(zero_copy_only=False), np.int64)]

    def met(self, numbers: Array) -> set[str | None]:
        """Return the texts of some numbers."""
        texts = list(self.texts)
        return {texts[number] for number in np.unique(numbers)}


def _numbers(cells: Any, kind: Any) -> Array:
    if isinstance(cells, list):
        return np.array(cells, kind)  # None becomes NaN
    return np.asarray(cells.to_numpy(zero_copy_only=False)).astype(kind)


def _usual_spacing(time_s: Floats, run: Integers) -> float:
    steps = np.diff(time_s)[run[1:] == run[:-1]]
    steps = steps[steps > 0]
    return float(np.median(steps)) if len(steps) else 0.0


def _durations(time_s: Floats, run: Integers, spacing_s: float) -> Floats:
    """Return for how long each frame stands: until the next one, unless there is a gap."""
    found = np.full(len(time_s), spacing_s)
    steps = np.diff(time_s)
    is_gap = (run[1:] != run[:-1]) | (steps > max(GAP_MIN_S, GAP_SPACINGS * spacing_s))
    found[:-1] = np.where(is_gap, np.minimum(spacing_s, steps), steps)
    return found


def _offsets(time_s: Floats, unix_ns: Integers, run: Integers, spacing_s: float) -> Floats:
    """Return what is added to the times of each run, so that the runs follow each other."""
    starts = np.flatnonzero(np.diff(run, prepend=-1))
    ends = np.append(starts[1:], len(run)) - 1
    offsets = np.zeros(len(starts))
    for before, now in pairwise(range(len(starts))):
        first, last = starts[before], ends[before]
        since_s = (unix_ns[starts[now]] - unix_ns[first]) / 1e9
        by_wall = offsets[before] + time_s[first] + since_s
        at_least = offsets[before] + time_s[last] + spacing_s
        offsets[now] = max(by_wall, at_least) - time_s[starts[now]]
    return offsets


def _on_axis(
    placed: Sequence[tuple[float, RecordedEvent]], zero_s: float
) -> tuple[TableEvent, ...]:
    return tuple(
        TableEvent(time - zero_s, each.unix_ns, each.event, each.detail) for time, each in placed
    )


def _placed(
    events: Sequence[RecordedEvent], runs: dict[RunKey, float], time_s: Floats, unix_ns: Integers
) -> list[tuple[float, RecordedEvent]]:
    """Return the events by time; one of a run without frames by its wall time."""

    def place(event: RecordedEvent) -> float:
        offset = runs.get((event.stream, event.epoch))
        if offset is not None or not len(time_s):
            return event.time_s + (offset or 0.0)
        return float(time_s[0]) + (event.unix_ns - int(unix_ns[0])) / 1e9

    return sorted(((place(event), event) for event in events), key=lambda each: each[0])
