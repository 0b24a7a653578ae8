"""The adaptive schedule: a pure rule on a simulated clock, with a worker that obeys it."""

import math
import random
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config import Config
from edge.hub.board_watch import BoardState, BoardWatch
from edge.hub.event_log import log_event
from edge.hub.schedule import (
    CHANGE_S,
    FULL_EVERY_FACTOR_MAX,
    AdaptiveSchedule,
    Schedule,
    Work,
    faces_that_fit,
    full_look_factor,
)
from edge.link import FrameReport, Heartbeat
from edge.protocol.events import RateLimited, ScheduleChanged
from edge.protocol.messages import Face
from tests.support import wire

SECOND_NS = 1_000_000_000
COOL, HOT = 60.0, 90.0


def adaptive(
    rate_target_hz: float = 10.0, rate_min_hz: float = 1.0, *, has_mesh: bool = False
) -> AdaptiveSchedule:
    return AdaptiveSchedule(
        78.0, rate_target_hz=rate_target_hz, rate_min_hz=rate_min_hz, has_mesh=has_mesh
    )


@dataclass(frozen=True)
class Machine:
    """A worker of known speed, which does what the schedule says.

    Attributes:
        faces: in view, all usable.
        reading_ms: of a face.
        other_ms: of the classify thread for a frame, without readings.
        region_ms: of the detect thread for a frame without a full look.
        look_ms: of a full look.
        rate_hz: of the camera.
        mesh_ms: of the mesh in a frame in which it measures.
        contention: share of the mesh's time that the detect thread waits for it.
        noise: relative standard deviation of the measured times.
    """

    faces: int = 4
    reading_ms: float = 5.0
    other_ms: float = 2.0
    region_ms: float = 10.0
    look_ms: float = 60.0
    rate_hz: float = 10.0
    mesh_ms: float = 0.0
    contention: float = 0.0
    noise: float = 0.0

    def work(self, schedule: Schedule, chance: random.Random) -> Work:
        """Return what a frame costs with ``schedule``."""
        rate_hz = self.rate_hz / schedule.divisor
        readings = float(self.faces)
        if schedule.faces_per_frame:
            within_a_second = self.faces / max(1, math.floor(rate_hz))
            readings = min(readings, max(schedule.faces_per_frame, within_a_second))
        looks = min(1.0, 2 / schedule.full_every_factor / rate_hz)  # of a frame
        wrong = max(0.5, chance.gauss(1, self.noise))
        mesh_ms = self.mesh_ms / schedule.mesh_every if schedule.mesh_every else 0.0
        waits_ms = self.contention * mesh_ms
        return Work(
            mesh_ms=mesh_ms,
            detect_ms=wrong * (self.region_ms + looks * self.look_ms + waits_ms),
            classify_ms=wrong * (self.other_ms + readings * self.reading_ms),
            readings=readings,
            reading_ms=wrong * self.reading_ms if readings else 0.0,
            faces=self.faces,
        )


def followed(
    machine: Machine, seconds: int, *, celsius: float | None = COOL, rate_target_hz: float = 10.0
) -> list[Schedule]:
    """Return the schedule of each second."""
    chance, seen = random.Random(1), list[Schedule]()
    rule = adaptive(rate_target_hz, has_mesh=machine.mesh_ms > 0)
    for second in range(seconds):
        work = machine.work(rule.schedule, chance)
        expected_hz = machine.rate_hz / rule.schedule.divisor
        rule.update(second * SECOND_NS, celsius, None, work=work, expected_hz=expected_hz)
        seen.append(rule.schedule)
    return seen


def changes(seen: list[Schedule]) -> list[int]:
    """Return the seconds at which what is done changed."""
    return [at for at, (a, b) in enumerate(pairwise([Schedule(), *seen])) if a[:4] != b[:4]]


# -- what binds ------------------------------------------------------------------------------------


def test_a_machine_that_is_fast_enough_does_all_that_is_configured() -> None:
    assert set(followed(Machine(faces=15), 60)) == {Schedule()}
    # the target bounds, not the camera: 25 frames a second are not wanted at any price
    assert set(followed(Machine(faces=15, rate_hz=25.0), 60)) == {Schedule()}


def test_thirty_faces_are_read_in_turns_and_nothing_else_changes() -> None:
    *_, last = seen = followed(Machine(faces=30), 60)
    assert last == Schedule(faces_per_frame=15, bound_by=("classifier",))
    assert changes(seen) == [0]


def test_slow_full_looks_become_rarer_in_steps() -> None:
    seen = followed(Machine(look_ms=1000.0), 60)
    assert changes(seen) == [0, 10]
    assert [seen[0].full_every_factor, seen[-1].full_every_factor] == [2, 4]
    assert seen[-1].bound_by == ("detector",)
    assert seen[-1].divisor == 1


