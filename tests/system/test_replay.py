"""Replay: a file gives the same messages, exactly on one machine, within tolerances on others."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import zmq

from edge.vision.inference.ort import onnxruntime
from edge.vision.values import Box
from tests.support.daemons import PURPOSE, ROOT, Message, RunningDaemon
from tests.support.waiting import HANG_S

DECLARED = (
    "stream",
    "epoch",
    "time.unix_ns",
    "time.published_ns",
    "time.synchronized",
    "time.max_error_us",
    "timing_ms",
)
"""Fields that may differ between two runs over one file: identity, wall time and durations."""

FLOAT = ("--set", 'detector.artifact="centerface.onnx"',
         "--set", 'detector.region_artifact="centerface.onnx"',
         "--set", 'expression.artifact="expression.onnx"')  # fmt: skip
GOLDEN = Path(__file__).with_name("golden-demo.jsonl")
ACCEPT = "AFFECT_EDGE_ACCEPT_GOLDEN"

BOX_TOLERANCE_PX = 1.5
VALUE_TOLERANCE = 0.04  # of probability, valence and arousal
LABEL_MARGIN = 0.05  # between the two highest scores; below it the label may differ by processor
NEAR_FRAMES = 2  # stable labels and reasons may change so many frames earlier or later


def numbered_messages(folder: Path, *arguments: str) -> list[list[Message]]:
    """Run the daemon twice without drops; return the frames and events of each run."""
    runs = []
    for name in ("one", "two"):
        (folder / name).mkdir()
        with RunningDaemon(
            folder / name, *arguments, "--no-pace", "--wait-for-subscriber"
        ) as daemon:
            assert daemon.run_to_end(110) == 0, daemon.stderr
            assert not daemon.events("worker_lost"), daemon.stderr
            runs.append([each for each in daemon.messages if each["kind"] in ("frame", "event")])
    return runs


def run_twice(folder: Path, *arguments: str) -> tuple[list[Message], list[Message]]:
    """Run the daemon twice without drops; return the frame messages of each run."""
    one, two = (
        [each for each in run if each["kind"] == "frame"]
        for run in numbered_messages(folder, *arguments)
    )
    return one, two


def comparable(message: Message) -> bytes:
    """Return a message as JSON, without ``received_ns`` and the ``DECLARED`` fields."""
    fields = {name: value for name, value in message.items() if name != "received_ns"}
    for name in DECLARED:
        head, _, tail = name.partition(".")
        if tail:
            fields[head] = {key: value for key, value in fields[head].items() if key != tail}
        else:
            del fields[head]
    return json.dumps(fields).encode()  # keeps the order of the fields and every digit


def assert_same(one: list[Message], two: list[Message]) -> None:
    """Fail at the first message that differs."""
    for first, second in zip(one, two, strict=True):
        assert comparable(first) == comparable(second)


# -- the demo clip -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Message], list[Message]]:
    """Two runs over the demo clip, with named artifacts, as auto depends on the board."""
    folder = tmp_path_factory.mktemp("demo")
    return run_twice(folder, "--source", "demo", *FLOAT)


def test_two_runs_over_the_demo_are_equal(
    demo_runs: tuple[list[Message], list[Message]],
) -> None:
    one, two = demo_runs
    assert len(one) == 300
    assert one[0]["stream"] != two[0]["stream"]
    assert sum(face["expression"] is not None for m in one for face in m["faces"]) > 100
    found = [face["found"] for message in one for face in message["faces"]]
    assert len(found) > 250
    assert found.count("region") > 200
    assert set(found) == {"full", "region"}
    assert_same(one, two)


def test_two_runs_with_every_frame_searched_in_full_are_equal(tmp_path: Path) -> None:
    every = ("--set", 'detector.schedule="every-frame"')
    one, two = run_twice(tmp_path, "--source", "demo", *FLOAT, *every)
    assert {face["found"] for message in one for face in message["faces"]} == {"full"}
    assert_same(one, two)


def test_events_keep_their_places_among_the_frames(tmp_path: Path) -> None:
    """They are numbered like frames, and come from a thread that is ahead of the results."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    grey = np.random.default_rng(1).integers(60, 200, (180, 320), np.uint8)
    for number in range(160):
        picture = folder / f"{number:03}.png"
        if number % 10 == 7:
            picture.write_bytes(b"no picture")
        else:
            is_dark = number // 40 % 2 == 1
            cv2.imwrite(str(picture), np.roll(grey, number) // (40 if is_dark else 1))
    source = ("--source", str(folder), "--set", "source.rate_hz=10", *PURPOSE)
    one, two = numbered_messages(tmp_path, *source)
    kinds = [message["event"] for message in one if message["kind"] == "event"]
    assert kinds.count("frame_refused") == 16
    assert kinds.count("picture_state") >= 3
    assert [order(message) for message in one] == [order(message) for message in two]


def order(message: Message) -> tuple[object, ...]:
    """Return what a message is, without values that depend on the time of day."""
    frame = message.get("frame", {}).get("index")
    return message["seq"], message["kind"], message.get("event"), frame


@dataclass(frozen=True)
class GoldenFace:
    """The expected values of a face of the demo."""

    track: int
    box: list[float]
    reasons: list[str]
    label: str | None
    probability: float | None  # of the label
    stable: str | None
    affect: list[float] | None  # smoothed valence and arousal


GoldenFrame = list[GoldenFace]


def compared(face: dict[str, Any]) -> GoldenFace:
    """Return the values of a face that are compared."""
    expression, affect = face["expression"], face["affect"]
    classified = expression is not None
    return GoldenFace(
        track=face["track"],
        box=face["box"],
        reasons=face["quality"]["reasons"],
        label=expression["label"] if classified else None,
        probability=round(max(expression["probabilities"].values()), 3) if classified else None,
        stable=expression["stable_label"] if classified else None,
        affect=[round(affect["smoothed"][axis], 3) for axis in ("valence", "arousal")]
        if classified
        else None,
    )


def differences(face: dict[str, Any], golden: GoldenFace, near: list[GoldenFace]) -> list[str]:
    """Return how ``face`` differs from ``golden``; ``near``: its track in the frames nearby."""
    now = compared(face)
    found = []
    distance = max(abs(a - b) for a, b in zip(now.box, golden.box, strict=True))
    if distance > BOX_TOLERANCE_PX:
        found.append(f"box {now.box}, golden {golden.box}: {distance:.1f} px apart")
    if now.reasons not in [each.reasons for each in near]:
        found.append(f"reasons {now.reasons}, golden {golden.reasons}")
    if now.label is None or golden.label is None:
        return found  # the reasons are compared above
    ordered = sorted(face["expression"]["probabilities"].values())
    if now.label != golden.label and ordered[-1] - ordered[-2] > LABEL_MARGIN:
        found.append(f"label {now.label}, golden {golden.label}")
    if now.stable not in [each.stable for each in near]:
        found.append(f"stable label {now.stable}, golden {golden.stable}")
    for name, value, known in (
        ("probability", now.probability, golden.probability),
        ("valence", now.affect[0], golden.affect[0]),
        ("arousal", now.affect[1], golden.affect[1]),
    ):
        if abs(value - known) > VALUE_TOLERANCE:
            found.append(f"{name} {value:.3f}, golden {known:.3f}")
    return found


def first_difference(frames: list[Message], golden: list[GoldenFrame]) -> str | None:
    """Return the first difference in one line; None without one."""
    for message, known in zip(frames, golden, strict=True):
        index = message["frame"]["index"]
        tracks = [face["track"] for face in message["faces"]]
        if tracks != [face.track for face in known]:
            return f"frame {index}: tracks {tracks}, golden {[face.track for face in known]}"
        around = golden[max(0, index - NEAR_FRAMES) : index + NEAR_FRAMES + 1]
        for face, golden_face in zip(message["faces"], known, strict=True):
            near = [each for frame in around for each in frame if each.track == face["track"]]
            if found := differences(face, golden_face, near):
                return f"frame {index}, track {face['track']}: {'; '.join(found)}"
    return None


def read_golden() -> list[GoldenFrame]:
    """Return the golden frames in order."""
    lines = GOLDEN.read_text().splitlines()
    return [[GoldenFace(*values) for values in json.loads(line)] for line in lines]


def write_golden(frames: list[Message]) -> None:
    """Store the present results as the golden ones."""
    with GOLDEN.open("w") as file:
        for message in frames:
            faces = [list(asdict(compared(face)).values()) for face in message["faces"]]
            file.write(json.dumps(faces, separators=(",", ":")) + "\n")


def test_the_demo_gives_the_golden_results(demo_runs: tuple[list[Message], list[Message]]) -> None:
    frames = demo_runs[0]
    if os.environ.get(ACCEPT) == "1":
        write_golden(frames)
    difference = first_difference(frames, read_golden())
    assert difference is None, f"{difference}; if intended, set {ACCEPT}=1 and review the diff"


def test_the_golden_file_is_small() -> None:
    assert GOLDEN.stat().st_size <= 120_000


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda face: face["box"].__setitem__(0, face["box"][0] + 2.0), "px apart"),
        (lambda face: face.__setitem__("track", 99), "tracks [99"),
        (lambda face: face["quality"]["reasons"].append("too_small"), "reasons"),
        (lambda face: face["affect"]["smoothed"].__setitem__("valence", -1.0), "valence -1.000"),
        (lambda face: face["expression"].__setitem__("stable_label", "contempt"), "stable label"),
        (lambda face: face["expression"].__setitem__("label", "contempt"), "label contempt"),
    ],
)
def test_the_comparison_finds_a_change(
    change: Any, expected: str, demo_runs: tuple[list[Message], list[Message]]
) -> None:
    frames: list[Message] = json.loads(json.dumps(demo_runs[0]))
    message, face = next(
        (message, face)
        for message in frames
        for face in message["faces"]
        if face["expression"]
        and face["expression"]["probabilities"][face["expression"]["label"]] > 0.6
    )
    change(face)
    difference = first_difference(frames, read_golden())
    assert difference is not None
    assert difference.startswith(f"frame {message['frame']['index']}")
    assert expected in difference


