"""``python -m benchmarks cost``: operations of a frame, and a PREDICTION for boards not measured.

Nothing here is a measurement of a Raspberry Pi. The time of a network is predicted from its
operations, the peak of a core, and the share of the peak that runtimes reach; every constant has
its source in ``CONSTANTS``. Two cases bound the answer: ``optimistic`` assumes the shares that were
measured on x86-64, ``cautious`` those that a published benchmark of four threads on a Raspberry Pi
4 gives, or half of the measured ones where nothing is published.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from rich.console import Console
from rich.table import Table

from benchmarks.arguments import add_configuration, add_result_file, configuration_of
from benchmarks.board import machine
from benchmarks.operations import multiply_adds
from edge.config import Config
from edge.errors import ConfigError
from edge.vision.inference import find_model, load_manifest
from edge.vision.pipeline import MAX_FACES

Case = Literal["cautious", "optimistic"]
Role = Literal["full", "region", "face"]
"""What a network does: search the full frame, find a known face again, or classify a face."""

Shares = dict[Role, tuple[float, float]]
"""Share of the peak that a network reaches: float32, int8."""

CASES: Final[tuple[Case, Case]] = ("cautious", "optimistic")

REGION_SIDE: Final = 96
"""Input of the detector of regions, pixels."""

FULL_LOOK_EVERY_S: Final = 0.5


@dataclass(frozen=True)
class Core:
    """A processor core of a board.

    Attributes:
        goal_fps: frames a second that the project wants of the board, with one face.
        flop_per_cycle: float32 operations (two for each multiply-add) at the peak.
        int8_per_cycle: int8 operations at the peak.
        shares: by case.
        slowdown: by case, time of other code relative to the x86-64 core.
    """

    name: str
    board: str
    ghz: float
    goal_fps: float
    flop_per_cycle: int
    int8_per_cycle: int
    shares: dict[Case, Shares]
    slowdown: dict[Case, float]


_X86: Final[Shares] = {"full": (0.83, 0.31), "region": (0.88, 0.17), "face": (0.74, 0.22)}
_XNNPACK_FLOAT: Final = 2 * 300.8e6 / 46e-3 / (4 * 1.5e9 * 8)  # MobileNetV2: 300.8 million
_XNNPACK_INT8: Final = 2 * 300.8e6 / 17e-3 / (4 * 1.5e9 * 16)  # multiply-adds, 46 and 17 ms

CORES: Final = (
    Core(
        "Cortex-A72", "Raspberry Pi 4", 1.8, 30, 8, 16,
        {
            "cautious": dict.fromkeys(_X86, (_XNNPACK_FLOAT, _XNNPACK_INT8)),
            "optimistic": {role: (share, _XNNPACK_INT8) for role, (share, _) in _X86.items()},
        },
        {"cautious": 7.0, "optimistic": 4.0},
    ),
    Core(
        "Cortex-A76", "Raspberry Pi 5", 2.4, 80, 16, 64,
        {
            "cautious": {role: (_XNNPACK_FLOAT, int8 / 2) for role, (_, int8) in _X86.items()},
            "optimistic": _X86,
        },
        {"cautious": 3.5, "optimistic": 2.0},
    ),
)  # fmt: skip

OTHER_MS: Final = {
    "detect": {"frame": 0.44, "face": 0.03},  # resize, decode_boxes, track
    "classify": {"frame": 0.17, "face": 0.40},  # quality, crop, smooth, message
}
"""Time outside the networks on an x86-64 core, by thread, at 1280x720, milliseconds."""

SQUARES: Final = {"refine": 18.0, "output": 4.4}
"""Runs of MTCNN's further networks in a frame of the demo clip, mean of 50 frames."""

