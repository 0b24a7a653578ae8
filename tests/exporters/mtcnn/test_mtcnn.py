"""MTCNN: its graphs, its cascade, its manifest of three networks, and files that are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.config import DetectorConfig
from edge.errors import ModelError
from edge.vision.detect import open_detector
from edge.vision.detect.mtcnn import STAGES, cells_of, crops_of, integral_of, scales_of, suppressed
from edge.vision.inference import find_model, verify
from edge.vision.inference.runtimes import OnnxSession
from exporters.artifacts import graph
from exporters.cli import main
from exporters.mtcnn.network import build_placing, build_proposing, build_refining
from tests.support.command_errors import refusal_without_files
from tests.support.detector_weights import mtcnn_folder
from tests.support.model_folders import changed_copy
from tests.support.mtcnn_states import mtcnn_files, mtcnn_state
from tests.support.torch_files import checkpoint

SIZE = (96, 64)


@pytest.mark.parametrize("file", ["pnet.pt", "rnet.pt", "onet.pt"])
def test_mono_graphs_equal_those_of_three_equal_channels(file: str) -> None:
    state = mtcnn_state(file)
    build: Callable[..., Any] = {
        "pnet.pt": lambda state, **more: build_proposing(state, SIZE, **more),
        "rnet.pt": build_refining,
        "onet.pt": build_placing,
    }[file]
    side = {"rnet.pt": (24, 24), "onet.pt": (48, 48)}.get(file, SIZE[::-1])
    picture = np.random.default_rng(2).integers(0, 256, (1, 1, *side)).astype(np.float32)
    mono, colour = (
        OnnxSession(graph.finish(build(state, channels=channels)), 1).run(
            np.repeat(picture, channels, axis=1)
        )
        for channels in (1, 3)
    )
    assert mono["scores"].sum(axis=-1) == pytest.approx(1)
    for role, values in mono.items():
        np.testing.assert_allclose(values, colour[role], atol=1e-4)


@pytest.mark.parametrize("size", [(96, 64), (320, 192), (101, 57), (34, 33)])
def test_one_row_for_each_cell_of_the_pyramid(size: tuple[int, int]) -> None:
    model = build_proposing(mtcnn_state("pnet.pt"), size)
    rows = OnnxSession(graph.finish(model), 1).run(np.zeros((1, 1, *size[::-1]), np.float32))
    cells = sum(int(np.prod(cells_of(*each[1:]))) for each in scales_of(size))
    assert rows["scores"].shape == (1, cells, 2)
    assert rows["offsets"].shape == (1, cells, 4)


def test_crops_are_means_of_the_covered_pixels_cut_at_the_border() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (40, 60), np.uint8)
    boxes = np.array(
        [[-7.5, 3, 12, 22.9], [20, 10, 27, 17], [50, 30, 99, 79], [70, 0, 90, 20], [9, 9, 9, 9],
         [-1e30, -1e30, 1e30, 1e30]],
        np.float32,
    )  # fmt: skip
    kept, crops = crops_of(integral_of(picture), boxes, 24)
    np.testing.assert_array_equal(kept, boxes[[0, 1, 2, 4, 5]])
    areas = [(0, 2, 12, 22), (19, 9, 27, 17), (49, 29, 60, 40), (8, 8, 9, 9), (0, 0, 60, 40)]
    for crop, (left, top, right, bottom) in zip(crops, areas, strict=True):
        part = picture[top:bottom, left:right].astype(np.float64)
        high, wide = part.shape
        for y, x in ((0, 0), (5, 17), (23, 23), (11, 12)):
            covered = part[
                y * high // 24 : -(-(y + 1) * high // 24), x * wide // 24 : -(-(x + 1) * wide // 24)
            ]
            assert crop[0, 0, y, x] == pytest.approx(covered.mean(), abs=1e-4)


def test_boxes_inside_another_are_dropped_only_by_the_last_suppression() -> None:
    boxes = np.array([[0, 0, 100, 100], [10, 10, 40, 40], [200, 0, 250, 50]], np.float32)
    assert suppressed(boxes, 0.7) == [0, 1, 2]
    assert suppressed(boxes, 0.7, contained=True) == [0, 2]
    assert suppressed(boxes[:0], 0.7) == []


@pytest.fixture
def refuse(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function: weights and further options -> the error line of the export."""

    def refuse(weights: Path, *options: str) -> str:
        command = ["mtcnn", "--weights", str(weights), "--out", str(tmp_path / "new" / "net")]
        return refusal_without_files(main, [*command, *options], capfd, tmp_path)

    return refuse


