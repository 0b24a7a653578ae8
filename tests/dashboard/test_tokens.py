"""The token, its sessions, and the delay of wrong tries."""

import os
import stat
from pathlib import Path

import pytest

from edge.dashboard import tokens
from edge.dashboard.tokens import SESSION_S, Sessions, Tries, new_token, read_token
from edge.errors import ConfigError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The monotonic time, ns, which a test moves."""
    now = [1_000_000_000]
    monkeypatch.setattr(tokens, "monotonic_ns", lambda: now[0])
    return now


def test_a_new_token_is_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "page.token"
    os.umask(0o000)
    try:
        new_token(path)
    finally:
        os.umask(0o022)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(read_token(path)) >= 43  # 256 bits
    with pytest.raises(ConfigError, match=r"--new-token .*exists"):
        new_token(path)
    with pytest.raises(ConfigError, match="No such file"):
        new_token(tmp_path / "nowhere" / "page.token")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short",
        "a" * 64,
        "0123456789abcdef",
        "two words of a token that is long",
        "pässwörtchen" * 3,
    ],
)
def test_a_token_that_is_easy_to_guess_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="128 bits") as caught:
        read_token(path)
    assert "--new-token FILE" in str(caught.value)
    assert not text or text not in str(caught.value)


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    new_token(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="mode 0640"):
        read_token(path)


def test_a_session_ends_after_its_time(clock: list[int]) -> None:
    sessions = Sessions(b"a-token-that-is-long-enough")
    assert sessions.begin("a-token-that-is-long-enougH") is None
    secret = sessions.begin(" a-token-that-is-long-enough\n")
    assert secret is not None
    assert sessions.is_open(secret)
    assert not sessions.is_open(None)
    assert not sessions.is_open(secret + "x")
    clock[0] += SESSION_S * 1_000_000_000
    assert not sessions.is_open(secret)


def test_a_session_ends_with_log_out_and_the_oldest_with_too_many() -> None:
    sessions = Sessions(b"token")
    secrets = [str(sessions.begin("token")) for _ in range(65)]
    assert not sessions.is_open(secrets[0])
    assert sessions.is_open(secrets[1])
    sessions.end(secrets[1])
    sessions.end("never there")
    assert not sessions.is_open(secrets[1])
    assert sessions.is_open(secrets[2])


def test_without_a_token_every_session_is_open() -> None:
    assert Sessions(b"").is_open(None)


def test_wrong_tries_wait_longer_and_longer(clock: list[int]) -> None:
    tries = Tries()
    waits = []
    for _ in range(14):
        clock[0] += int(tries.wait_s("10.0.0.7") * 1e9)
        tries.note_wrong("10.0.0.7")
        waits.append(tries.wait_s("10.0.0.7"))
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert tries.wait_s("10.0.0.8") == 0
    tries.note_right("10.0.0.7")
    assert tries.wait_s("10.0.0.7") == 0


@pytest.mark.usefixtures("clock")
def test_the_memory_of_tries_is_bounded_to_the_newest() -> None:
    tries = Tries()
    for _ in range(5):
        tries.note_wrong("10.0.0.7")
    for number in range(1023):
        tries.note_wrong(f"10.1.{number // 256}.{number % 256}")
    assert tries.wait_s("10.0.0.7") > 0
    tries.note_wrong("10.2.0.0")
    assert tries.wait_s("10.0.0.7") == 0, "it tried longest ago"
    assert len(tries._wrong) == 1024
