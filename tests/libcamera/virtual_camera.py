"""What picamera2 needs and the virtual camera of libcamera 0.4 lacks; all else is libcamera's own.

- Raw formats: picamera2 lists them when it opens a camera, and the virtual one has none.
- Buffers of NV12 have two planes; picamera2 makes buffers of one.
- The status of a buffer: the virtual camera never sets it, so that it is whatever lay in memory,
  and picamera2 throws away what is not a success.
- A pace: the virtual camera draws as fast as it can.
- DMA memory, which needs a kernel with its drivers: memory files, as for the stub.

``install`` must run before picamera2 is imported; in a daemon ``site/sitecustomize.py`` does.
"""

import functools
import importlib.util
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

STUB = Path(__file__).resolve().parents[1] / "picamera2_stack/stub"
SIZES = ((640, 480), (1280, 720))
"""Of the pictures that it draws, as ``scripts/libcamera-python`` says."""

PERIOD_S = 1 / 30

SILENT = Path(tempfile.gettempdir()) / "virtual-camera-is-silent"
"""While this file exists, the camera gets no requests and delivers nothing, as if it were stuck."""


@functools.cache
def install() -> None:
    """Change the binding of libcamera in this process."""
    import libcamera

    sys.path.append(str(STUB))  # for pykms, pidng and others, which picamera2 only imports
    _load("picamera2.dma_heap", STUB / "libcamera/_dma_heap.py")
    _give_raw_formats(libcamera)
    _split_buffers(libcamera)
    success = libcamera.FrameMetadata.Status.Success
    libcamera.FrameMetadata.status = property(lambda _metadata: success)
    _keep_the_pace(libcamera)


def _load(name: str, path: Path) -> None:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


def _give_raw_formats(libcamera: Any) -> None:
    original = libcamera.Camera.generate_configuration

    def generate_configuration(camera: Any, roles: list[Any]) -> Any:
        if roles != [libcamera.StreamRole.Raw]:
            return original(camera, roles)
        sizes = [libcamera.Size(*size) for size in SIZES]
        formats = SimpleNamespace(pixel_formats=["R8"], sizes=lambda _format: sizes)
        return SimpleNamespace(at=lambda _index: SimpleNamespace(formats=formats))

    libcamera.Camera.generate_configuration = generate_configuration


def _split_buffers(libcamera: Any) -> None:
    frame_buffer, new_plane = libcamera.FrameBuffer, libcamera.FrameBuffer.Plane

    def two_planes(planes: list[Any]) -> Any:
        if len(planes) != 1:
            return frame_buffer(planes)
        (luma,) = planes
        colour = new_plane()
        colour.fd = luma.fd
        colour.length = luma.length // 3
        luma.length -= colour.length
        colour.offset = luma.length
        return frame_buffer([luma, colour])

    two_planes.Plane = new_plane  # type: ignore[attr-defined]
    libcamera.FrameBuffer = two_planes


def _keep_the_pace(libcamera: Any) -> None:
    ready, queue = libcamera.CameraManager.get_ready_requests, libcamera.Camera.queue_request

    def get_ready_requests(manager: Any) -> list[Any]:
        requests: list[Any] = ready(manager)
        if requests:
            time.sleep(PERIOD_S)
        return requests

    def queue_request(camera: Any, request: Any) -> None:
        if not SILENT.exists():
            queue(camera, request)

    libcamera.CameraManager.get_ready_requests = get_ready_requests
    libcamera.Camera.queue_request = queue_request
