"""The log in PostgreSQL, against a real server."""

import json
import time
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.client import Cursor, Gap, Received
from edge.client.logs import opened_log
from edge.client.logs.postgresql_log import PostgresLog
from edge.client.logs.postgresql_server import SCHEMA_FILE, SCHEMA_VERSION
from edge.client.tidy import COLUMNS
from edge.errors import ConfigError, LogUnavailable
from edge.protocol import messages
from tests.support.postgres import PASSWORD, Database, PostgresServer, running_server
from tests.support.waiting import HANG_S
from tests.support.wire import event, face, frame, status

STREAM = "3f2b7f3a-1c1e-4c53-a5a4-4a7b5a4f6c11"


def received(message: Any, gap: Gap | None = None) -> Received:
    """Return ``message`` as a subscriber returns it."""
    return Received(message, messages.encode(message), gap, late=False)


def stored(url: str, numbers: Iterable[int]) -> None:
    """Log frames with these numbers in one commit."""
    with opened_log(url) as log:
        for number in numbers:
            log.write(received(frame(number, face(), stream=STREAM)))


def numbers_in(database: Database) -> list[int]:
    return [row[0] for row in database.rows("SELECT seq FROM affect.messages ORDER BY seq")]


def test_messages_are_stored_as_received_and_seen_with_typed_columns(database: Database) -> None:
    start = event(0, "epoch_started", {"purpose": "medical"}, stream=STREAM)
    classified = frame(1, face(4), face(5, classified=False), stream=STREAM)
    with opened_log(database.url) as log:
        assert log.cursors() == []
        assert log.write(received(start)) == log.write(received(classified)) == 1
        assert log.write(received(status(1, stream=STREAM))) == 0
    bodies = database.rows("SELECT body::text FROM affect.messages ORDER BY seq")
    assert [body for (body,) in bodies] == [
        received(message).body.decode() for message in (start, classified)
    ]
    assert database.rows("SELECT event, detail ->> 'purpose' FROM affect.events") == [
        ("epoch_started", "medical")
    ]
    assert database.rows(
        "SELECT track, quality_usable, label, p_happy, valence, arousal_smoothed, frame_index,"
        " unix_ns FROM affect.faces ORDER BY track"
    ) == [
        (4, True, "happy", 0.6, 0.61, -0.1, 8, classified.time.unix_ns),
        (5, True, None, None, None, None, 8, classified.time.unix_ns),
    ]
    assert database.rows("SELECT seq, faces, clock, frames_dropped FROM affect.frames") == [
        (1, 2, "monotonic", 0)
    ]
    assert database.rows("SELECT device, epoch, seq, status ->> 'kind' FROM affect.devices") == [
        ("edge", 1, 1, "status")
    ]
    with opened_log(database.url) as log:
        assert log.cursors() == [Cursor(STREAM, 1, 1)]


def test_the_columns_are_those_of_the_tables(database: Database) -> None:
    stored(database.url, [0])
    with database.server.connect(database.name) as admin:
        found = [column.name for column in admin.execute("TABLE affect.faces").description or ()]
    assert set(found) - {"time"} == set(COLUMNS) - {"time_s"}


def test_a_frame_without_faces_has_one_row(database: Database) -> None:
    with opened_log(database.url) as log:
        log.cursors()
        log.write(received(frame(0, stream=STREAM)))
    assert database.rows("SELECT seq, faces, track FROM affect.faces") == [(0, 0, None)]


def test_a_gap_is_stored_with_the_cursor_behind_it(database: Database) -> None:
    gap = Gap(STREAM, 1, 3, 7)
    with opened_log(database.url) as log:
        log.write(received(status(7, stream=STREAM), gap))
    assert database.rows("SELECT epoch, first_missing, last_missing, device FROM affect.gaps") == [
        (1, 3, 7, "edge")
    ]
    with opened_log(database.url) as log:
        assert log.cursors() == [Cursor(STREAM, 1, 7)]


