"""Model folders: the bundled ones are valid, and each defect is refused in one line."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import external_data_helper, numpy_helper

from edge.errors import ModelError
from edge.vision.inference import (
    Network,
    bundled_models,
    find_model,
    load_manifest,
    model_rows,
    open_network,
    verify,
)
from tests.support.detector_weights import mtcnn_folder

Make = Callable[..., Path]
Edit = Callable[[Path, Callable[[dict[str, Any]], None]], None]


def opened(folder: Path, **options: Any) -> Network:
    return open_network(folder, task="spectrum-translation", **options)


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        opened(folder, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 700
    return text


def test_every_bundled_model_matches_its_manifest() -> None:
    names = [folder.name for folder in bundled_models()]
    assert names == [
        "centerface-320x192", "centerface-640x384", "centerface-96x96", "expression-nir",
        "face-mesh", "nir-to-visible", "retinaface-320x192",
    ]  # fmt: skip
    for folder in bundled_models():
        assert verify(folder) == []
        assert load_manifest(folder).name == folder.name
        for row in model_rows(folder):
            assert (folder / row.artifact).stat().st_size == row.size_bytes
            assert row.parity.startswith("passed (")


def test_bundled_name_precedes_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "expression-nir").mkdir()
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_model("expression-nir").is_absolute()
    assert find_model("mine") == Path("mine")
    assert find_model(tmp_path / "expression-nir") == tmp_path / "expression-nir"
    for absent in ("nothing-here", "", "../models-of-others", "a/b", "x" * 300, "a\x00b"):
        with pytest.raises(ModelError, match="bundled: centerface-320x192") as caught:
            find_model(absent)
        assert "\n" not in str(caught.value)


def test_models_of_an_installed_wheel_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "affect_edge_models" / "expression-nir"
    shutil.copytree(find_model("expression-nir"), installed)
    (tmp_path / "edge").mkdir()
    monkeypatch.setattr("edge.__file__", str(tmp_path / "edge" / "__init__.py"))
    assert find_model("expression-nir") == installed
    assert bundled_models() == [installed]


def test_valid_folder_is_opened(make_folder: Make, tiny: bytes) -> None:
    network = opened(make_folder({"a.onnx": tiny}))
    assert network.info.artifact == "a.onnx"
    assert (network.info.width, network.info.height) == (6, 4)


def test_one_flipped_bit_is_a_wrong_hash(make_folder: Make, tiny: bytes) -> None:
    folder = make_folder({"a.onnx": tiny})
    damaged = bytearray(tiny)
    damaged[len(tiny) // 2] ^= 1
    (folder / "a.onnx").write_bytes(damaged)
    assert "sha256" in refusal(folder)
    assert "sha256" in verify(folder)[0].problem


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (lambda good: good[:-1], "the manifest says"),
        (lambda good: good + b"x", "expected at most"),
        (lambda good: b"", "an empty file"),
    ],
)
def test_file_of_another_size_is_refused(
    make_folder: Make, tiny: bytes, content: Callable[[bytes], bytes], expected: str
) -> None:
    folder = make_folder({"a.onnx": tiny})
    (folder / "a.onnx").write_bytes(content(tiny))
    assert expected in refusal(folder)
    assert expected in verify(folder)[0].problem


def test_missing_file_is_refused(make_folder: Make, tiny: bytes) -> None:
    folder = make_folder({"a.onnx": tiny})
    (folder / "a.onnx").unlink()
    assert "No such file" in refusal(folder)


def test_links_pipes_and_folders_are_refused(make_folder: Make, tiny: bytes) -> None:
    folder = make_folder({"a.onnx": tiny})
    path = folder / "a.onnx"
    path.rename(folder / "real.onnx")
    path.symlink_to("real.onnx")
    assert "symbolic link" in refusal(folder)
    path.unlink()
    os.mkfifo(path)
    assert "not a plain file" in refusal(folder)
    path.unlink()
    path.mkdir()
    assert "plain file" in refusal(folder)


@pytest.mark.parametrize(
    "name", ["../a.onnx", "/etc/passwd", "sub/a.onnx", "", ".hidden", "a\nb", "a\x00b", ".."]
)
def test_path_instead_of_a_file_name_is_refused(
    make_folder: Make, edit_manifest: Edit, tiny: bytes, name: str
) -> None:
    folder = make_folder({"a.onnx": tiny})

    def escape(data: dict[str, Any]) -> None:
        data["artifacts"][0]["file"] = name
        data["parity"] = {name: data["parity"]["a.onnx"]}

    edit_manifest(folder, escape)
    assert "artifacts.0.file" in refusal(folder)


def test_file_that_is_no_model_is_refused(make_folder: Make, tiny: bytes) -> None:
    for content in (b"hello, world", b"\x00" * 64, b"\x89PNG\r\n\x1a\n" + b"x" * 50):
        assert "not an ONNX model" in refusal(make_folder({"a.onnx": content}))
    assert "not a TensorFlow Lite" in refusal(make_folder({"a.tflite": tiny}))


def test_truncated_model_with_a_matching_hash_is_refused(make_folder: Make, tiny: bytes) -> None:
    for length in range(1, len(tiny), 7):
        refusal(make_folder({"a.onnx": tiny[:length]}))


@pytest.mark.parametrize("location", ["secret", "../secret", "/etc/hostname", "hard"])
def test_weights_in_another_file_are_refused(
    make_folder: Make, tmp_path: Path, location: str
) -> None:
    """Also if the file exists, and if it is a hard link, which runtimes follow."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["in", "w"], ["out"])],
        "leak",
        [onnx.helper.make_tensor_value_info("in", 1, (1, 1, 4, 6))],
        [onnx.helper.make_tensor_value_info("out", 1, (1, 1, 4, 6))],
        [numpy_helper.from_array(np.ones((1, 1, 4, 6), np.float32), "w")],
    )
    model = onnx.helper.make_model(graph, ir_version=8)
    weight = model.graph.initializer[0]
    external_data_helper.set_external_data(weight, location)
    weight.ClearField("raw_data")
    folder = make_folder({"a.onnx": model.SerializeToString()})
    (folder / "secret").write_bytes(b"\x01" * 96)
    (tmp_path / "secret").write_bytes(b"\x01" * 96)
    os.link(folder / "secret", folder / "hard")
    assert "external data" in refusal(folder)
    assert "external data" in verify(folder)[0].problem


