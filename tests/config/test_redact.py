"""Camera addresses in messages: scheme, host and port, and nothing else."""

from pathlib import Path

import pytest

from edge.config import load_config, redact, source_settings
from edge.config.redact import redact_address
from edge.errors import ConfigError

SECRET = "S3cret"

ADDRESSES = {
    "rtsp://10.0.0.2:554": "rtsp://10.0.0.2:554",
    "rtsp://camera/": "rtsp://camera/",
    f"rtsp://me:{SECRET}@camera": "rtsp://...@camera",
    f"rtsp://me:{SECRET}@10.0.0.2:554/live?token={SECRET}": "rtsp://...@10.0.0.2:554/...",
    f"rtsp://10.0.0.2/user=admin&password={SECRET}&channel=1&stream=0.sdp": "rtsp://10.0.0.2/...",
    f"rtsp://camera/user=admin_password={SECRET}_channel=1": "rtsp://camera/...",
    f"http://camera/{SECRET}/video.mjpg#{SECRET}": "http://camera/...",
    f"http://camera?pwd={SECRET}": "http://camera/...",
    f"http://[fe80::1%25eth0]:80/{SECRET}": "http://[fe80::1%25eth0]:80/...",
    f"rtsp://10.0.0.2/password=a@{SECRET}": "rtsp://10.0.0.2/...",
    # the host cannot be known
    f"rtsp://me:a/b@{SECRET}@camera/1": "rtsp://...",
    f"rtsp://me:a?{SECRET}@camera/1": "rtsp://...",
    f"rtsp://camera/password=a@{SECRET}": "rtsp://...",
    f"rtsp://camera:{SECRET}/1": "rtsp://...",
    "rtsp://...": "rtsp://...",
}

SENTENCES = (
    "{}: no video after 0.0 s; expected a camera",
    "source.url '{}': refused",
    "Error opening {}.",
    "the address ({}), and more",
    "{}",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_only_scheme_host_and_port_are_shown(address: str) -> None:
    assert redact_address(address) == ADDRESSES[address]
    for sentence in SENTENCES:
        text = redact(sentence.format(address))
        assert text == sentence.format(ADDRESSES[address])
        assert redact(text) == text


def test_an_address_that_became_a_path_is_shown_without_its_password() -> None:
    for scheme in ("rtsp", "rtsps", "http", "https"):
        path = Path(f"{scheme}://me:{SECRET}@camera/1")
        assert redact(f"log {path}: cannot be opened") == (
            f"log {scheme}://...@camera/...: cannot be opened"
        )
    assert redact("configuration:/etc/edge.toml") == "configuration:/etc/edge.toml"


def test_other_texts_are_left_alone() -> None:
    for text in (
        "ipc:///run/affect-edge/live",
        "tcp://127.0.0.1:5555",
        "clip@50fps 12:30.mp4",
        "folder/pass/frame=1.png",
        "no address at all: 12.0 s",
        "expected rtsp://, rtsps://, http:// or https:// before the address, such as 'rtsp://...'",
    ):
        assert redact(text) == text
        assert redact_address(text) == text or "rtsp://" in text


@pytest.mark.parametrize(
    "text",
    [
        f"rtsp://me:{SECRET} more@camera/1",
        f"RTMP://me:{SECRET}@camera/1",
        f"rtsp:/me:{SECRET}@camera/1",
        f"me:{SECRET}@192.168.7.20/1",
        f"//me:{SECRET}@192.168.7.20/1",
        f"192.168.7.20/user=admin&password={SECRET}",
    ],
)
def test_wrong_addresses_are_refused_without_their_password(text: str) -> None:
    def from_word() -> None:
        load_config(environment={}, overrides={"source": source_settings(text)})

    def from_settings(*settings: str) -> None:
        load_config(environment={}, settings=["device.purpose=safety", *settings])

    for attempt in (
        from_word,
        lambda: from_settings("source.kind=stream", f"source.url={text!r}"),
        lambda: from_settings("source.kind=stream", f"source.url=[{text!r}]"),
        lambda: from_settings(f"source.kind={text!r}"),
        lambda: from_settings(f"{text}=1"),
    ):
        with pytest.raises(ConfigError) as caught:
            attempt()
        assert SECRET not in str(caught.value)