def test_wrong_files_and_options_are_refused_in_one_line(tmp_path: Path, refuse: Any) -> None:
    folder = mtcnn_files(tmp_path / "files")
    assert "finds 0 faces in golden-face.png" in refuse(folder)
    assert "MTCNN is built as onnx in fp32 only" in refuse(folder, "--formats", "onnx,tflite")
    assert "--size 20x20: expected 32 to 4096" in refuse(folder, "--size", "20x20")
    assert "Not a directory; expected a folder of pnet.pt" in refuse(folder / "pnet.pt")
    swapped = (folder / "rnet.pt").read_bytes()
    (folder / "rnet.pt").write_bytes((folder / "onet.pt").read_bytes())
    assert "rnet.pt: conv3.weight has the shape" in refuse(folder)
    (folder / "rnet.pt").write_bytes(swapped)
    state = mtcnn_state("onet.pt")
    state.pop("dense6_3.bias")
    checkpoint(folder / "onet.pt", state)
    assert "onet.pt: dense6_3.bias is missing" in refuse(folder)
    (folder / "onet.pt").write_bytes(b"")
    assert "onet.pt: an empty file" in refuse(folder)
    (folder / "onet.pt").unlink()
    assert "onet.pt: No such file" in refuse(folder)
    assert "pnet.pt: Not a directory" in refuse(find_model("expression-nir") / "manifest.json")


# -- the manifest of three networks ---------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of the published weights."""
    return mtcnn_folder(tmp_path_factory.mktemp("mtcnn"))


def opened(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        open_detector(DetectorConfig(model=str(folder)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_network_is_hashed(model: Path, tmp_path: Path) -> None:
    assert verify(model) == []
    assert set(json.loads((model / "manifest.json").read_text())["stages"]) == set(STAGES)
    for name in STAGES:
        copy = changed_copy(model, tmp_path / name, lambda data: None)
        content = bytearray((copy / f"{name}.onnx").read_bytes())
        content[-9] ^= 1
        (copy / f"{name}.onnx").write_bytes(content)
        assert f"{name}.onnx: sha256" in opened(copy)
        (finding,) = verify(copy)
        assert f"{name}.onnx: sha256" in finding.problem
        (copy / f"{name}.onnx").unlink()
        assert "No such file" in opened(copy)


def test_a_missing_or_exchanged_stage_is_named(model: Path, tmp_path: Path) -> None:
    def without(name: str | None) -> Callable[[Any], object]:
        return lambda data: data.pop("stages") if name is None else data["stages"].pop(name)

    for number, (name, text) in enumerate(
        [("refine", "needs refine;"), ("output", "needs output;"), (None, "output, refine;")]
    ):
        copy = changed_copy(model, tmp_path / str(number), without(name))
        assert text in opened(copy)

    def exchange(data: Any) -> None:
        stages = data["stages"]
        stages["refine"], stages["output"] = stages["output"], stages["refine"]

    assert "also needs landmarks" in opened(changed_copy(model, tmp_path / "exchanged", exchange))

    def twice(data: Any) -> None:
        data["stages"]["output"]["artifact"]["file"] = "mtcnn.onnx"

    assert "the same file is listed twice" in opened(changed_copy(model, tmp_path / "twice", twice))
