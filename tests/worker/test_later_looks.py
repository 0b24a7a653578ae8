"""A full look that nobody waits for is taken after the answer, where cores are few."""

import threading

import pytest

from edge.errors import EndOfStream
from edge.vision.values import Frame, FrameState, FrameTracks
from edge.worker import threads
from tests.support.rectangles import RATE_HZ, box, frame_at
from tests.support.waiting import HANG_S
from tests.vision.regions.test_finder import World
from tests.worker.test_worker import CAMERA, ScriptedSource, is_last, raises, reports, running

TOO_EARLY_S = 0.2  # long enough for a look that does not wait


class Watched:
    """A camera with three frames, of which the second leaves a look; what happens to that one.

    Args:
        third_waits_for: names of the events below after which the third frame comes.
        answer_waits_s: the answer waits for the look for so long at most.

    Attributes:
        order: "look" and "answer" of the second frame, as they ended.
        classifying: set when its classification begins.
        looked: set after its look.
    """

    def __init__(self, *third_waits_for: str, answer_waits_s: float = HANG_S) -> None:
        self.order: list[str] = []
        self.classifying, self.looked = threading.Event(), threading.Event()
        self._first = threading.Event()
        self._answer_waits_s = answer_waits_s
        self._third: list[threading.Event] = [getattr(self, name) for name in third_waits_for]
        world = World(full_every_s=0.5 / RATE_HZ)
        self.pipeline = world.pipeline
        self._classify, self._finish_look = world.pipeline.classify, world.pipeline.finish_look
        world.pipeline.classify = self.classify  # type: ignore[method-assign]
        world.pipeline.finish_look = self.finish_look  # type: ignore[method-assign]

    def source(self) -> ScriptedSource:
        return ScriptedSource(
            True,
            iter([
                lambda: self._frame(0),
                lambda: self._frame(1, after=[self._first]),
                lambda: self._frame(2, after=self._third),
                raises(EndOfStream("x")),
            ]),
        )  # fmt: skip

    def _frame(self, index: int, after: list[threading.Event] | None = None) -> Frame:
        assert all(event.wait(HANG_S) for event in after or ())
        return frame_at(index / RATE_HZ, {100: box(300)}, index=index)

    def classify(self, tracked: FrameTracks, *, keeps_rate: bool = False) -> FrameState:
        if tracked.frame.index == 1:
            self.classifying.set()
            self.looked.wait(self._answer_waits_s)
            self.order.append("answer")
        state = self._classify(tracked, keeps_rate=keeps_rate)
        self._first.set()
        return state

    def finish_look(self) -> None:
        if self.pipeline.leaves_look and not self.looked.is_set():
            self.order.append("look")
            self.looked.set()
        self._finish_look()


def run(monkeypatch: pytest.MonkeyPatch, watched: Watched, *, share_cores: bool) -> list[str]:
    monkeypatch.setattr(threads, "stages_share_cores", lambda: share_cores)
    with running(
        monkeypatch, CAMERA, watched.source(), pipeline=watched.pipeline, lossless=False
    ) as (hub, _, _):
        reports(hub, is_last)
    return watched.order


def test_a_look_follows_the_answer_where_stages_share_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = Watched("looked", answer_waits_s=TOO_EARLY_S)
    assert run(monkeypatch, watched, share_cores=True) == ["answer", "look"]


def test_the_next_frame_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched("classifying")
    assert run(monkeypatch, watched, share_cores=True) == ["look", "answer"]


def test_no_look_waits_where_each_stage_has_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched("classifying", "looked")
    assert run(monkeypatch, watched, share_cores=False) == ["look", "answer"]