CONSTANTS: Final = (
    ("peak, Cortex-A72", "8 float32 or 16 int8 operations a cycle",
     "derived from Arm's optimization guide (UAN 0016A), not checked on a board: FMLA of four"
     " values, or SMULL/SMLAL of eight, one a cycle; it has no dot product"),
    ("peak, Cortex-A76", "16 float32 or 64 int8 operations a cycle",
     "derived from Arm's optimization guide (PJDOC-466751330-7215), not checked on a board: FMLA of"
     " four values, or SDOT of sixteen, two a cycle"),
    ("clock", "1.8 and 2.4 GHz",
     "Raspberry Pi's specifications of BCM2711 and BCM2712; throttling lowers it"),
    ("share of the peak on x86-64", "; ".join(
        f"{role}: {share:.2f} float32, {int8:.2f} int8" for role, (share, int8) in _X86.items()
     ), "measured, November 2026: one thread with AVX-512 and VNNI (105 GFLOP/s, 425 GOP/s); full:"
     " CenterFace 320x192; region: the same at 96x96, int8 in onnxruntime, as LiteRT was not"
     " measured; face: the bundled network in int8, a MobileNet at 112x112 in float32"),
    ("share of the peak on a Cortex-A72", f"{_XNNPACK_FLOAT:.2f} float32, {_XNNPACK_INT8:.2f} int8",
     "published in XNNPACK's README: MobileNetV2 on a Raspberry Pi 4 (arm64), four threads, 46 and"
     " 17 ms, February 2022; its clock, 1.5 GHz, is assumed"),
    ("optimistic", "float32 as on x86-64; int8 as on x86-64 (A76), as published (A72)", "assumed"),
    ("cautious", "as published; int8 with SDOT (A76): half of the share on x86-64", "assumed"),
    ("squares of MTCNN", "; ".join(f"{name}: {count:g} a frame" for name, count in SQUARES.items()),
     "measured, November 2026: 50 frames of the demo clip at 320x192; they vary with the picture"),
    ("time outside the networks", "0.61 ms a frame and 0.43 ms a face",
     "measured, November 2026: x86-64, 1280x720, one face; split by runs with 1 to 30 faces"),
    ("that time on a board", "4 to 7 times as long (A72), 2 to 3.5 times (A76)",
     "assumed, as the ratio of single-core speeds; no source"),
)  # fmt: skip
"""Name, value and source of everything that is not counted from the graphs."""


@dataclass(frozen=True)
class Network:
    """A network's multiply-adds, and whether it has an int8 artifact.

    ``runs``: how often it runs in a full look, or on a face.
    """

    name: str
    role: Role
    size: tuple[int, int]
    macs: int
    has_int8: bool
    runs: float = 1.0

    def ms(self, core: Core, case: Case) -> float:
        """Return the predicted time of its runs in one thread, with the faster artifact."""
        peaks = (core.flop_per_cycle, core.int8_per_cycle)
        times = [
            self.runs * 2 * self.macs / (core.ghz * 1e6 * peak * share)
            for peak, share in zip(peaks, core.shares[case][self.role], strict=True)
        ]
        return min(times) if self.has_int8 else times[0]


@dataclass(frozen=True)
class Networks:
    """The networks of a configuration.

    Attributes:
        full: the detector of full frames.
        region: the detector on a small square; None: a cascade, which searches every frame.
        per_face: those that run on each face.
        further: those of a cascade after the first.
        faces_per_frame: so many faces are read in a frame, in turns; 0: all.
        mesh: measures faces in the time that is left, and so is no part of a rate; None: it is off.
    """

    full: Network
    region: Network | None
    per_face: tuple[Network, ...]
    further: tuple[Network, ...] = ()
    faces_per_frame: int = 0
    mesh: Network | None = None

    def all(self) -> tuple[Network, ...]:
        """Return all of them."""
        region = () if self.region is None else (self.region,)
        mesh = () if self.mesh is None else (self.mesh,)
        return (self.full, *self.further, *region, *self.per_face, *mesh)

    @property
    def full_macs(self) -> int:
        """Multiply-adds of a full look."""
        return round(sum(each.runs * each.macs for each in (self.full, *self.further)))

    def read(self, faces: int) -> int:
        """Return how many of so many faces are read in a frame."""
        return min(faces, self.faces_per_frame) if self.faces_per_frame else faces


def count_networks(config: Config) -> Networks:
    """Return the networks of ``config`` with their operations.

    Raises:
        ConfigError: onnx is missing, or a model has no float ONNX artifact.
        ModelError: there is no such model.
    """
    side = (REGION_SIDE, REGION_SIDE)
    per_face = [config.expression.model]
    if config.translator.model:
        per_face.insert(0, config.translator.model)
    further = _further(config.detector.model)
    return Networks(
        _network(config.detector.model, "full"),
        None if further else _network(config.detector.model, "region", side),
        tuple(_network(name, "face") for name in per_face),
        further=further,
        faces_per_frame=config.expression.faces_per_frame,
        mesh=_network(config.mesh.model, "face") if config.mesh.enabled else None,
    )


