"""Codes that are assigned after the recording: where they stand in the tables of an analysis."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow.parquet
import pytest

from edge.protocol.lid_events import Blink, EyesClosed, EyesLost, EyesOpened
from edge.protocol.participant_events import ParticipantAssigned
from edge.recordings.analysis.tables import Tables, opened_tables, stored_rows
from tests.support.analyses import analyse, make_recordings

LID_EVENTS = (
    Blink(track=1, duration_ms=120, sensor_ns=40_000_000),
    EyesClosed(track=2, closed_s=1.04, sensor_ns=80_000_000),
    EyesOpened(track=2, closed_s=1.52, sensor_ns=120_000_000),
    EyesLost(track=3, reason="track_ended", closed_s=None, sensor_ns=None),
)


def opened(folder: Path, codes: Mapping[int, str]) -> AbstractContextManager[Tables]:
    """Make the tables of an analysis in ``folder``."""
    folder.mkdir(exist_ok=True)
    return opened_tables(
        folder, csv=True, device="d", stream="s", recorded_unix_ns=None, codes=codes
    )


def write_lid_events(folder: Path, codes: Mapping[int, str]) -> None:
    """Write ``LID_EVENTS``, and one of another kind, to the tables of an analysis."""
    with opened(folder, codes) as tables:
        for event in LID_EVENTS:
            tables.event(event)
        tables.event(ParticipantAssigned(track=1, participant="S1"))


def participants(folder: Path) -> list[tuple[str, int, str | None]]:
    """Return event, track and participant of each event of a face."""
    events = pyarrow.parquet.read_table(folder / "events.parquet")
    details = [json.loads(detail) for detail in events["detail"].to_pylist()]
    return [
        (event, detail["track"], detail["participant"])
        for event, detail in zip(events["event"].to_pylist(), details, strict=True)
        if "track" in detail
    ]


def test_events_of_eyes_have_the_codes_of_their_tracks(tmp_path: Path) -> None:
    write_lid_events(tmp_path, {1: "P01", 2: "Ž ü"})

    assert participants(tmp_path) == [
        ("blink", 1, "P01"),
        ("eyes_closed", 2, "Ž ü"),
        ("eyes_opened", 2, "Ž ü"),
        ("eyes_lost", 3, None),
        ("participant_assigned", 1, "S1"),
    ]


@pytest.mark.parametrize("codes", [{1: "P01", 2: "Ž ü"}, {3: "P03"}, {}])
def test_earlier_events_are_rewritten_to_the_bytes_of_a_new_analysis(
    codes: dict[int, str], tmp_path: Path
) -> None:
    fresh, earlier, again = (tmp_path / name for name in ("fresh", "earlier", "again"))
    write_lid_events(fresh, codes)
    write_lid_events(earlier, {1: "P09", 2: "P02"})
    with opened(again, codes) as tables:
        for rows in stored_rows(earlier / "events.parquet"):
            tables.event_rows(rows, replace=True)
    for name in ("events.parquet", "events.csv"):
        assert (again / name).read_bytes() == (fresh / name).read_bytes(), name


def test_a_code_that_is_no_longer_given_leaves_the_events(tmp_path: Path) -> None:
    recording = make_recordings(tmp_path / "in", 1) / "r00.mp4"
    out, codes = tmp_path / "out", tmp_path / "codes.csv"
    codes.write_text("track,participant\n1,P07\n")
    assert analyse(recording, "--out", out)[0] == 0
    write_lid_events(tmp_path / "events", {})  # the clip shows no closed eyes
    (tmp_path / "events/events.parquet").replace(out / "r00/events.parquet")
    found = []
    for arguments in (("--participants", codes), ()):
        code, text = analyse(recording, "--out", out, *arguments)
        assert code == 0, text
        found.append(participants(out / "r00")[0])
    assert found == [("blink", 1, "P07"), ("blink", 1, None)]