def test_a_hot_board_has_fewer_frames_and_rarer_full_looks() -> None:
    seen = followed(Machine(), 200, celsius=HOT)
    assert [(each.divisor, each.full_every_factor) for each in seen[::60]] == [
        (2, 2), (4, 4), (8, 4), (8, 4),
    ]  # fmt: skip
    assert {each.bound_by for each in seen} == {("temperature",)}


def test_a_higher_target_leaves_less_for_readings() -> None:
    crowd = Machine(faces=30, rate_hz=30.0)
    slow, fast = (followed(crowd, 60, rate_target_hz=rate)[-1] for rate in (10.0, 20.0))
    assert (slow.faces_per_frame, fast.faces_per_frame) == (15, 7)


def test_one_face_that_is_too_slow_to_read_cannot_take_turns() -> None:
    assert followed(Machine(faces=1, reading_ms=500.0), 30)[-1] == Schedule()


@pytest.mark.parametrize(
    ("machine", "mesh_every"),
    [
        # on a board whose cores are busy, the mesh delays the other thread
        (Machine(mesh_ms=40.0, contention=2.5), 4),
        (Machine(mesh_ms=40.0, contention=2.5, region_ms=75.0, look_ms=10.0), 0),
    ],
)
def test_the_mesh_gives_way_before_full_looks_do(machine: Machine, mesh_every: int) -> None:
    seen = followed(machine, 50)
    assert seen[-1] == Schedule(mesh_every=mesh_every, bound_by=("detector",))
    assert {each.full_every_factor for each in seen} == {1}


def test_the_mesh_gives_way_before_faces_do() -> None:
    seen = followed(Machine(faces=30, mesh_ms=20.0), 100)
    assert [seen[0], seen[10], seen[20]] == [
        Schedule(mesh_every=4, bound_by=("classifier",)),
        Schedule(mesh_every=0, bound_by=("classifier",)),
        Schedule(mesh_every=0, faces_per_frame=15, bound_by=("classifier",)),
    ]
    # with no time left, the mesh measures nothing, and leaving it out would gain nothing
    no_time = adaptive(has_mesh=True)
    no_time.update(0, COOL, None, work=Machine(faces=30).work(Schedule(), random.Random(1)))
    assert no_time.schedule == Schedule(faces_per_frame=15, bound_by=("classifier",))


def test_a_hot_board_stops_the_mesh_and_then_leaves_frames_out() -> None:
    seen = followed(Machine(mesh_ms=20.0), 200, celsius=HOT)
    assert seen[0] == Schedule(mesh_every=0, bound_by=("temperature",))
    assert [each.divisor for each in seen[::60]] == [1, 2, 4, 8]
    assert all(each.mesh_every == 0 for each in seen)


def test_the_mesh_comes_back_in_steps_when_the_board_has_cooled_down() -> None:
    rule, chance, machine = adaptive(has_mesh=True), random.Random(1), Machine(mesh_ms=20.0)
    seen = []
    for second in range(300):
        work = machine.work(rule.schedule, chance)
        celsius = HOT if second < 5 else 75.0 if second < 100 else COOL  # 75: not cool enough
        rule.update(second * SECOND_NS, celsius, None, work=work, expected_hz=10.0)
        seen.append(rule.schedule)
    assert {each.mesh_every for each in seen[:100]} == {0}
    assert {each.divisor for each in seen} == {1}
    assert [each.mesh_every for each in seen[100::60]] == [4, 1, 1, 1]
    assert seen[-1] == Schedule()


def test_when_the_crowd_has_gone_all_are_read_again() -> None:
    rule, crowd, chance = adaptive(), Machine(faces=30), random.Random(1)
    for second in range(60):
        machine = crowd if second < 30 else replace(crowd, faces=6 if second < 45 else 0)
        rule.update(second * SECOND_NS, COOL, None, work=machine.work(rule.schedule, chance))
        assert (rule.schedule.faces_per_frame > 0) == (second < 30), second
    rule.update(60 * SECOND_NS, COOL, None, work=crowd.work(rule.schedule, chance))
    assert rule.schedule.faces_per_frame
    rule.update(70 * SECOND_NS, COOL, None, work=replace(crowd, faces=0).work(Schedule(), chance))
    assert rule.schedule == Schedule()


# -- for any machine -------------------------------------------------------------------------------

machines = st.builds(
    Machine,
    faces=st.integers(0, 48),
    reading_ms=st.floats(0.2, 400),
    other_ms=st.floats(0, 200),
    region_ms=st.floats(0.2, 300),
    look_ms=st.floats(1, 2000),
    rate_hz=st.floats(0.5, 120),
)


