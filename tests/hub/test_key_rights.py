"""What a client may do with its key: acknowledge for itself, and change the record or only read."""

import contextlib
import json
import logging
import warnings
from pathlib import Path

import pytest

from edge.config import SecurityConfig
from edge.hub.fetch import Fetcher
from edge.hub.journal.batch import Position
from edge.hub.journal.consumers import MAX_CONSUMERS, Consumers
from edge.protocol.requests import READING, decode_request
from tests.hub.test_fetch import request
from tests.support.fake_journal import FakeJournal
from tests.support.keyed_hub import KeyedHub

CHANGING = (
    '{"request": "mark", "text": "x"}',
    '{"request": "participant", "action": "assign", "track": 4, "participant": "P07"}',
    '{"request": "participant", "action": "release", "participant": "P07"}',
    '{"request": "baseline", "action": "start", "participant": "P07"}',
    '{"request": "session", "action": "begin", "name": "first"}',
    '{"request": "session", "action": "end"}',
    '{"request": "erase", "session": "first"}',
    '{"request": "preview", "action": "picture"}',
)
READS = (
    '{"request": "time"}',
    '{"request": "status"}',
    '{"request": "schema"}',
    '{"request": "session", "action": "list"}',
    '{"request": "fetch"}',
)


def test_every_request_reads_or_changes() -> None:
    for text in READS:
        assert isinstance(decode_request(text.encode()), READING)
    for text in CHANGING:
        assert not isinstance(decode_request(text.encode()), READING)


def test_only_operators_change_the_record(tmp_path: Path) -> None:
    with contextlib.closing(KeyedHub(tmp_path, operators=("page",))) as hub:
        for text in CHANGING:
            reply = hub.ask("logger", text)
            assert reply == {
                "ok": False,
                "code": "read_only",
                "error": "the key 'logger' may only read; expected a key of security.operators",
            }
        assert hub.requests == 0
        for text in READS:
            assert hub.ask("logger", text)["ok"]
        for text in CHANGING:
            assert hub.ask("page", text)["ok"]


def test_an_operator_without_a_key_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with contextlib.closing(KeyedHub(tmp_path, operators=("page", "pgae"))) as hub:
        (line,) = caplog.messages
        assert line.startswith("security.operators: no key of pgae in ")
        hub.keys.revoke("page")
        hub.security.reload()
        assert hub.reloads == [True]
        assert caplog.messages[1].startswith("security.operators: no key of page, pgae in ")


def test_a_client_acknowledges_only_for_its_own_key(tmp_path: Path) -> None:
    journal = FakeJournal()
    newest = journal.append(10)
    with (
        contextlib.closing(Fetcher(journal, rate_mb_s=50)) as fetcher,
        contextlib.closing(KeyedHub(tmp_path, fetcher=fetcher)) as hub,
    ):
        for key, seq in (("logger", newest.seq), ("page", 3)):
            cursor = {"stream": journal.stream, "epoch": 1, "seq": seq, "name": "log"}
            assert hub.ask(key, request(**cursor).decode())["ok"]
        assert hub.ask("page", request(name="logger/log").decode())["ok"] is False
    assert journal.acknowledged == {"logger/log": newest, "page/log": Position(1, 3)}


def test_names_of_one_key_leave_room_for_the_others(caplog: pytest.LogCaptureFixture) -> None:
    consumers = Consumers()
    for number in range(2 * MAX_CONSUMERS):
        consumers.acknowledge(f"page/{number}", Position(1, number), 0)
    consumers.acknowledge("logger/log", Position(1, 5), 0)
    consumers.acknowledge("page/0", Position(1, 9), 0)
    known = consumers.all(0)
    assert len(known) == MAX_CONSUMERS + 1
    assert known["logger/log"].position == Position(1, 5)
    assert known["page/0"].position == Position(1, 9)
    (line,) = caplog.messages
    assert line.endswith(f"messages are not kept for page/{MAX_CONSUMERS} and others beyond")


def test_the_configuration_with_operators_is_recorded_without_a_warning() -> None:
    """pydantic warned twice at each start, on standard error."""
    section = SecurityConfig.model_validate(
        {"secret_key": "a", "allowed_keys": "b", "operators": ["page"]}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert json.loads(section.model_dump_json())["operators"] == ["page"]
