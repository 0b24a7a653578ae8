"""A made-up session as messages, in logs of every format: two faces, a gap, marks, a baseline."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.client.logs import opened_log
from edge.protocol.messages import EventMessage, FrameMessage
from edge.tools.export_log import run_export
from edge.vocabulary import EXPRESSIONS
from tests.support import wire
from tests.support.logs import received

START_NS = 1_764_000_000_000_000_000  # 2025-11-24 16:00:00 UTC
STEP_NS = 50_000_000
MONOTONIC_NS = 1_000_000_000_000

FORMATS = ("log.sqlite", "log.csv", "log.jsonl", "log.parquet", "out.parquet", "out.csv")


def face(
    track: int,
    at: int,
    *,
    participant: str | None = None,
    reasons: Sequence[str] = (),
    baseline: bool = False,
) -> dict[str, Any]:
    """Return a face whose values change with the frame number ``at``."""
    found = wire.face(track, reasons=tuple(reasons), classified=not reasons)
    found["participant"] = participant
    if not reasons:
        label = EXPRESSIONS[(at // 40 + track) % 3]
        probabilities = dict.fromkeys(EXPRESSIONS, 0.05) | {label: 0.65}
        found["expression"] = {
            "label": label, "probabilities": probabilities, "stable_label": label,
        }  # fmt: skip
        point = {
            "valence": round(0.6 * math.sin(at / 60 + track), 4),
            "arousal": round(0.4 * math.cos(at / 90 + track), 4),
        }
        found["affect"] = {
            **point,
            "smoothed": point,
            "relative": {"valence": 0.1, "arousal": -0.2} if baseline else None,
            "baseline": "ready" if baseline else "none",
        }
    return found


def mesh(*, perclos: float | None = None, blinks_per_min: float | None = None) -> dict[str, Any]:
    """Return ``faces[].mesh`` of a face that looks into the camera; None: too short to know."""
    lids = {
        "perclos": perclos,
        "perclos_reason": "too_short" if perclos is None else "",
        "blinks_per_min": blinks_per_min,
        "blinks_reason": "too_short" if blinks_per_min is None else "",
    }
    return {**wire.MESH, "lids": lids}


def frame(seq: int, at: int, *faces: dict[str, Any], **where: Any) -> FrameMessage:
    """Return the frame number ``at`` of a camera with 20 frames a second."""
    message = wire.frame(seq, *faces, **where).model_dump(by_alias=True)
    message["time"] |= {
        "sensor_ns": MONOTONIC_NS + at * STEP_NS,
        "published_ns": MONOTONIC_NS + at * STEP_NS + 20_000_000,
        "unix_ns": START_NS + at * STEP_NS,
    }
    return FrameMessage.model_validate(message)


def event(seq: int, at: int, name: str, detail: Any = None, **where: Any) -> EventMessage:
    """Return an event at the time of the frame number ``at``."""
    message = wire.event(seq, name, detail, **where).model_dump(by_alias=True)
    message["time"] |= {
        "monotonic_ns": MONOTONIC_NS + at * STEP_NS,
        "unix_ns": START_NS + at * STEP_NS,
    }
    return EventMessage.model_validate(message)


def session(
    name: str = "P07-first", *, frames: int = 400, first: int = 0, seq: int = 0, **where: Any
) -> list[FrameMessage | EventMessage]:
    """Return the messages of a session: P07 on track 1, and a face without a code on track 2.

    Track 2 is in the second half only. Frames 100 to 119 of track 1 are too small and blurred. From
    frame 200 on there is a baseline; 10 s are missing there.
    """
    found: list[FrameMessage | EventMessage] = []

    def add(at: int, event_name: str, detail: Any) -> None:
        found.append(event(seq + len(found), at, event_name, detail, **where))

    began = {"session": f"{abs(hash_of(name)):012x}", "name": name, "note": "mask 2"}
    add(first, "epoch_started", EPOCH_STARTED)
    add(first, "worker_started", WORKER_STARTED)
    add(first, "session_began", began)
    for number in range(frames):
        at = first + number + (200 if number >= 200 else 0)
        if number == 150:
            add(at, "mark", {"text": 'pressure 2.8 bar & "mask" <on>'})
        if number == 200:
            add(at, "baseline_ready", BASELINE)
        faces = []
        if number % 100 != 99:
            reasons = ("too_small", "blurred") if 100 <= number < 120 else ()
            ready = number >= 200
            faces.append(face(1, number, participant="P07", reasons=reasons, baseline=ready))
        if number >= frames // 2:
            faces.append(face(2, number))
        found.append(frame(seq + len(found), at, *faces, **where))
    add(first + frames + 200, "session_ended", {**began, "frames": frames, "restarts": 0})
    return found


def hash_of(name: str) -> int:
    """Return a number for a name, the same in every process."""
    return int.from_bytes(name.encode()[-5:])


EPOCH_STARTED: dict[str, Any] = {
    "version": "0.1.0",
    "purpose": "research-consent",
    "source": "picamera",
    "priors": {"neutral": 0.7},
    "board": "Raspberry Pi 5 Model B Rev 1.0",
    "config_sha256": "c0ffee" * 10 + "abcd",
    "config": {"source": {"kind": "picamera"}, "affect": {"smoothing_s": 0.5}},
    "versions": {"affect-edge": "0.1.0", "onnxruntime": "1.26.0"},
}
WORKER_STARTED: dict[str, Any] = {
    "models": {
        "detector": {
            "name": "centerface-320x192",
            "artifact": "centerface.onnx",
            "sha256": "ab" * 32,
            "runtime": "onnxruntime",
            "precision": "fp32",
            "manifest_sha256": "cd" * 32,
        },
        "expression": {
            "name": "expression-nir",
            "artifact": "expression.onnx",
            "sha256": "ef" * 32,
            "runtime": "onnxruntime",
            "precision": "fp32",
            "manifest_sha256": "01" * 32,
        },
    },
    "memory_locked": True,
}
BASELINE: dict[str, Any] = {
    "participant": "P07",
    "read_s": 10.0,
    "readings": 200,
    "valence": 0.12,
    "arousal": -0.05,
}


def write_log(out: Path, messages: Sequence[FrameMessage | EventMessage]) -> Path:
    """Write a log in the format of its name; ``out.csv`` and ``out.parquet``: exported tables."""
    if out.stem == "out":
        log = write_log(out.with_name("exported.sqlite"), messages)
        run_export(log, out)
        return out
    with opened_log(out) as log:
        log.cursors()
        for message in messages:
            log.write(received(message))
    return out


def analysed(folder: Path, messages: Sequence[FrameMessage | EventMessage]) -> Path:
    """Make a folder with the tables that ``analyse`` writes."""
    folder.mkdir()
    log = write_log(folder.with_name(f"{folder.name}.sqlite"), messages)
    for suffix in ("parquet", "csv"):
        run_export(log, folder / f"frames.{suffix}")
        (folder / f"frames.events.{suffix}").rename(folder / f"events.{suffix}")
    return folder
