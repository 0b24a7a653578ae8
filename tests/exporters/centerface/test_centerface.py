"""Export of CenterFace graphs of any form; agreement of the four artifacts."""

import copy
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks.evaluation.pictures import faces_in
from edge.errors import ModelError
from edge.vision.detect import detector_for
from edge.vision.golden import golden_picture
from edge.vision.inference import find_model, load_manifest, open_network, verify
from edge.vision.values import Luma
from exporters.artifacts import graph
from exporters.centerface.export import export_centerface
from exporters.centerface.graph import CenterFaceGraph, converted, float_nodes
from exporters.cli import main
from tests.support.command_errors import refusal

ROOT = Path(__file__).parents[3]
PUBLISHED = ROOT / "models" / "centerface-published" / "centerface.onnx"
BUNDLED = find_model("centerface-320x192") / "centerface.onnx"
FILES = ("centerface.onnx", "centerface.int8.onnx", "centerface.tflite", "centerface.int8.tflite")


def with_free_sizes(folder: Path) -> Path:
    """Write the published graph as other tools do: free sizes, constant weights, other names."""
    model = onnx.load(PUBLISHED)
    graph.drop_overridable_weights(model)
    renamed = {"input.1": "image", "537": "hm", "538": "wh", "539": "reg", "540": "kps"}
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = renamed.get(name, name)
    for value in (*model.graph.input, *model.graph.output):
        value.name = renamed[value.name]
        for place in (0, 2, 3):
            value.type.tensor_type.shape.dim[place].dim_param = f"{value.name}_{place}"
    del model.graph.value_info[:]
    path = folder / "other.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def maps(folder: Path, picture: Luma) -> dict[str, Any]:
    return open_network(folder, task="face-detection", artifact=FILES[0]).run(picture[None])


@pytest.mark.parametrize("form", ["sizeless", "fixed and mono already"])
def test_other_forms_of_the_graph_give_the_same_outputs(tmp_path: Path, form: str) -> None:
    weights = with_free_sizes(tmp_path) if form == "sizeless" else BUNDLED
    made = export_centerface(weights, tmp_path / "net", size=(320, 192), mono=form == "sizeless")
    assert made.input.colour == "mono"
    picture = np.random.default_rng(1).integers(0, 256, (192, 320), np.uint8)
    known = maps(find_model("centerface-320x192"), picture)
    for role, values in maps(tmp_path / "net", picture).items():
        np.testing.assert_allclose(values, known[role], rtol=1e-4, atol=1e-3)


def test_a_graph_of_fixed_size_is_exported_at_another(tmp_path: Path) -> None:
    export_centerface(BUNDLED, tmp_path / "net", size=(640, 384), mono=True)
    picture = np.random.default_rng(1).integers(0, 256, (384, 640), np.uint8)
    known = maps(find_model("centerface-640x384"), picture)
    for role, values in maps(tmp_path / "net", picture).items():
        np.testing.assert_allclose(values, known[role], rtol=1e-4, atol=1e-3)


def outputs_in_another_order(model: Any) -> None:
    values = [copy.deepcopy(each) for each in model.graph.output]
    for value, name in zip(values, "abcd", strict=True):
        for node in model.graph.node:
            node.output[:] = [name if each == value.name else each for each in node.output]
        value.name = name
    del model.graph.output[:]
    model.graph.output.extend(reversed(values))


def without_landmarks(model: Any) -> None:
    del model.graph.output[3]


def two_inputs(model: Any) -> None:
    model.graph.input.append(onnx.helper.make_tensor_value_info("more", 1, (1,)))


def quantised(model: Any) -> None:
    model.graph.node[5].op_type = "QuantizeLinear"


def first_weight(model: Any) -> Any:
    return next(each for each in model.graph.initializer if each.dims[1:2] == [3])


def five_channels(model: Any) -> None:
    weight = first_weight(model)
    weight.CopyFrom(numpy_helper.from_array(np.zeros((32, 5, 3, 3), np.float32), weight.name))


