"""What a report says of a record: who, when, how long, by what, and how much was classified."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edge.clock import day, time_of_day
from edge.results.models import UsedModel, models_of
from edge.results.table import Table, TableEvent

PURPOSES: Final = {
    "research-consent": "research with informed consent",
    "medical": "medical use",
    "safety": "safety",
    "demo": "demonstration",
}

UNIFORM: Final = "uniform"
"""Class priors without a configuration."""

REASON_WORDS: Final = {
    "too_small": "the face was too small",
    "blurred": "blurred",
    "too_dark": "too dark",
    "too_bright": "too bright",
    "saturated": "overexposed spots",
    "turned_away": "turned away",
    "outside_frame": "outside the picture",
    "inference_failed": "the network failed",
    "other_reason": "another reason",
}


@dataclass(frozen=True, slots=True)
class Baseline:
    """A neutral baseline of a participant, as an event gives it.

    Attributes:
        participant: the code.
        time_s: seconds on the table's axis; None: it was learnt before the record's run.
        is_ready: whether it is valid.
        valence: at neutral.
        arousal: at neutral.
        read_s: classified time in which it was learnt, seconds; None: not known.
        reason: why it is invalid; empty if it is valid.
    """

    participant: str
    time_s: float | None
    is_ready: bool
    valence: float | None
    arousal: float | None
    read_s: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts of a record, each as a report prints it; several values where runs differ.

    Attributes:
        title: name of the session, or of the recording, or of the log.
        note: of the session; may be empty.
        versions: of affect-edge.
        boards: on which it ran; may be empty.
        purposes: declared, in words.
        sources: camera or recording.
        priors: class priors in words.
        sizes: of the pictures, in words.
        started: day and time of the first frame, UTC; empty: not known.
        ended: of the end.
        rate_hz: usual frames per second; None with one frame.
        missing: gaps in the messages of the record.
        models: of all runs.
        baselines: in order.
    """

    title: str
    note: str
    versions: tuple[str, ...]
    boards: tuple[str, ...]
    purposes: tuple[str, ...]
    sources: tuple[str, ...]
    priors: tuple[str, ...]
    sizes: str
    started: str
    ended: str
    rate_hz: float | None
    missing: int
    models: tuple[UsedModel, ...]
    baselines: tuple[Baseline, ...]


def facts_of(table: Table) -> Facts:
    """Return the facts of a record.

    Raises:
        ModelError: the manifest or the ``accuracy.json`` of an installed model is wrong.
    """
    starts = [each.detail for each in table.context if each.event == "epoch_started"]
    files = table.files
    began = [each.detail for each in _named(table.events, "session_began", "name")]
    name = table.session.name if table.session is not None else ""
    if not name and len(began) == 1:
        name = str(began[0]["name"])
    started = ended = ""
    if table.wall_time_known() and len(table.frame_unix_ns):
        first_ns, last_ns = int(table.frame_unix_ns[0]), int(table.frame_unix_ns[-1])
        started, ended = wall_text(first_ns), wall_text(last_ns + int(table.frame_s[-1] * 1e9))
    return Facts(
        title=name or (files[0] if files else table.path.stem),
        note=", ".join(_distinct(began, lambda each: each.get("note"))),
        versions=_distinct(starts, lambda each: each.get("version")),
        boards=_distinct(starts, lambda each: each.get("board")),
        purposes=_distinct(
            starts, lambda each: PURPOSES.get(str(each.get("purpose")), each.get("purpose"))
        ),
        sources=_sources(table, starts),
        priors=_distinct(starts, _priors_text),
        sizes=_sizes_text(table.picture_sizes),
        started=started,
        ended=ended,
        rate_hz=1 / table.spacing_s if table.spacing_s > 0 else None,
        missing=sum(each.event == "gap" for each in table.events),
        models=tuple(models_of(table.context)),
        baselines=tuple(_baselines(table)),
    )


def wall_text(unix_ns: int) -> str:
    """Return a wall time: ``2026-11-27 09:41:07 UTC``."""
    return f"{day(unix_ns)} {time_of_day(unix_ns)[:8]} UTC"


def _named(events: Iterable[TableEvent], name: str, field: str) -> list[TableEvent]:
    return [each for each in events if each.event == name and each.detail.get(field) is not None]


def _distinct(
    details: Iterable[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], Any]
) -> tuple[str, ...]:
    found = [value(each) for each in details]
    return tuple(dict.fromkeys(str(each) for each in found if each not in (None, "")))


def _priors_text(start: Mapping[str, Any]) -> str:
    priors = start.get("priors") or {}
    if not isinstance(priors, dict) or not priors:
        return UNIFORM
    return ", ".join(f"{name} {share:g}" for name, share in priors.items())


def _sizes_text(sizes: Sequence[tuple[int, int]]) -> str:
    by_area = sorted(sizes, key=math.prod)
    words = " to ".join(f"{width} x {height}" for width, height in (by_area[:1] + by_area[1:][-1:]))
    return f"{words} pixels" if len(sizes) == 1 else f"{len(sizes)} sizes from {words} pixels"


def _sources(table: Table, starts: list[Mapping[str, Any]]) -> tuple[str, ...]:
    found = []
    for each in table.context:
        if each.event == "camera_opened":
            found.append(f"camera {each.detail.get('model')}")
        elif each.event == "file_opened":
            found.append(f"recording {each.detail.get('file')}")
        elif each.event == "folder_opened":
            found.append(f"folder of {each.detail.get('files')} pictures")
    return tuple(dict.fromkeys(found)) or _distinct(starts, lambda each: each.get("source"))


def _baselines(table: Table) -> list[Baseline]:
    found = []
    for each in table.context:
        detail = each.detail
        if each.time_s > table.end_s:
            break
        if each.event in ("baseline_ready", "baseline_invalid"):
            is_ready = each.event == "baseline_ready"
            found.append(_baseline(detail, time_s=each.time_s, is_ready=is_ready))
        elif each.event == "participants_restored":
            found += [
                _baseline(one, time_s=None, is_ready=True)
                for one in detail.get("participants", ())
                if isinstance(one, dict) and one.get("baseline") == "ready"
            ]
    return found


def _baseline(detail: Mapping[str, Any], *, time_s: float | None, is_ready: bool) -> Baseline:
    return Baseline(
        participant=str(detail.get("participant")),
        time_s=time_s,
        is_ready=is_ready,
        valence=_number(detail.get("valence")),
        arousal=_number(detail.get("arousal")),
        read_s=_number(detail.get("read_s")),
        reason=str(detail.get("reason") or ""),
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