def test_nothing_is_stored_before_the_commit(database: Database) -> None:
    log = PostgresLog(database.url)
    log.cursors()
    log.write(received(frame(0, stream=STREAM)))
    log.close()
    assert numbers_in(database) == []


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(
        st.lists(st.tuples(st.integers(1, 3), st.integers(0, 30)), max_size=20), max_size=6
    )
)
def test_whatever_is_repeated_each_message_is_stored_once(
    database: Database, batches: list[list[tuple[int, int]]]
) -> None:
    with opened_log(database.url) as log:
        log.cursors()
        database.execute("TRUNCATE affect.messages, affect.devices")
        for batch in batches:
            for epoch, seq in batch:
                log.write(received(frame(seq, stream=STREAM, epoch=epoch)))
            log.commit()
        cursors = log.cursors()
    sent = {message for batch in batches for message in batch}
    assert database.rows("SELECT epoch, seq FROM affect.messages ORDER BY 1, 2") == sorted(sent)
    assert cursors == ([Cursor(STREAM, *max(sent))] if sent else [])


def test_two_loggers_share_one_database_and_the_higher_cursor_counts(database: Database) -> None:
    stored(database.url, range(20))
    stored(database.url, range(10))
    assert numbers_in(database) == list(range(20))
    with opened_log(database.url) as log:
        assert log.cursors() == [Cursor(STREAM, 1, 19)]


def test_a_killed_server_loses_nothing_and_the_log_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_server() as server:
        database = server.new_database()
        monkeypatch.setenv("PGPASSWORD", PASSWORD)
        log = PostgresLog(database.url)
        log.cursors()
        log.write(received(frame(0, stream=STREAM)))
        log.commit()
        server.kill()
        log.write(received(frame(1, stream=STREAM)))
        for _ in range(2):
            with pytest.raises(LogUnavailable, match=f"PostgreSQL {database.name} at 127"):
                log.commit()
        server.start()
        log.write(received(frame(2, stream=STREAM)))
        commit_when_possible(log)
        log.close()
        assert numbers_in(database) == [0, 1, 2]


def commit_when_possible(log: PostgresLog) -> None:
    deadline = time.monotonic() + HANG_S
    while time.monotonic() < deadline:
        try:
            return log.commit()
        except LogUnavailable:
            time.sleep(0.02)
    raise AssertionError("the server never came back")


def test_a_server_that_is_not_there_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    log = PostgresLog("postgresql://user:secret@127.0.0.1:1/db")
    with pytest.raises(LogUnavailable, match="Connection refused") as failure:
        log.cursors()
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:top@secret@127.0.0.1:5432/db",
        "postgresql://user:secret@127.0.0.1:port/db",
        "postgresql://user:secret@127.0.0.1:99999/db",
        "postgresql://user:secret@127.0.0.1/db?unknown=1",
        "postgresql://user:sec%zzret@127.0.0.1/db",
    ],
)
def test_a_wrong_address_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="expected postgresql:// and USER@HOST") as failure:
        PostgresLog(url)
    assert "secret" not in str(failure.value)


