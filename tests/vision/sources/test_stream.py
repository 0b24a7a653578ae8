"""Network cameras that stop, freeze, do not answer, or answer with something else."""

import itertools
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.config import StreamSource
from edge.errors import ConfigError, FrameRefused, SourceStalled, SourceUnavailable
from edge.vision.sources.decode import Plane
from edge.vision.sources.stream import Stream
from tests.support.ports import free_port
from tests.support.source_media import (
    address,
    connected,
    encode,
    grey_by_opencv,
    served,
    with_damaged_packets,
)
from tests.support.waiting import QuietTime

SECRET = "hunter2"
MARGIN_S = 1.5  # tolerance of time limits


def camera(port: int, *, path: str = "camera.ts") -> StreamSource:
    return StreamSource(
        kind="stream",
        url=f"http://admin:{SECRET}@127.0.0.1:{port}/{path}?token={SECRET}",
        open_timeout_s=1.0,
        read_timeout_s=0.5,
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stream") / "clip.ts"
    return encode(path, "-c:v", "libx264", "-g", "5", "-bf", "0", frames=25)


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_stream_that_stops_is_a_stall_and_can_be_reopened(
    clip: Path, fault: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    config = StreamSource(kind="stream", url=address(port), read_timeout_s=1.0)
    with served(clip, port) as server, connected(config) as source:
        frames = [source.read() for _ in range(10)]
        server.send_signal(fault)
        began = QuietTime()
        with pytest.raises(SourceStalled, match="opened again") as caught:
            frames.extend(iter(source.read, None))
        # frames in transit still arrive; then one time limit passes
        assert began.elapsed_s < 2 * 1.0 + MARGIN_S
    assert "\n" not in str(caught.value)
    following = frames[-1].index + 1
    with served(clip, port), connected(config, following) as source:
        assert source.read().index == following
    assert capfd.readouterr() == ("", "")


def test_damaged_packets_do_not_end_the_connection(tmp_path: Path) -> None:
    whole = encode(tmp_path / "clip.mkv", "-c:v", "libx264", "-g", "5", "-bf", "0", frames=25)
    damaged = with_damaged_packets(whole, {3, 4, 11, 18})
    port = free_port()
    indices, refusals = [], []
    with served(damaged, port), connected(StreamSource(kind="stream", url=address(port))) as source:
        while len(refusals) < 6:  # the clip is served again and again
            try:
                indices.append(source.read().index)
            except FrameRefused as error:
                refusals.append(str(error))
    assert all("damaged packet" in reason for reason in refusals)
    assert len(indices) > 20
    assert indices[-1] + 1 <= len(indices) + len(refusals) <= indices[-1] + 4
    assert indices == sorted(set(indices))


def test_interlaced_camera_is_refused_before_a_frame(tmp_path: Path) -> None:
    options = ("-vf", "scale=320:192,setfield=tff", "-flags", "+ildct+ilme", "-c:v", "mpeg2video")
    fields = encode(tmp_path / "clip.ts", *options, frames=25)
    port = free_port()
    config = StreamSource(kind="stream", url=address(port))
    refused = pytest.raises(ConfigError, match=r"source\.url .* interlaced")
    with served(fields, port), connected(config) as source, refused as caught:
        source.read()
    assert "configure the camera" in str(caught.value)


def test_progressive_camera_that_may_send_fields_may_show_a_still_scene(tmp_path: Path) -> None:
    options = ("-vf", "scale=320:192,loop=25:1", "-x264-params", "fake-interlaced=1:keyint=5")
    still = encode(tmp_path / "clip.ts", "-c:v", "libx264", "-bf", "0", *options, frames=25)
    port = free_port()
    with served(still, port), connected(StreamSource(kind="stream", url=address(port))) as source:
        frames = [source.read() for _ in range(20)]
    assert any(np.array_equal(one.luma, other.luma) for one, other in itertools.pairwise(frames)), (
        "the pictures of the test are equal"
    )
    assert min(frame.luma.max() for frame in frames) > 100


def test_luma_is_that_of_the_served_file(clip: Path) -> None:
    port = free_port()
    with served(clip, port), connected(StreamSource(kind="stream", url=address(port))) as source:
        first = source.read()
        assert source._reader is not None
        assert source._reader.plane is Plane.FULL  # what the clip's header says
    apart = [float(cv2.absdiff(first.luma, grey).mean()) for grey in grey_by_opencv(clip)]
    assert min(apart) == 0.0


def test_a_picture_does_not_wait_for_one_later_picture_for_each_core(clip: Path) -> None:
    port = free_port()
    with served(clip, port), connected(StreamSource(kind="stream", url=address(port))) as source:
        source.read()
        # a second decoding thread would hold one picture back, a fourth one three
        assert source._capture.get(cv2.CAP_PROP_N_THREADS) == 1


@contextmanager
def answering(reply: bytes | None) -> Iterator[int]:
    """A server that sends one reply to each client, or accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        clients = []

        def serve() -> None:
            while True:
                try:
                    client = server.accept()[0]
                except OSError:
                    return
                clients.append(client)
                if reply is not None:
                    with suppress(OSError):  # a client may leave before the end of the answer
                        client.recv(65536)
                        client.sendall(reply)
                        client.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for client in clients:
                client.close()


def http(status: str, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


REPLIES = {
    "silent": None,
    "closes": b"",
    "404": http("404 Not Found"),
    "401": http("401 Unauthorized"),
    "text": http("200 OK", b"<html>log in</html>\n" * 100),
    "noise": http("200 OK", np.random.default_rng(6).bytes(20_000)),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
}


@pytest.mark.parametrize("reply", REPLIES)
def test_server_without_video_is_unavailable(reply: str, capfd: pytest.CaptureFixture[str]) -> None:
    before = dict(os.environ)
    with answering(REPLIES[reply]) as port:
        began = QuietTime()
        with pytest.raises(SourceUnavailable) as caught, Stream(camera(port)):
            pass
        assert began.elapsed_s < 1.0 + MARGIN_S
    assert SECRET not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert {**os.environ, "OPENCV_FFMPEG_LOGLEVEL": ""} == {**before, "OPENCV_FFMPEG_LOGLEVEL": ""}


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_closed_port_is_reported_at_once(scheme: str) -> None:
    config = StreamSource(kind="stream", url=f"{scheme}://u:{SECRET}@127.0.0.1:{free_port()}/a")
    began = QuietTime()
    with pytest.raises(SourceUnavailable) as caught, Stream(config):
        pass
    assert began.elapsed_s < 3.0 + MARGIN_S
    assert SECRET not in str(caught.value)


def test_transport_is_passed_to_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    options: list[str] = []

    class Closed:
        def __init__(self, *_: object) -> None:
            options.append(os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"])

        def isOpened(self) -> bool:  # noqa: N802  (OpenCV's name)
            return False

        def release(self) -> None:
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Closed)
    for transport in ("tcp", "udp"):
        config = StreamSource.model_validate(
            {"kind": "stream", "url": "rtsp://camera/1", "transport": transport}
        )
        with pytest.raises(SourceUnavailable), Stream(config):
            pass
    assert [each.split("|")[0] for each in options] == [
        "rtsp_transport;tcp",
        "rtsp_transport;udp",
    ]
    assert "OPENCV_FFMPEG_CAPTURE_OPTIONS" not in os.environ
