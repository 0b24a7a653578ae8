"""Sessions: one at a time, found by name or id, counted."""

import pytest

from edge.errors import RequestRefused
from edge.hub.kept_models import KeptPosition
from edge.hub.sessions import SESSIONS_MAX, Sessions

HERE = KeptPosition(epoch=1, seq=3)


def run(sessions: Sessions, name: str, *codes: str) -> str:
    """Run a session of one frame with ``codes``; return its id."""
    session = sessions.require_new(name)
    sessions.begin(session, name, "", HERE, 1)
    sessions.note_frame(codes)
    sessions.end(HERE, 2)
    return session


def test_one_session_at_a_time_and_no_name_twice():
    sessions = Sessions()
    with pytest.raises(RequestRefused, match="no session is running; begin one"):
        sessions.require_running()
    run(sessions, "morning")
    with pytest.raises(RequestRefused, match="there was a session morning"):
        sessions.require_new("morning")
    sessions.begin(sessions.require_new("noon"), "noon", "", HERE, 3)
    with pytest.raises(RequestRefused, match="session noon is running; end it first"):
        sessions.require_new("evening")
    with pytest.raises(RequestRefused, match="session noon is running; end it first"):
        sessions.find("noon")


def test_frames_and_codes_are_those_of_the_session():
    sessions = Sessions()
    sessions.note_frame(["P01"])
    sessions.begin(sessions.require_new("morning"), "morning", "", HERE, 1)
    for codes in (["P08", None], ["P07"], []):
        sessions.note_frame(codes)
    ended = sessions.require_running()
    assert (ended.frames, ended.participants) == (3, ["P07", "P08"])
    sessions.end(HERE, 2)
    sessions.note_frame(["P02"])
    assert sessions.as_list()[0]["participants"] == ["P07", "P08"]


def test_a_session_is_found_by_name_and_id_and_forgotten_with_its_own_codes():
    sessions = Sessions()
    session = run(sessions, "morning", "P07", "P08")
    run(sessions, "evening", "P08")
    found = sessions.find("morning")
    assert found is sessions.find(session)
    assert sessions.own_codes(found) == ["P07"]
    sessions.forget(found)
    with pytest.raises(RequestRefused, match="no session morning; ended sessions: evening"):
        sessions.find("morning")


def test_the_number_of_sessions_is_bounded():
    sessions = Sessions()
    for index in range(SESSIONS_MAX + 2):
        run(sessions, f"s{index}")
    assert len(sessions.as_list()) == SESSIONS_MAX
    assert sessions.as_list()[0]["name"] == "s2"