def test_a_wrong_password_user_or_database_is_refused(
    database: Database, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, port = database.name, postgres.port
    for url, expected in (
        (f"postgresql://{name}:wrong@127.0.0.1:{port}/{name}", "password authentication failed"),
        (f"postgresql://nobody@127.0.0.1:{port}/{name}", "password authentication failed"),
        (f"postgresql://{name}@127.0.0.1:{port}/missing", 'database "missing" does not exist'),
    ):
        with pytest.raises(ConfigError, match=expected) as failure:
            PostgresLog(url).cursors()
        assert "\n" not in str(failure.value)
        assert "wrong" not in str(failure.value)
    monkeypatch.delenv("PGPASSWORD")
    with pytest.raises(ConfigError, match="no password supplied"):
        PostgresLog(database.url).cursors()


def test_a_user_without_rights_is_refused(database: Database) -> None:
    database.execute(f"ALTER DATABASE {database.name} OWNER TO postgres")
    with pytest.raises(ConfigError, match="permission denied for database"):
        PostgresLog(database.url).cursors()


def test_an_administrator_may_create_the_schema_and_grant_little(database: Database) -> None:
    database.execute(f"ALTER DATABASE {database.name} OWNER TO postgres")
    database.execute(SCHEMA_FILE.read_text())
    database.execute(f"GRANT USAGE ON SCHEMA affect TO {database.name}")
    tables = "ALL TABLES IN SCHEMA affect"
    database.execute(f"GRANT SELECT, INSERT, UPDATE ON {tables} TO {database.name}")
    stored(database.url, range(3))
    assert numbers_in(database) == [0, 1, 2]


def test_a_schema_of_a_newer_version_is_refused(database: Database) -> None:
    stored(database.url, [0])
    database.execute("UPDATE affect.version SET version = version + 1")
    with pytest.raises(ConfigError, match=f"has version {SCHEMA_VERSION + 1}"):
        PostgresLog(database.url).cursors()


def test_a_right_that_is_taken_away_ends_the_log(database: Database) -> None:
    with opened_log(database.url) as log:
        log.cursors()
        database.execute("ALTER TABLE affect.messages OWNER TO postgres")
        log.write(received(frame(0, stream=STREAM)))
        with pytest.raises(ConfigError, match="permission denied for table messages"):
            log.commit()
        database.execute(f"ALTER TABLE affect.messages OWNER TO {database.name}")


def test_a_database_with_another_encoding_is_refused(
    postgres: PostgresServer, database: Database
) -> None:
    name = f"{database.name}_latin1"
    with postgres.connect() as admin:
        admin.execute(
            f"CREATE DATABASE {name} OWNER {database.name} ENCODING 'LATIN1' LOCALE 'C'"
            " TEMPLATE template0".encode()
        )
    with pytest.raises(ConfigError, match="encoding LATIN1; expected UTF8"):
        PostgresLog(f"{database.url}_latin1").cursors()


def test_commits_are_durable_where_the_role_has_switched_that_off(database: Database) -> None:
    database.execute(f"ALTER ROLE {database.name} SET synchronous_commit = off")
    log = PostgresLog(database.url)
    log.cursors()
    assert log._connection is not None
    assert log._connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
    log.close()


def test_a_message_that_no_table_can_hold_is_left_out_and_reported(database: Database) -> None:
    reports: list[str] = []
    log = PostgresLog(database.url, reports.append)
    log.cursors()
    bad = event(3, "mark", {"text": "x"}, stream=STREAM)
    not_json = Received(bad, b"t " + received(bad).body.replace(b'"x"', b"NaN"), None, late=False)
    newest = status(9, stream=STREAM)
    bad_status = Received(newest, received(newest).part[:-1] + b',"later":NaN}', None, late=False)
    for number in range(8):
        log.write(received(frame(number, stream=STREAM)) if number != 3 else not_json)
    log.write(received(frame(2**63, stream=STREAM)))
    log.write(received(frame(0, stream="s" * 4000)))
    log.write(received(frame(0, stream="nul", device="a\0b")))
    log.write(bad_status)
    log.commit()
    assert log.refused == 3
    assert len(reports) == 1
    assert numbers_in(database) == [0, 0, 1, 2, 4, 5, 6, 7]
    assert sorted(log.cursors()) == [Cursor(STREAM, 1, 7), Cursor("nul", 1, 0)]
    assert database.rows("SELECT device FROM affect.devices WHERE stream = 'nul'") == [
        ("a\ufffdb",)
    ]
    log.close()


def test_a_table_that_is_partitioned_by_time_can_be_written(database: Database) -> None:
    """The primary key of a TimescaleDB hypertable has the time in it, too."""
    stored(database.url, range(3))
    database.execute(
        "ALTER TABLE affect.messages DROP CONSTRAINT messages_pkey;"
        "ALTER TABLE affect.messages ADD PRIMARY KEY (stream, epoch, seq, time)"
    )
    stored(database.url, range(5))
    assert numbers_in(database) == [0, 1, 2, 3, 4]


def test_the_body_keeps_characters_of_every_language(database: Database) -> None:
    text = "Überdruck 2,8 bar \u2013 加圧 \U0001f600 \\u0000"
    with opened_log(database.url) as log:
        log.write(received(event(0, "mark", {"text": text}, stream=STREAM)))
    (body,) = database.rows("SELECT body::text FROM affect.messages")[0]
    assert json.loads(body)["detail"]["text"] == text