def wrong_shape(model: Any) -> None:
    first_weight(model).dims[1] = 5


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (outputs_in_another_order, "expected a CenterFace graph"),
        (without_landmarks, "expected a CenterFace graph"),
        (two_inputs, "this one takes 2"),
        (quantised, "int8 already; expected the float graph"),
        (five_channels, "takes 5 channels, expected 3 or 1"),
        (wrong_shape, "is not what its shape says"),
    ],
)
def test_other_graphs_are_refused_in_one_line(
    tmp_path: Path, change: Any, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(PUBLISHED)
    change(model)
    path = tmp_path / "odd.onnx"
    path.write_bytes(model.SerializeToString())
    out = tmp_path / "net"
    command = ["centerface", "--weights", str(path), "--out", str(out), "--mono"]
    assert complaint in refusal(main, command, capsys)
    assert not out.exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_graph_is_refused_in_one_line(
    tmp_path: Path, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    content = PUBLISHED.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: int(len(content) * share)])
    arguments = ["centerface", "--weights", str(tmp_path / "cut.onnx"), "--mono"]
    refusal(main, [*arguments, "--out", str(tmp_path / "net")], capsys)
    assert not (tmp_path / "net").exists()


def test_first_nodes_heads_and_transposed_convolutions_stay_float() -> None:
    original = CenterFaceGraph(PUBLISHED, (320, 192))
    model = converted(original, mono=True)
    nodes = {node.name: node for node in model.graph.node}
    onnx_kept = float_nodes(model, original.tensors, lite=False)
    lite_kept = float_nodes(model, original.tensors, lite=True)
    assert onnx_kept <= set(nodes)
    assert set(original.tensors.values()) <= lite_kept
    for kept in (onnx_kept, lite_kept):
        kinds = [nodes[name].op_type for name in kept if name in nodes]
        assert kinds.count("ConvTranspose") == 3
        assert kinds.count("Sigmoid") == 1
        assert "Conv_0" in kept
        assert len(kept) < len(nodes) / 2
    outputs = {name for node in onnx_kept for name in nodes[node].output}
    assert set(original.tensors.values()) <= outputs


def faces(folder: Path, count: int) -> Path:
    """Write pictures of the golden face: moved, scaled, brighter or darker."""
    folder.mkdir()
    face, _ = golden_picture()
    random = np.random.default_rng(5)
    for number in range(count):
        share = random.uniform(0.6, 1.4)
        canvas = random.normal(100, 15, (480, 800)).clip(0, 255).astype(np.uint8)
        small = cv2.resize(face, None, fx=share, fy=share)[:480, :800]
        x, y = (int(random.integers(0, 1 + a - b)) for a, b in zip((800, 480), small.shape[::-1]))  # noqa: B905
        light = (small.astype(np.float32) * random.uniform(0.6, 1.3)).clip(0, 255)
        canvas[y : y + small.shape[0], x : x + small.shape[1]] = light
        cv2.imwrite(str(folder / f"{number:03}.png"), canvas)
    return folder


def arguments(out: Path, pictures: Path, *more: str) -> list[str]:
    return [
        *("centerface", "--weights", str(PUBLISHED), "--out", str(out), "--size", "320x192"),
        *("--mono", "--formats", "onnx,tflite", "--precisions", "fp32,int8"),
        *("--calibration", str(pictures), *more),
    ]