def _further(model: str) -> tuple[Network, ...]:
    """Return the further networks of a cascade; none of any other detector."""
    folder = find_model(model)
    stages = load_manifest(folder).stages or {}
    return tuple(
        Network(
            f"{Path(model).name}, {name}, {SQUARES[name]:g} squares a frame", "face",
            (stage.input.width, stage.input.height),
            multiply_adds(folder / stage.artifact.file), False, SQUARES[name],
        )
        for name, stage in stages.items()
    )  # fmt: skip


def _network(model: str, role: Role, size: tuple[int, int] | None = None) -> Network:
    folder = find_model(model)
    manifest = load_manifest(folder)
    for artifact in manifest.artifacts:
        if artifact.runtime == "onnxruntime" and artifact.precision == "fp32":
            own = (manifest.input.width, manifest.input.height)
            title = Path(model).name + ("" if size is None else ", region")
            return Network(
                title, role, size or own, multiply_adds(folder / artifact.file, size),
                any(each.precision == "int8" for each in manifest.artifacts),
            )  # fmt: skip
    raise ConfigError(f"cost: model {model!r} has no fp32 artifact for onnxruntime")


def predict(networks: Networks, core: Core, case: Case, faces: int, *, regions: bool) -> "Rate":
    """Return the predicted rate with ``faces`` faces in view.

    Args:
        networks: counted before.
        core: of the board.
        case: ``cautious`` or ``optimistic``.
        faces: in view.
        regions: whether known faces are found again in regions, with a full look every
            ``FULL_LOOK_EVERY_S``; else every frame is searched in full. Where the regions would
            cost more than a full look, the full look is taken.
    """
    slow = core.slowdown[case]
    full_ms = sum(each.ms(core, case) for each in (networks.full, *networks.further))
    steady_ms = full_ms
    if regions and networks.region is not None:
        steady_ms = min(full_ms, faces * networks.region.ms(core, case)) if faces else full_ms
    threads = {
        name: slow * (each["frame"] + faces * each["face"]) for name, each in OTHER_MS.items()
    }
    threads["detect"] += steady_ms
    threads["classify"] += networks.read(faces) * sum(
        each.ms(core, case) for each in networks.per_face
    )
    more_ms = full_ms - steady_ms  # of a frame with a full look
    one_core_ms = sum(threads.values())
    return Rate(
        one_core_fps=_rate(one_core_ms, more_ms),
        pipelined_fps=min(_rate(threads["detect"], more_ms), 1e3 / threads["classify"]),
        frame_ms=one_core_ms,
        full_look_ms=one_core_ms + more_ms,
    )


@dataclass(frozen=True)
class Rate:
    """A predicted rate.

    Attributes:
        one_core_fps: all stages one after another.
        pipelined_fps: the stages in their threads, on cores of their own: the slowest decides.
        frame_ms: one frame through all stages, without a full look (unless all are).
        full_look_ms: one frame with a full look.
    """

    one_core_fps: float
    pipelined_fps: float
    frame_ms: float
    full_look_ms: float


def _rate(frame_ms: float, more_ms: float) -> float:
    """Return frames a second where a frame each ``FULL_LOOK_EVERY_S`` takes ``more_ms`` more."""
    rate = (1e3 - more_ms / FULL_LOOK_EVERY_S) / frame_ms
    return max(rate, 1e3 / (frame_ms + more_ms))  # at worst, every frame has a full look


def add_cost(command: argparse.ArgumentParser) -> None:
    """Add the arguments of ``cost``."""
    command.add_argument("--faces", default="1,2,4,8,16,30", metavar="N,...", help="in view")
    add_result_file(command)
    add_configuration(command)