# -- real NIR photographs ------------------------------------------------------------------------

WIDTH, HEIGHT = 640, 384
PUBLISHED = ROOT / "models" / "centerface-published" / "centerface.onnx"


def published_centerface() -> onnxruntime.InferenceSession:
    """Return the network as published, with inputs and outputs of free size."""
    model = onnx.load(str(PUBLISHED))
    weights = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    del model.graph.value_info[:]
    for each in (*model.graph.input, *model.graph.output):
        for place, dimension in enumerate(each.type.tensor_type.shape.dim):
            dimension.dim_param = f"{each.name}_{place}"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def best_face(session: onnxruntime.InferenceSession, path: Path) -> Box:
    """Return the face with the highest score, pixels; decodes outputs independently of edge."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    height, width = picture.shape[:2]
    small = cv2.cvtColor(cv2.resize(picture, (WIDTH, HEIGHT)), cv2.COLOR_BGR2RGB)
    tensor = small.transpose(2, 0, 1)[None].astype(np.float32)
    heat, scale, offset, _ = session.run(None, {session.get_inputs()[0].name: tensor})
    row, column = np.unravel_index(np.argmax(heat[0, 0]), heat.shape[2:])
    assert heat[0, 0, row, column] > 0.5, f"the published network finds no face in {path.name}"
    box_height, box_width = np.exp(scale[0, :, row, column]) * 4
    offset_y, offset_x = offset[0, :, row, column]
    left = (column + offset_x + 0.5) * 4 - box_width / 2
    top = (row + offset_y + 0.5) * 4 - box_height / 2
    x, y = width / WIDTH, height / HEIGHT
    return Box(float(left * x), float(top * y), float(box_width * x), float(box_height * y))


@pytest.mark.nir
def test_every_photograph_has_a_face_where_the_published_network_finds_one(
    tmp_path: Path, nir_faces: Path
) -> None:
    source = ("--source", str(nir_faces / "images"), *PURPOSE)
    one, two = run_twice(tmp_path, *source)
    assert [message["frame"]["index"] for message in one] == list(range(103))
    assert_same(one, two)
    session = published_centerface()
    overlaps = {}
    for message in one:
        path = nir_faces / "images" / message["frame"]["file"]
        found = best_face(session, path)
        ious = [found.iou(Box(*face["box"])) for face in message["faces"]]
        overlaps[path.name] = max(ious, default=0.0)
    assert len(overlaps) == 103
    worst = min(overlaps, key=lambda name: overlaps[name])
    assert overlaps[worst] >= 0.5, f"{worst}: IoU {overlaps[worst]:.2f}"


def test_a_subscriber_to_frames_alone_starts_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        assert cv2.imwrite(str(folder / name), np.full((120, 160), 99, np.uint8))
    arguments = ("--source", str(folder), *PURPOSE, "--no-pace", "--wait-for-subscriber")
    with RunningDaemon(tmp_path, *arguments, topic="affect.v1.status") as daemon:
        daemon.wait_for(lambda message: message["source_state"] == "waiting")
        with zmq.Context() as context, context.socket(zmq.SUB) as plain:
            plain.setsockopt(zmq.LINGER, 0)
            plain.setsockopt(zmq.RCVTIMEO, round(HANG_S * 1e3))
            plain.subscribe(b"affect.v1.frame.")
            plain.connect(daemon.endpoint)
            parts = [plain.recv_multipart() for _ in range(2)]
        assert [len(each) for each in parts] == [1, 1]
        indices = [json.loads(part.partition(b" ")[2])["frame"]["index"] for (part,) in parts]
        assert indices == [0, 1]
        assert daemon.process.wait(HANG_S) == 0
