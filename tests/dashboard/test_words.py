"""The page has words for every code that a daemon can send, and its files are in order."""

import re
from typing import get_args

import pytest

from edge.protocol.events import DETAILS, FREQUENT
from edge.vision.mesh.lids import TOO_SELDOM, TOO_SHORT
from edge.vocabulary import EXPRESSIONS, PICTURE_STATES, BaselineState, RateReason, SourceState
from tests.support.daemons import ROOT

STATIC = ROOT / "edge/dashboard/static"
WORDS = (STATIC / "words.js").read_text()
QUIET = {
    *("camera_opened", "folder_opened", "file_opened", "file_hashed", "frame_refused"),
    *("media_jump", "faces_left_out", "participants_restored", "participants_lost"),
    *("session_erased", "journal_set_aside", *FREQUENT),
}
"""Events that are shown by their names, with their reason if they have one, or not at all."""


def table(name: str) -> set[str]:
    """Return the keys of a table in words.js."""
    found = re.search(rf"const {name} = \{{(.*?)\n?\}};", WORDS, re.S)
    assert found
    return set(re.findall(r"(?:^|[{,])\s*(\w+): ", found[1], re.M))


def described() -> set[str]:
    """Return the events that words.js describes: one a line."""
    found = re.search(r"^const EVENTS = \{\n(.*?)^\};", WORDS, re.S | re.M)
    assert found
    return set(re.findall(r"^  (\w+): \(", found[1], re.M))


def test_the_expressions_are_in_the_order_of_the_wire() -> None:
    found = re.search(r"EXPRESSIONS = \[(.*?)\]", WORDS)
    assert found
    assert tuple(re.findall(r'"(\w+)"', found[1])) == EXPRESSIONS


def test_every_state_has_words() -> None:
    assert table("SOURCE") == set(get_args(SourceState))
    assert table("PICTURE") == set(PICTURE_STATES)
    assert table("BASELINE") == set(get_args(BaselineState))
    assert set(get_args(RateReason)) <= table("LIMIT")


def test_every_reason_has_words() -> None:
    messages = (ROOT / "docs/messages.md").read_text()
    row = re.search(r"`faces\[\]\.quality\.reasons` \|[^|]*\|(.*)", messages)
    assert row
    assert table("QUALITY") == set(re.findall(r"`(\w+)`", row[1]))
    operation = (ROOT / "docs/operation.md").read_text()
    section = operation.partition("\n## Health\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section, re.M)
    assert table("HEALTH") == {code for each in rows for code in re.findall(r"`(\w+)`", each)}


def test_every_reason_of_the_eyes_has_words() -> None:
    assert table("LIDS") == {TOO_SHORT, TOO_SELDOM}


def test_every_event_is_described_or_shown_by_its_name() -> None:
    assert set(DETAILS) == QUIET | described()
    assert not QUIET & described()


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.*")), ids=lambda path: path.name)
def test_no_file_of_the_page_names_an_address_outside(path: object) -> None:
    text = STATIC.joinpath(str(path)).read_text()
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.search(r'\sstyle="|<script>|\son\w+="|innerHTML|\beval\(', text)


def test_every_module_that_is_loaded_is_there() -> None:
    for source in [*STATIC.glob("*.js"), *STATIC.glob("*.html")]:
        text = source.read_text()
        for name in re.findall(r'from "\./([^"]+)"|(?:src|href)="/static/([^"]+)"', text):
            assert (STATIC / "".join(name)).is_file(), (source.name, name)