def test_int8_onnx_needs_no_other_tool_and_prints_its_parity(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """24 pictures of one face may or may not meet the limit: both results are valid."""
    pictures = faces(tmp_path / "pictures", 24)
    out = tmp_path / "net"
    command = arguments(out, pictures, "--formats", "onnx", "--precisions", "int8")
    code = main(command)
    captured = capsys.readouterr()
    assert "recall_18px" in captured.out
    assert "(at least 0.97)" in captured.out
    assert code in (0, 1)
    assert out.exists() == (code == 0)
    assert main([*command, "--allow-parity-loss"]) == 0
    manifest = load_manifest(out)
    (parity,) = manifest.parity.values()
    assert parity.passed == (code == 0)
    assert manifest.calibration is not None
    assert manifest.calibration.count + parity.samples == 24
    assert (verify(out) == []) == parity.passed


def test_an_artifact_over_its_limit_is_written_only_if_allowed_and_never_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = {"heatmap": 1e-30, "scale": 1e-30, "offset": 1e-30, "landmarks": 1e-30}
    monkeypatch.setattr("exporters.centerface.export._FLOAT_LIMITS", limits)
    command = ["centerface", "--weights", str(PUBLISHED), "--mono", "--out", str(tmp_path / "net")]
    assert main(command) == 1
    assert "missed the parity limit; nothing was written" in capsys.readouterr().err
    assert not (tmp_path / "net").exists()
    assert main([*command, "--allow-parity-loss"]) == 0
    (parity,) = load_manifest(tmp_path / "net").parity.values()
    assert not parity.passed
    with pytest.raises(ModelError, match="no artifact passed parity"):
        open_network(tmp_path / "net", task="face-detection")


@pytest.mark.nir
def test_regions_are_compared_on_squares_and_artifacts_can_be_left_out(
    tmp_path: Path, nir_faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "net"
    command = [
        *("centerface", "--weights", str(PUBLISHED), "--out", str(out), "--size", "96x96"),
        *("--mono", "--regions", "--precisions", "fp32,int8"),
        *("--calibration", str(nir_faces / "images")),
    ]
    assert main([*command, "--leave-out", "centerface.int8.onnx"]) == 0, capsys.readouterr().err
    manifest = load_manifest(out)
    assert [each.file for each in manifest.artifacts] == ["centerface.onnx"]
    assert manifest.exporter.options["regions"] is True
    bundled = find_model("centerface-96x96")
    assert (out / "centerface.onnx").read_bytes() == (bundled / "centerface.onnx").read_bytes()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--size", "320x192", "--regions"], "--regions: --size 320x192 is not square"),
        (["--leave-out", "centerface.tflite"], "expected some, but not all, of centerface.onnx"),
        (["--leave-out", "centerface.onnx"], "expected some, but not all, of centerface.onnx"),
    ],
)
def test_wrong_options_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], expected: str
) -> None:
    out = tmp_path / "net"
    arguments = ["centerface", "--weights", str(PUBLISHED), "--out", str(out), "--mono"]
    assert main([*arguments, *options]) == 78
    assert expected in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.export
@pytest.mark.nir
@pytest.mark.timeout(600)
def test_all_four_artifacts_pass_on_nir_faces_and_are_deterministic(
    tmp_path: Path, nir_faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = []
    for name in ("one", "two"):
        out = tmp_path / name / "net"
        assert main(arguments(out, nir_faces / "images")) == 0, capsys.readouterr().err
        made.append({path.name: path.read_bytes() for path in sorted(out.iterdir())})
    assert made[0] == made[1]
    assert set(made[0]) == {*FILES, "manifest.json"}
    manifest = json.loads(made[0]["manifest.json"])
    for file in ("centerface.int8.onnx", "centerface.int8.tflite"):
        figures = manifest["parity"][file]["metrics"]
        assert figures["iou_mean"] >= 0.97
        assert figures["recall_25px"] >= 0.97
    assert not any(b"/tmp" in content or b"/work" in content for content in made[0].values())
    assert "nir" not in made[0]["manifest.json"].decode().lower()


@pytest.mark.parametrize("model", ["centerface-320x192", "centerface-640x384"])
def test_the_bundled_artifacts_agree_with_each_other(model: str) -> None:
    """Float artifacts in their values, int8 artifacts in their detections, on another picture."""
    face, _ = golden_picture()
    networks = [open_network(model, task="face-detection", artifact=file) for file in FILES]
    width, height = networks[0].info.width, networks[0].info.height
    picture = np.full((height, width), 110, np.uint8)
    small = cv2.resize(face, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    picture[height // 4 : height // 4 + height // 2, width // 3 : width // 3 + width // 2] = small
    known, other = (networks[place].run(picture[None]) for place in (0, 2))
    for role, values in known.items():
        assert values.shape == other[role].shape
        np.testing.assert_allclose(other[role], values, rtol=1e-3, atol=1e-3)
    found = [
        faces_in(detector_for(network, threshold=0.5, nms_iou=0.3), picture) for network in networks
    ]
    for each in found:
        assert len(each) == 1
        assert each[0].box.iou(found[0][0].box) > 0.85