@given(machines, st.sampled_from([COOL, HOT, None]), st.floats(0.5, 60))
@settings(deadline=None)
def test_it_settles_and_then_stays(
    machine: Machine, celsius: float | None, rate_target_hz: float
) -> None:
    seen = followed(machine, 400, celsius=celsius, rate_target_hz=rate_target_hz)
    assert not [at for at in changes(seen) if at > 300]


@given(machines, st.sampled_from([COOL, HOT, None]))
@settings(deadline=None)
def test_what_fits_is_done(machine: Machine, celsius: float | None) -> None:
    last = followed(machine, 400, celsius=celsius)[-1]
    every = machine.work(Schedule(divisor=last.divisor), random.Random(1))
    period_ms = 1e3 / max(1.0, min(10.0, machine.rate_hz / last.divisor))
    if every.classify_ms <= 0.75 * period_ms:
        assert not last.faces_per_frame
    if every.detect_ms <= 0.35 * period_ms:
        assert last.full_every_factor == min(last.divisor, FULL_EVERY_FACTOR_MAX)
    if last.faces_per_frame > 1:
        assert machine.work(last, random.Random(1)).classify_ms <= period_ms or (
            # each face is read within a second, whatever it costs
            last.faces_per_frame < machine.faces / math.floor(machine.rate_hz / last.divisor)
        )


WORKS = st.builds(
    Work,
    detect_ms=st.floats(0, 3000),
    classify_ms=st.floats(0, 3000),
    readings=st.floats(0, 48),
    reading_ms=st.floats(0, 1e9),
    faces=st.integers(0, 48),
    mesh_ms=st.sampled_from([0.0, 20.0]),
)
READINGS = st.tuples(
    st.none() | st.floats(-50, 150),
    st.none() | st.fixed_dictionaries({"under_voltage": st.booleans()}),
    st.none() | WORKS,
    st.none() | st.floats(0.01, 200),
)


@given(
    st.lists(st.tuples(READINGS, st.integers(1, 40)), max_size=30),
    st.floats(0.2, 30),
    st.booleans(),
)
@settings(deadline=None)
def test_whatever_is_measured_it_changes_at_most_every_ten_seconds(
    spans: list[tuple[tuple[float | None, dict[str, bool] | None, Work | None, float | None], int]],
    rate_target_hz: float,
    has_mesh: bool,
) -> None:
    rule, second, seen = adaptive(rate_target_hz, has_mesh=has_mesh), 0, [Schedule()]
    for (celsius, flags, work, expected_hz), seconds in spans:
        for _ in range(seconds):
            changed = rule.update(
                second * SECOND_NS, celsius, flags, work=work, expected_hz=expected_hz
            )
            assert changed == (rule.schedule != seen[-1])
            seen.append(rule.schedule)
            second += 1
    times = changes(seen)
    assert all(later - earlier >= CHANGE_S for earlier, later in pairwise(times))
    for each in seen:
        assert each.divisor in (1, 2, 4, 8)
        assert each.full_every_factor in (1, 2, 4)
        assert 0 <= each.faces_per_frame <= 48
        assert bool(each.bound_by) == (each[:4] != (1, 0, 1, 1))
        assert each.mesh_every in (0, 1, 4)
        assert has_mesh or each.mesh_every == 1
        assert has_mesh or ("classifier" in each.bound_by) == (each.faces_per_frame > 0)


def test_noise_of_a_tenth_does_not_make_it_flicker() -> None:
    for faces, look_ms in ((19, 60.0), (30, 60.0), (4, 480.0), (19, 350.0)):
        seen = followed(Machine(faces=faces, look_ms=look_ms, noise=0.05), 3600)
        assert len(changes(seen)) <= 12, (faces, look_ms)


@pytest.mark.parametrize("limit", [0, 3])
def test_without_a_reading_the_limit_is_not_guessed(limit: int) -> None:
    work = Work(10.0, 500.0, 0.0, 0.0, 5)
    assert faces_that_fit(work, 100.0, limit) == limit
    assert full_look_factor(work, 100.0, 2) == 1


# -- in the hub ------------------------------------------------------------------------------------


def report(at_s: float, faces: list[Face], **stage_ms: float) -> FrameReport:
    ns = round(at_s * SECOND_NS)
    return FrameReport(
        index=round(at_s * 10), width=640, height=360, ignored=0, sensor_ns=ns, captured_ns=ns,
        clock="monotonic", exposure_us=None, file=None, page=None, stage_ms=stage_ms,
        faces_json=b"", faces=faces,
    )  # fmt: skip


