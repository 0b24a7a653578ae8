"""The page's server with a state that a test fills as fast as it likes: hours in seconds.

``python -m tests.support.simulated_page FACES``: writes its address; then, for each line
``SECONDS`` on standard input, shows so many seconds of messages, one frame a second, and answers
with a line. A number below 0 sets the daemon's clock back.
"""

import asyncio
import sys
import threading
import time
from types import SimpleNamespace

from edge.dashboard.app import PageSettings, make_app
from edge.dashboard.server import listen
from edge.dashboard.state import State
from edge.dashboard.tokens import Sessions
from edge.dashboard.viewers import Viewers
from edge.dashboard.web_guard import HostCheck
from edge.dashboard.web_server import WebServer
from edge.protocol.messages import FrameMessage
from tests.support.page_messages import BEGAN_NS, event, frame, status

CHUNK_S = 100  # shown between two updates of the page


def main(faces: int) -> None:
    """Serve until standard input ends."""
    state = State()
    viewers = Viewers(state, 4)
    hosts = HostCheck("127.0.0.1", ())
    listener = listen("127.0.0.1", 0, "127.0.0.1:0")
    app = make_app(state, Sessions(b""), viewers, hosts, PageSettings())
    web = WebServer(app, SimpleNamespace(tls_cert=None, tls_key=None), listener)
    pool = [frame(index, *range(faces)) for index in range(60)]
    second = 0
    offset_ns = time.time_ns() - 13 * 3600 * 1_000_000_000 - BEGAN_NS

    def show(seconds: int) -> None:
        nonlocal second, offset_ns
        offset_ns += min(0, seconds) * 1_000_000_000
        for _ in range(seconds):
            second += 1
            like = pool[second % 60]
            unix_ns = BEGAN_NS + offset_ns + second * 1_000_000_000
            when = like.time.model_copy(update={"unix_ns": unix_ns})
            message = FrameMessage.model_construct(**{**dict(like), "time": when, "seq": second})
            state.apply(message, backfilled=False)
            if second % 300 == 0:
                state.apply(event(second, "mark", text=f"minute {second // 60}"), backfilled=False)
            if second % CHUNK_S == 0:
                state.apply(status(), backfilled=False)
                time.sleep(0.12)

    def feed() -> None:
        for line in sys.stdin:
            show(int(line))
            print("shown", flush=True)
        web.should_exit = True
        viewers.stop()

    async def serve() -> None:
        watching = asyncio.ensure_future(viewers.watch())
        await web.serve(sockets=[listener])
        await watching

    print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
    threading.Thread(target=feed, daemon=True).start()
    asyncio.run(serve())


if __name__ == "__main__":
    main(int(sys.argv[1]))
