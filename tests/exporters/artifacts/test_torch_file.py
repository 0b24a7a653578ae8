"""Reading state dicts without PyTorch: both forms, views, damage, and objects that are refused."""

import contextlib
import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import ModelError
from exporters.artifacts.torch_file import read_tensors
from tests.support.torch_files import checkpoint, state_pickle

STATE = {
    "module.a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 7.5,
    "half": np.array([0.5, -2.0], np.float16),
    "double": np.array([[1.0, 2.0]], np.float64),
    "count": np.array(41, np.int64),
    "empty": np.zeros((0, 3), np.float32),
}


def read(path: Path) -> dict[str, Any]:
    return read_tensors(path, path.read_bytes())


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read(path)
    text = str(caught.value)
    assert text.startswith(f"--weights {path}: ")
    assert "\n" not in text
    return text


def archived(path: Path, pickled: bytes, **rows: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", pickled)
        for key, content in rows.items():
            archive.writestr(f"net/data/{key.removeprefix('k')}", content)
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_have_their_values_and_floats_are_float32(tmp_path: Path, zipped: bool) -> None:
    found = read(checkpoint(tmp_path / "net.pth", STATE, zipped=zipped))
    assert list(found) == ["a.weight", "half", "double", "count", "empty"]
    for (name, known), values in zip(STATE.items(), found.values(), strict=True):
        np.testing.assert_array_equal(values, known)
        assert values.dtype == (np.int64 if name == "count" else np.float32)
        assert values.shape == known.shape


class Runs:
    """An object that runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> Any:
        return os.system, (self._command,)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_file_is_run(tmp_path: Path, zipped: bool) -> None:
    mark = tmp_path / "ran"
    content = pickle.dumps({"weight": Runs(f"touch {mark}")}, protocol=2)
    if zipped:
        path = archived(tmp_path / "net.pth", content)
    else:
        path = tmp_path / "net.pth"
        path.write_bytes(content)
    assert "holds a Python object (posix.system) where a state dict holds tensors" in refused(path)
    assert not mark.exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.001, 0.05, 0.3, 0.6, 0.95])
def test_a_truncated_file_is_refused_in_one_line(
    tmp_path: Path, zipped: bool, share: float
) -> None:
    path = checkpoint(tmp_path / "net.pth", STATE, zipped=zipped)
    path.write_bytes(path.read_bytes()[: int(len(path.read_bytes()) * share)])
    assert "copy the file again" in refused(path) or "not a PyTorch checkpoint" in refused(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_changed_bytes_never_cause_another_error(tmp_path: Path, zipped: bool) -> None:
    whole = checkpoint(tmp_path / "net.pth", STATE, zipped=zipped).read_bytes()
    random = np.random.default_rng(8)
    path = tmp_path / "changed.pth"
    for _ in range(400):
        changed = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            changed[place] = int(random.integers(0, 256))
        path.write_bytes(bytes(changed))
        with contextlib.suppress(ModelError):
            read(path)


def test_other_content_is_named(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(b"")
    assert "an empty file" in refused(path)
    path.write_bytes(b"ONNX or so")
    assert "not a PyTorch checkpoint; expected a state dict" in refused(path)
    archived(path, pickle.dumps([1, 2], protocol=2))
    assert "holds a list where a state dict holds tensors" in refused(path)
    archived(path, pickle.dumps({"lr": 0.1}, protocol=2))
    assert "holds 'lr', a float, where" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", b"")
        archive.writestr("net/constants.pkl", b"")
    assert "holds a TorchScript program" in refused(path)


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    pickled = state_pickle({"weight": np.zeros((4, 4), np.float32)})
    path = archived(tmp_path / "net.pth", pickled, k0=b"\0" * 60)
    assert "larger than its storage" in refused(path)
    huge = state_pickle({"weight": np.broadcast_to(np.float32(0), (2**15, 2**15))})
    archived(path, huge, k0=b"\0" * 4)
    assert "larger than its storage" in refused(path)


def test_a_wrapped_state_dict_is_read(tmp_path: Path) -> None:
    inner = state_pickle({"weight": np.ones(2, np.float32)})[2:-1]
    file = io.BytesIO(b"\x80\x02}X\x0a\x00\x00\x00state_dict" + inner + b"s.")
    path = archived(tmp_path / "net.pth", file.getvalue(), k0=np.ones(2, np.float32).tobytes())
    np.testing.assert_array_equal(read(path)["weight"], [1, 1])
