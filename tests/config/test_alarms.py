"""The section ``[alarms]``: wrong values are one clear line, and addresses stay hidden."""

import pytest

from edge.board import Board
from edge.config import Config, load_config
from edge.errors import ConfigError
from edge.hub.record import epoch_started, recorded_config
from edge.vocabulary import ALARM_RULES


def refusal(*settings: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(settings=[f"alarms.{each}" for each in settings], environment={})
    text = str(caught.value)
    assert "\n" not in text
    return text


def load(*settings: str) -> Config:
    return load_config(settings=[f"alarms.{each}" for each in settings], environment={})


@pytest.mark.parametrize(
    "url",
    [
        "https://alerts.example.org",
        "https://alerts.example.org:8443/in/chamber?room=1",
        "http://127.0.0.1:8099/",
        "http://localhost/in",
        "http://[::1]:8099/in",
        "https://[2001:db8::1]/in",
    ],
)
def test_good_addresses(url: str) -> None:
    assert load(f'webhook_url="{url}"').alarms.webhook_url == url


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("alerts.example.org/in", "expected https://HOST/PATH"),
        ("ftp://alerts.example.org/in", "expected https://HOST/PATH"),
        ("https://", "expected https://HOST/PATH"),
        ("https:///in", "expected https://HOST/PATH"),
        ("https://host:0/in", "expected https://HOST/PATH"),
        ("https://host:99999/in", "expected https://HOST/PATH"),
        ("https://[::1/in", "expected https://HOST/PATH"),
        ("https://host/in#part", "without white space and #"),
        ("https://host/in x", "without white space and #"),
        ("https://h\u00f6st/in", "without white space and #"),
        ("https://user:secret@host/in", "use alarms.webhook_token_file"),
        ("http://192.168.7.30/in", "unencrypted; expected https://"),
        ("http://localhost.example.org/in", "unencrypted; expected https://"),
    ],
)
def test_wrong_addresses(url: str, text: str) -> None:
    line = refusal(f'webhook_url="{url}"')
    assert "alarms.webhook_url: " in line
    assert text in line
    assert "secret" not in line


def test_files_without_an_address() -> None:
    assert "webhook_token_file: set without webhook_url" in refusal('webhook_token_file="/t"')
    text = refusal('webhook_url="http://127.0.0.1:1/"', 'webhook_ca_file="/t"')
    assert "webhook_ca_file: set for an address without TLS" in text


@pytest.mark.parametrize("rule", ALARM_RULES)
def test_each_rule_has_a_key(rule: str) -> None:
    assert load(f"{rule}_s=0").alarms.after_s(rule) == 0  # type: ignore[arg-type]
    assert f"alarms.{rule}_s" in refusal(f"{rule}_s=-1")
    assert f"did you mean alarms.{rule}_s" in refusal(f"{rule}=5")


def test_the_record_hides_address_and_token() -> None:
    secrets = 'webhook_url="https://alerts.example.org/in/T0SECRET"', 'webhook_token_file="/t0"'
    config = load(*secrets)
    recorded = recorded_config(config)["alarms"]
    assert recorded["webhook_url"] == "https://alerts.example.org/..."
    assert recorded["webhook_token_file"] == "..."
    other = load(secrets[0].replace("T0", "T1"), secrets[1])
    hashes = {epoch_started(each, Board(), None).config_sha256 for each in (config, other)}
    assert len(hashes) == 1  # a hash of a short secret would reveal it
