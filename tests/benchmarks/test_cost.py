"""Operations counted from graphs, and predictions that are labelled as such."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.cli import main
from benchmarks.cost import (
    CASES,
    CONSTANTS,
    CORES,
    OTHER_MS,
    SQUARES,
    count_networks,
    predict,
)
from benchmarks.operations import multiply_adds
from edge.config import Config, ExpressionConfig
from edge.errors import ConfigError
from edge.vision.inference import find_model
from tests.support.command_errors import refusal
from tests.support.detector_weights import mtcnn_folder
from tests.support.generators import translator_folder


def graph(path: Path, nodes: list[Any], weights: dict[str, tuple[int, ...]]) -> Path:
    """Write a network from (1, 4, 8, 8) to whatever comes out, and return its file."""
    tensors = [numpy_helper.from_array(np.zeros(shape, np.float32), name)
               for name, shape in weights.items()]  # fmt: skip
    made = helper.make_graph(
        nodes, "made",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, [1, 4, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        tensors,
    )  # fmt: skip
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.mark.parametrize(
    ("nodes", "weights", "count"),
    [
        ([helper.make_node("Conv", ["in", "w"], ["out"], pads=[1] * 4)],
         {"w": (6, 4, 3, 3)}, 8 * 8 * 6 * 4 * 9),
        ([helper.make_node("Conv", ["in", "w"], ["out"], strides=[2, 2])],
         {"w": (6, 4, 2, 2)}, 4 * 4 * 6 * 4 * 4),
        ([helper.make_node("Conv", ["in", "w"], ["out"], group=4)],
         {"w": (4, 1, 1, 1)}, 8 * 8 * 4),
        ([helper.make_node("ConvTranspose", ["in", "w"], ["out"], strides=[2, 2])],
         {"w": (4, 3, 2, 2)}, 8 * 8 * 4 * 3 * 4),
        ([helper.make_node("Flatten", ["in"], ["flat"]),
          helper.make_node("Gemm", ["flat", "w"], ["out"])], {"w": (256, 10)}, 2560),
        ([helper.make_node("Flatten", ["in"], ["flat"]),
          helper.make_node("Gemm", ["flat", "w"], ["out"], transB=1)], {"w": (10, 256)}, 2560),
        ([helper.make_node("Flatten", ["in"], ["flat"]),
          helper.make_node("MatMul", ["flat", "w"], ["out"])], {"w": (256, 10)}, 2560),
    ],
)  # fmt: skip
def test_operations_are_counted_from_the_graph(
    tmp_path: Path, nodes: list[Any], weights: dict[str, tuple[int, ...]], count: int
) -> None:
    assert multiply_adds(graph(tmp_path / "made.onnx", nodes, weights)) == count


def test_the_bundled_networks_have_the_operations_that_their_pages_state() -> None:
    expression = multiply_adds(find_model("expression-nir") / "expression.onnx")
    assert round(expression / 1e6) == 38
    small = find_model("centerface-320x192") / "centerface.onnx"
    large = find_model("centerface-640x384") / "centerface.onnx"
    assert multiply_adds(large) == pytest.approx(4 * multiply_adds(small), rel=0.01)
    assert multiply_adds(small, (640, 384)) == multiply_adds(large)
    square = multiply_adds(small, (96, 96))
    assert square == pytest.approx(multiply_adds(small) * 96 * 96 / (320 * 192), rel=0.01)


def test_a_graph_without_shapes_is_refused(tmp_path: Path) -> None:
    path = graph(tmp_path / "made.onnx", [helper.make_node("Relu", ["in"], ["out"])], {})
    with pytest.raises(ConfigError, match="float artifact"):
        multiply_adds(path)


@pytest.mark.parametrize("core", CORES, ids=lambda core: core.name)
def test_predictions_follow_the_work(core: Any) -> None:
    networks = count_networks(Config())
    for case in CASES:
        for faces in (1, 2, 8, 30):
            every = predict(networks, core, case, faces, regions=False)
            region = predict(networks, core, case, faces, regions=True)
            assert region.one_core_fps >= every.one_core_fps - 1e-9
            assert region.full_look_ms == pytest.approx(every.full_look_ms)
            assert every.pipelined_fps > every.one_core_fps
            assert every.one_core_fps == pytest.approx(1e3 / every.frame_ms)
        none = predict(networks, core, case, 0, regions=True)
        assert none == predict(networks, core, case, 0, regions=False), "it searches every frame"
    cautious, optimistic = (predict(networks, core, case, 1, regions=True) for case in CASES)
    assert cautious.one_core_fps < optimistic.one_core_fps


def test_faces_that_take_turns_cost_less() -> None:
    every = count_networks(Config())
    turns = count_networks(Config(expression=ExpressionConfig(faces_per_frame=3)))
    for faces in (1, 3, 30):
        one, other = (
            predict(each, CORES[0], "cautious", faces, regions=True) for each in (every, turns)
        )
        saved_ms = max(0, faces - 3) * sum(n.ms(CORES[0], "cautious") for n in every.per_face)
        assert one.frame_ms - other.frame_ms == pytest.approx(saved_ms)


def test_full_looks_count() -> None:
    """Twice a second a frame costs as much more as the full look costs more than the region."""
    core, networks = CORES[0], count_networks(Config())
    rate = predict(networks, core, "cautious", 1, regions=True)
    seconds = rate.one_core_fps * rate.frame_ms + 2 * (rate.full_look_ms - rate.frame_ms)
    assert seconds == pytest.approx(1000)
    assert sum(each["frame"] for each in OTHER_MS.values()) == pytest.approx(0.61)


def test_everything_is_labelled_as_a_prediction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cost.json"
    assert main(["cost", "--faces", "1,4", "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert result["label"].startswith("PREDICTION")
    assert len(result["predictions"]) == 2 * 2 * 2
    assert all(row["prediction"] for row in result["predictions"])
    assert all(each["source"] for each in result["constants"])
    assert len(result["constants"]) == len(CONSTANTS)
    goals = {row["board"]: row["goal_fps"] for row in result["predictions"] if row["faces"] == 1}
    assert goals == {"Raspberry Pi 4": 30, "Raspberry Pi 5": 80}
    shown = capsys.readouterr().out
    assert "PREDICTION: no Raspberry Pi was measured" in shown
    assert "assumed" in shown


def test_a_translator_counts_for_each_face(tmp_path: Path) -> None:
    path = tmp_path / "cost.json"
    folder = translator_folder(tmp_path)
    settings = ["--set", f"translator.model={json.dumps(str(folder))}"]
    assert main(["cost", "--faces", "1", *settings, "--json", str(path)]) == 0
    networks = json.loads(path.read_text())["networks"]
    assert folder.name in networks


def test_the_mesh_counts_where_it_is_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has the time that is left, so that the rates are those without it."""
    path = tmp_path / "cost.json"
    results = []
    for settings in ([], ["--set", "mesh.enabled=true"]):
        assert main(["cost", "--faces", "1", *settings, "--json", str(path)]) == 0
        results.append(json.loads(path.read_text()))
    off, on = results
    assert set(on["networks"]) - set(off["networks"]) == {"face-mesh"}
    assert on["predictions"] == off["predictions"]
    assert off["mesh"] == []
    macs = on["networks"]["face-mesh"]["multiply_adds"]
    assert [each["board"] for each in on["mesh"]] == ["Raspberry Pi 4", "Raspberry Pi 5"]
    for each, core in zip(on["mesh"], CORES, strict=True):
        least_ms = 2 * macs / (core.ghz * 1e6 * core.flop_per_cycle)  # at the peak
        assert least_ms < each["optimistic"]["ms"] < each["cautious"]["ms"]
    assert "mesh, Raspberry Pi 4: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--faces", "many"], "--faces many"),
        (["--faces", "99"], "0 to 48"),
        (["--set", "detector.model=none"], "none"),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str], named: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert named in refusal(main, ["cost", *arguments], capfd)


def test_without_onnx_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "install the extra bench" in refusal(main, ["cost"], capfd)


def test_all_networks_of_a_cascade_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = mtcnn_folder(tmp_path)
    networks = count_networks(Config.model_validate({"detector": {"model": str(folder)}}))
    assert networks.region is None
    assert [(each.macs, each.size) for each in networks.further] == [
        (1_286_832, (24, 24)), (11_691_136, (48, 48)),
    ]  # fmt: skip
    assert networks.full_macs == networks.full.macs + round(
        SQUARES["refine"] * 1_286_832 + SQUARES["output"] * 11_691_136
    )
    every = predict(networks, CORES[0], CASES[0], 1, regions=False)
    assert predict(networks, CORES[0], CASES[0], 1, regions=True) == every
    assert main(["cost", "--set", f'detector.model="{folder}"']) == 0
    text = capsys.readouterr().out
    for name in ("mtcnn: ", "mtcnn, refine, 18 squares", "mtcnn, output, 4.4 squares"):
        assert name in text