def cost_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the result of ``run_cost`` for a command line.

    Raises:
        ConfigError: an argument is wrong.
        AffectEdgeError: as ``run_cost``.
    """
    try:
        faces = [int(each) for each in arguments.faces.split(",")]
    except ValueError as error:
        raise ConfigError(f"--faces {arguments.faces}: expected numbers, such as 1,4,16") from error
    config = configuration_of(arguments)
    return run_cost(config, faces)


def run_cost(config: Config, faces: Sequence[int]) -> dict[str, Any]:
    """Return operations, predicted rates and the constants behind them.

    Raises:
        ConfigError: a number of faces is out of range, or see ``count_networks``.
        ModelError: there is no such model.
    """
    if not faces or not all(0 <= each <= MAX_FACES for each in faces):
        raise ConfigError(f"--faces: expected numbers from 0 to {MAX_FACES}, such as 1,4,16")
    networks = count_networks(config)
    rows: list[dict[str, Any]] = []
    for core in CORES:
        for regions in (False, True):
            for count in faces:
                rates = {
                    case: predict(networks, core, case, count, regions=regions) for case in CASES
                }
                rows.append({
                    "prediction": True,
                    "core": core.name, "board": core.board, "faces": count,
                    "schedule": "region" if regions else "every-frame",
                    "multiply_adds": _frame_macs(networks, count, regions=regions),
                    "goal_fps": core.goal_fps if count == 1 else None,
                    **{case: vars(rate) for case, rate in rates.items()},
                })  # fmt: skip
    return {
        "benchmark": "cost",
        "label": "PREDICTION: no Raspberry Pi was measured",
        "networks": {
            each.name: {"input": list(each.size), "multiply_adds": each.macs}
            for each in networks.all()
        },
        "predictions": rows,
        "mesh": _mesh_times(networks.mesh),
        "constants": [dict(zip(("name", "value", "source"), each, strict=True))
                      for each in CONSTANTS],
        **machine(),
    }  # fmt: skip


def _mesh_times(mesh: Network | None) -> list[dict[str, Any]]:
    """Return what one face's mesh takes on each board, milliseconds in each case."""
    return [] if mesh is None else [
        {"prediction": True, "core": core.name, "board": core.board,
         **{case: {"ms": mesh.ms(core, case)} for case in CASES}}
        for core in CORES
    ]  # fmt: skip


def _frame_macs(networks: Networks, faces: int, *, regions: bool) -> int:
    """Return the multiply-adds of a frame without a full look, or with one where all have one."""
    detect = networks.full_macs
    if regions and faces and networks.region is not None:
        detect = min(detect, faces * networks.region.macs)
    return detect + networks.read(faces) * sum(each.macs for each in networks.per_face)


def show_cost(result: dict[str, Any], console: Console) -> None:
    """Print a result of ``cost``."""
    for name, each in result["networks"].items():
        width, height = each["input"]
        console.print(
            f"{name}: {each['multiply_adds'] / 1e6:.1f} million multiply-adds at {width}x{height}",
            highlight=False,
        )
    table = Table(
        "board", "schedule", "faces", "MMAC", "one core", "threads", "full look", "goal",
        title=f"{result['label']}; cautious to optimistic", title_justify="left",
    )  # fmt: skip
    for column in table.columns[2:]:
        column.justify = "right"
    board = ""
    for row in result["predictions"]:
        if board not in ("", row["board"]):
            table.add_section()
        board = row["board"]
        goal = row["goal_fps"]
        table.add_row(
            board.removeprefix("Raspberry "), row["schedule"], str(row["faces"]),
            f"{row['multiply_adds'] / 1e6:.0f}",
            *("-".join(f"{row[case][name]:.0f}" for case in CASES)
              for name in ("one_core_fps", "pipelined_fps", "full_look_ms")),
            "" if goal is None else f"{goal:.0f}",
        )  # fmt: skip
    console.print(table)
    for each in result["mesh"]:
        optimistic, cautious = (each[case]["ms"] for case in reversed(CASES))
        console.print(
            f"mesh, {each['board']}: {optimistic:.0f} to {cautious:.0f} ms a face (predicted), in"
            " the time that is left before the next frame: no part of the rates above",
            highlight=False,
        )
    console.print(
        "MMAC: million multiply-adds of a frame; one core, threads: frames a second on one core,"
        " and with a core for each thread; full look: milliseconds of a frame that has one, twice a"
        " second with regions; goal: frames a second",
        highlight=False,
    )
    for each in result["constants"]:
        console.print(f"{each['name']}: {each['value']}; {each['source']}", highlight=False)