def test_artifact_that_failed_parity_is_refused(make_folder: Make, tiny: bytes) -> None:
    folder = make_folder({"a.onnx": tiny}, passed=False)
    assert "parity" in refusal(folder)
    assert "parity failed" in refusal(folder, artifact="a.onnx")
    assert "parity failed" in verify(folder)[0].problem


def test_auto_chooses_only_artifacts_that_passed(
    make_folder: Make, edit_manifest: Edit, tiny: bytes, onnx_of: Callable[..., bytes]
) -> None:
    other = onnx_of((1, 1, 4, 6), op="Abs")
    folder = make_folder({"a.onnx": tiny, "b.onnx": other})
    for failed, passed in (("a.onnx", "b.onnx"), ("b.onnx", "a.onnx")):
        edit_manifest(folder, lambda data, file=failed: data["parity"][file].update(passed=False))
        edit_manifest(folder, lambda data, file=passed: data["parity"][file].update(passed=True))
        assert opened(folder).info.artifact == passed
        assert opened(folder, artifact=passed).info.artifact == passed
    assert "no artifact 'c.onnx'; expected auto or a.onnx, b.onnx" in refusal(
        folder, artifact="c.onnx"
    )


def test_model_of_another_task_is_refused() -> None:
    with pytest.raises(ModelError, match="made for facial-expression, configured for face-det"):
        open_network("expression-nir", task="face-detection")


def test_tensors_that_differ_from_the_manifest_are_refused(
    make_folder: Make, tiny: bytes, onnx_of: Callable[..., bytes]
) -> None:
    assert "has the inputs ['in'], the manifest says 'x'" in refusal(
        make_folder({"a.onnx": tiny}, input_={"name": "x"})
    )
    assert "also expects ['y']" in refusal(make_folder({"a.onnx": tiny}, output={"tensor": "y"}))
    wrong_shape = make_folder({"a.onnx": tiny}, input_={"shape": [1, 1, 6, 4]})
    assert "[1, 1, 4, 6], the manifest says float32 [1, 1, 6, 4]" in refusal(wrong_shape)
    loose = make_folder({"a.onnx": onnx_of((1, 1, "h", "w"))})
    assert "[1, 1, -1, -1]" in refusal(loose)
    assert "uint8" in refusal(make_folder({"a.onnx": tiny}, input_={"dtype": "uint8"}))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"name": NaN}', "\xff", "x" * 1_100_000]
)
def test_invalid_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    refusal(tmp_path)
    assert len(verify(tmp_path)) == 1


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path)


def test_a_pointer_of_git_lfs_is_named(make_folder: Make, tiny: bytes) -> None:
    """A clone without Git LFS has pointers of some 130 bytes in place of the files."""
    folder = make_folder({"a.onnx": tiny})
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n"
    (folder / "a.onnx").write_bytes(pointer)
    assert refusal(folder).endswith("a pointer of Git LFS, not the file itself: run `git lfs pull`")
    (folder / "manifest.json").write_bytes(pointer)
    assert "git lfs pull" in verify(folder)[0].problem


def test_rows_of_a_cascade_name_every_network(tmp_path: Path) -> None:
    rows = model_rows(mtcnn_folder(tmp_path))
    assert [row.artifact for row in rows] == ["mtcnn.onnx", "refine.onnx", "output.onnx"]
    assert rows[0].parity.startswith("passed")
    assert {row.parity.partition(",")[0] for row in rows[1:]} == {"as mtcnn.onnx"}