def crowd(read: int, kept: int) -> list[Face]:
    """Return so many faces with a new reading, and so many with a kept one."""
    faces = []
    for track in range(read + kept):
        raw = wire.face(track)
        raw["expression"] = {**raw["expression"], "age_s": 0.0 if track < read else 0.2}
        faces.append(Face.model_validate(raw))
    return [*faces, Face.model_validate(wire.face(99, reasons=("too_dark",), classified=False))]


BEAT = Heartbeat(
    live=True, expected_hz=10.0, captured=0, dropped={}, busy_s={}, rss_mb=100.0
)  # fmt: skip


def watched(tmp_path: Path, config: Config, faces: list[Face], **stage_ms: float) -> BoardState:
    """Return the state of the board after five seconds of such frames."""
    board = config.limits.model_copy(update={"board_root": str(tmp_path)})
    watch = BoardWatch(config.model_copy(update={"limits": board}), adapts=True)
    for number in range(50):
        at_ns = number * SECOND_NS // 10
        watch.note_frame(report(number / 10, faces, **stage_ms), at_ns)
        state = watch.read(at_ns, BEAT)
        if state.changes:
            assert number == 30, "three seconds of measurements"
            return state
    return state


def test_the_reports_of_the_worker_decide(tmp_path: Path) -> None:
    slow = {"quality": 8.0, "crop": 12.0, "classify": 144.0, "smooth": 24.0, "detect": 30.0}
    state = watched(tmp_path, Config(), crowd(read=12, kept=0), **slow)
    # 15 ms a face: (0.8 x 100 - 8) / 15
    assert state.changes == (
        ScheduleChanged(faces_per_frame=4, full_every_s=0.5, bound_by=["classifier"]),
    )
    assert state.limit is not None
    assert (state.limit.divisor, state.limit.faces_per_frame) == (1, 4)
    assert state.schedule is not None
    assert state.schedule.model_dump() == state.changes[0].model_dump()
    # those that keep their reading cost nothing
    fast = {"quality": 8.0, "classify": 60.0}
    assert watched(tmp_path, Config(), crowd(read=4, kept=8), **fast).changes == ()


def test_a_configured_limit_and_every_frame_in_full_are_said(tmp_path: Path) -> None:
    config = Config.model_validate(
        {"detector": {"schedule": "every-frame"}, "expression": {"faces_per_frame": 3}}
    )
    state = watched(tmp_path, config, crowd(2, 4), detect=300.0)
    assert state.schedule is not None
    assert state.schedule.model_dump() == {
        "faces_per_frame": 3, "full_every_s": None, "mesh_every": None, "bound_by": [],
    }  # fmt: skip


def test_a_hot_board_changes_both_at_once(tmp_path: Path) -> None:
    sensor = tmp_path / "sys/class/thermal/thermal_zone0/temp"
    sensor.parent.mkdir(parents=True)
    sensor.write_text("86000\n")
    config = Config.model_validate({"limits": {"board_root": str(tmp_path)}})
    state = BoardWatch(config, adapts=True).read(SECOND_NS, BEAT)
    assert state.changes == (
        RateLimited(divisor=2, reason="temperature", soc_celsius=86.0),
        ScheduleChanged(faces_per_frame=0, full_every_s=1.0, bound_by=["temperature"]),
    )
    idle = BoardWatch(config, adapts=False).read(SECOND_NS, BEAT)
    assert (idle.changes, idle.limit, idle.rate_divisor) == ((), None, 1)


@pytest.mark.parametrize("ms", [0.0, 5e-324, 1e-300, 1e300, 1.7e308])
def test_no_report_of_a_worker_stops_the_hub(tmp_path: Path, ms: float) -> None:
    times = dict.fromkeys(("resize", "detect", "quality", "crop", "classify", "smooth"), ms)
    watched(tmp_path, Config(), crowd(read=2, kept=1), **times)


def test_the_log_says_what_binds_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="affect_edge")
    for faces, looks, mesh, bound_by in (
        (4, 0.5, 4, ["classifier"]),
        (0, None, None, ["temperature"]),
        (0, None, 0, ["temperature"]),
        (0, 1, 1, []),
    ):
        fields = {"faces_per_frame": faces, "full_every_s": looks, "bound_by": bound_by}
        fields["mesh_every"] = mesh
        log_event(ScheduleChanged.model_validate(fields))
    assert caplog.messages == [
        "4 faces are read in a frame, full looks every 0.5 s, the mesh measures in one frame of 4:"
        " bound by classifier",
        "all faces are read in a frame: bound by temperature",
        "all faces are read in a frame, the mesh is off: bound by temperature",
        "faces are read, and full looks come, as configured again",
    ]
