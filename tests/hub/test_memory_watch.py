"""How growth of memory is assessed, with sizes that the test sets."""

from collections.abc import Iterator

import pytest

from edge.hub.memory_watch import FAST_MB, LARGE_MB, Growth, MemoryWatch

MS = 1_000_000


class Watch:
    """A memory watch, its clock, and the size of the process that it sees."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mb = 60.0
        monkeypatch.setattr(MemoryWatch, "used_mb", lambda _: self.mb)
        self.watch = MemoryWatch()
        self.now_ns = 0

    def run(self, seconds: float, *, to_mb: float | None = None) -> set[Growth]:
        """Let time pass, and the size change evenly; return each assessment."""
        steps, begin = int(seconds * 50), self.mb
        found = set()
        for step in range(1, steps + 1):
            if to_mb is not None:
                self.mb = begin + (to_mb - begin) * step / steps
            self.now_ns += 20 * MS
            found.add(self.watch.assess(self.now_ns))
        return found


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    made = Watch(monkeypatch)
    yield made
    made.watch.close()


def test_slow_growth_is_normal(watch: Watch) -> None:
    assert watch.run(60, to_mb=60 + LARGE_MB - 1) == {Growth.NORMAL}
    assert not watch.watch.is_growing


def test_fast_growth_is_noticed(watch: Watch) -> None:
    watch.run(1)
    assert Growth.FAST in watch.run(0.2, to_mb=60 + FAST_MB + 1)
    assert watch.watch.is_growing


def test_large_growth_without_connections_becomes_usual(watch: Watch) -> None:
    watch.run(60, to_mb=60 + LARGE_MB - 1)
    assert Growth.LARGE in watch.run(0.2, to_mb=60 + LARGE_MB + 1)
    assert watch.run(10) == {Growth.NORMAL}
    assert watch.run(60, to_mb=60 + 2 * LARGE_MB) == {Growth.NORMAL}


def test_memory_that_cut_connections_have_used_does_not_become_usual(watch: Watch) -> None:
    watch.run(60, to_mb=60 + LARGE_MB - 1)
    watch.run(0.1, to_mb=60 + LARGE_MB + 1)
    for _ in range(5):
        watch.watch.note_cut(watch.now_ns)
        assert Growth.LARGE in watch.run(0.6)


def test_memory_is_normal_again_after_connections_were_cut(watch: Watch) -> None:
    watch.run(60, to_mb=60 + LARGE_MB - 1)
    assert Growth.LARGE in watch.run(0.1, to_mb=60 + LARGE_MB + 1)
    watch.watch.note_cut(watch.now_ns)
    watch.mb = 62
    assert watch.run(2) == {Growth.NORMAL}
    assert not watch.watch.is_growing
