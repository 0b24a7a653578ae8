"""A network camera that sends JPEG pictures over HTTP, and can be made to freeze."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2

from edge.vision.values import Luma


class MjpegCamera:
    """Serves pictures, each to one client, at 15 frames per second; a context manager.

    Args:
        picture: gives the picture with a number.

    Attributes:
        frozen: while it is set, the number stays the same.
        connections: how many there were.
        number: of the latest picture.
    """

    def __init__(self, picture: Callable[[int], Luma]) -> None:
        self.frozen = threading.Event()
        self.connections = self.number = 0
        self._end = threading.Event()
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                camera.connections += 1
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                while not camera._end.wait(1 / 15):
                    camera.number += not camera.frozen.is_set()
                    data = cv2.imencode(".jpg", picture(camera.number))[1].tobytes()
                    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}"
                    try:
                        self.wfile.write(f"--frame\r\n{head}\r\n\r\n".encode() + data + b"\r\n")
                    except OSError:
                        return  # the client has gone

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/video.mjpg"

    def __enter__(self) -> "MjpegCamera":
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
