"""Names of consumers: the newest process has the name."""

import pytest

from edge.errors import RequestRefused
from edge.hub.consumer_names import NAMES_MAX, SILENT_S, ConsumerNames

SECOND = 1_000_000_000


def test_the_newer_process_has_the_name() -> None:
    names = ConsumerNames()
    names.check("log", "a", 0)
    names.check("log", "b", 1)
    for _ in range(2):
        with pytest.raises(RequestRefused, match=r"another process fetches as 'log'.*--name"):
            names.check("log", "a", 2)
        names.check("log", "b", 3)
    names.check("log", "c", 4)
    for older in ("a", "b"):
        with pytest.raises(RequestRefused):
            names.check("log", older, 5)


def test_a_name_returns_to_the_older_process_when_the_newer_one_is_silent() -> None:
    names = ConsumerNames()
    names.check("log", "a", 0)
    names.check("log", "b", SECOND)  # such as one run with --once
    with pytest.raises(RequestRefused):
        names.check("log", "a", 2 * SECOND)
    later = int((SILENT_S + 2) * SECOND)
    names.check("log", "a", later)
    with pytest.raises(RequestRefused):
        names.check("log", "b", later + 1)


def test_each_name_is_apart_and_no_instance_is_no_claim() -> None:
    names = ConsumerNames()
    names.check("log", "a", 0)
    names.check("view", "b", 0)
    names.check("log", None, 0)
    names.check("log", "a", 0)


def test_the_memory_for_names_is_bounded() -> None:
    names = ConsumerNames()
    for number in range(NAMES_MAX + 10):
        for process in range(50):
            names.check(f"n{number}", f"{process:x}", number)
    assert len(names._names) == NAMES_MAX
    assert all(len(each.superseded) <= 16 for each in names._names.values())
