"""The link between hub and worker."""

import fcntl
import resource
import socket
from collections.abc import Iterator

import pytest

from edge.link import Ended, EventReport, Link, LinkClosed, ReportRefused
from edge.protocol.events import Mark


@pytest.fixture
def many_files() -> Iterator[None]:
    """A limit that allows descriptors above 1023."""
    limit, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= maximum < 2048:
        pytest.skip("this system allows fewer than 2048 open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2048, maximum))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, maximum))


@pytest.mark.usefixtures("many_files")
def test_a_link_works_with_a_high_descriptor() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        high = Link(socket.socket(fileno=fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, 1500)))
        worker = Link.inherited(fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, 0))
    assert high.fileno() >= 1500
    assert high.receive(0.01) is None
    worker.send(Ended())
    assert high.receive(1.0) == Ended()
    worker.close()
    with pytest.raises(LinkClosed):
        high.receive(1.0)
    high.close()


def test_a_thread_that_sends_after_the_close_is_told_so() -> None:
    ours, theirs = Link.pair()
    with theirs:
        ours.close()
        with pytest.raises(LinkClosed):
            ours.send(Ended())


@pytest.mark.parametrize(
    "raw", [b"{", b"[]", b"\xff\xfe", b'{"kind":"zoo"}', b'{"kind":"ended","more":1}', b"\0" * 500]
)
def test_what_is_no_report_is_refused_in_one_line(raw: bytes) -> None:
    ours, theirs = Link.pair()
    with theirs:
        theirs.send(raw)
        with pytest.raises(ReportRefused) as error:
            ours.receive(1.0)
        assert "\n" not in str(error.value)
        Link(theirs).send(Ended())
        assert ours.receive(1.0) == Ended()
    ours.close()


@pytest.mark.parametrize(("event", "detail"), [("zoo", {}), ("mark", {"text": 1}), ("mark", {})])
def test_an_event_that_does_not_fit_its_model_is_refused(
    event: str, detail: dict[str, object]
) -> None:
    assert EventReport.of(Mark(text="x")).parse() == Mark(text="x")
    with pytest.raises(ReportRefused, match=event):
        EventReport(event=event, detail=detail).parse()
