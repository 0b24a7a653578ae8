"""The preview in the hub: who may open it, how it closes, and what it keeps."""

from typing import Any

import pytest

from edge import clock
from edge.config import Config, PreviewConfig, PublishConfig, load_config
from edge.errors import ConfigError, RequestRefused
from edge.hub.preview import Preview
from edge.link import PreviewPicture
from edge.protocol.detail import Detail
from edge.protocol.events import PreviewClosed, PreviewOpened

PICTURE = PreviewPicture(index=7, width=320, height=180, jpeg="aGVsbG8=")


class Opened:
    """A preview on an invented clock, with what it sends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **config: Any) -> None:
        self.now_ns = 10**12
        monkeypatch.setattr(clock, "monotonic_ns", lambda: self.now_ns)
        self.events: list[Detail] = []
        self.widths: list[int] = []
        self.preview = Preview(
            PreviewConfig(**({"enabled": True} | config)), self.events.append, self.widths.append
        )


def test_it_is_off_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Config().preview.enabled is False
    off = Opened(monkeypatch, enabled=False)
    for action in ("open", "picture", "close"):
        with pytest.raises(RequestRefused, match=r"preview\.enabled = true"):
            off.preview.request(action)
    off.preview.note(PICTURE)
    assert (off.events, off.widths, off.preview._newest) == ([], [], None)


def test_it_needs_the_service() -> None:
    with pytest.raises(ConfigError, match=r"preview\.enabled: nobody can open it"):
        load_config(
            settings=["preview.enabled=true", 'publish.service_endpoint=""'], environment={}
        )
    assert Config(publish=PublishConfig(service_endpoint="")).preview.enabled is False


@pytest.mark.parametrize("key", ["minutes=11", "minutes=0", "width_px=2000", "enabled=1"])
def test_limits_of_the_configuration(key: str) -> None:
    with pytest.raises(ConfigError, match=r"preview\."):
        load_config(settings=[f"preview.{key}"], environment={})


def test_it_is_opened_and_closed_with_an_event_each(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Opened(monkeypatch)
    with pytest.raises(RequestRefused, match="closed; open it first"):
        opened.preview.request("picture")
    assert opened.preview.request("open") == {"left_s": 300.0}
    with pytest.raises(RequestRefused, match="is open; close it first"):
        opened.preview.request("open")
    with pytest.raises(RequestRefused, match="no picture has come"):
        opened.preview.request("picture")
    opened.preview.note(PICTURE)
    opened.now_ns += 2 * 10**9
    assert opened.preview.request("picture") == {
        "index": 7, "width": 320, "height": 180, "jpeg": "aGVsbG8=", "age_s": 2.0, "left_s": 298.0,
    }  # fmt: skip
    assert opened.preview.request("close") == {"left_s": None}
    opened.preview.close("stopped")  # it is closed
    assert opened.widths == [320, 0]
    assert opened.events == [
        PreviewOpened(minutes=5.0, width_px=320),
        PreviewClosed(reason="requested", pictures=1),
    ]
    opened.preview.note(PICTURE)  # one that was under way
    assert opened.preview._newest is None


def test_it_closes_by_itself_whatever_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Opened(monkeypatch, minutes=1.0)
    opened.preview.request("open")
    opened.preview.note(PICTURE)
    for _ in range(59):
        opened.now_ns += 10**9
        opened.preview.request("picture")
    opened.now_ns += 10**9
    with pytest.raises(RequestRefused, match="closed"):
        opened.preview.request("picture")
    assert opened.preview.left_s is None
    assert opened.preview._newest is None
    assert opened.events[-1] == PreviewClosed(reason="expired", pictures=59)
    opened.preview.request("open")  # again, and it is recorded again
    assert [each.event for each in opened.events].count("preview_opened") == 2
