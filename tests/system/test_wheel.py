"""The wheel: holds what a device needs and nothing else, and runs without the repository."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from edge.vision.inference import bundled_models
from tests.support.daemons import ROOT

DATA = (
    "edge/vision/data/golden-face.png",
    "edge/vision/sources/clip/demo.mp4",
    *(f"affect_edge_models/{folder.name}/manifest.json" for folder in bundled_models()),
)
PACKAGES = ("edge/", "exporters/", "benchmarks/", "affect_edge_models/", "affect_edge-")
PICTURES = {"edge/vision/data/golden-face.png", "edge/vision/sources/clip/demo.mp4"}


def run(*command: str | Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command in ``folder``, without this repository on its path."""
    environment = {name: value for name, value in os.environ.items() if "PYTHON" not in name}
    environment["PYTHONWARNINGS"] = "default"
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree."""
    out = tmp_path_factory.mktemp("wheel")
    done = run(
        *(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT),
        folder=out,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; it uses the dependencies of the present one."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    done = run(
        *(sys.executable, "-m", "pip", "--python", python, "install"),
        *("--no-deps", "--no-index", "--no-cache-dir", "--disable-pip-version-check", wheel),
        folder=folder,
    )
    assert done.returncode == 0, done.stderr
    (own,) = folder.glob("lib/python*/site-packages")
    # Python ignores .pth files in a folder that a .pth file adds, so this tree stays off the path
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_the_wheel_holds_what_a_device_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for name in DATA:
            assert name in names
        for folder in bundled_models():
            packed = f"affect_edge_models/{folder.name}"
            manifest = json.loads(archive.read(f"{packed}/manifest.json"))
            for artifact in manifest["artifacts"]:
                name = f"{packed}/{artifact['file']}"
                assert archive.getinfo(name).file_size == artifact["bytes"]
                assert archive.read(name) == (folder / artifact["file"]).read_bytes()
    assert len([name for name in names if name.endswith("manifest.json")]) == 7
    page = (ROOT / "edge/dashboard/static").rglob("*.*")
    for source in [*(ROOT / "edge").rglob("*.py"), *page]:
        assert str(source.relative_to(ROOT)) in names


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert not [name for name in names if not name.startswith(PACKAGES)]
    assert not [name for name in names if "published" in name or "test" in name.lower()]
    assert not [name for name in names if name.endswith((".pyc", ".toml", ".jsonl", ".sqlite"))]
    shown = (".jpg", ".jpeg", ".png", ".bmp", ".npz", ".mp4", ".avi")
    assert {name for name in names if name.lower().endswith(shown)} == PICTURES
    assert wheel.stat().st_size < 75_000_000  # four networks in four artifacts, three in two


def test_the_package_is_imported_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = (
        "import json, sys, edge, edge.vision.inference.folders as f;"
        "print(json.dumps([edge.__file__, [str(r) for r in f.model_roots()], sys.path]))"
    )
    done = run(installed / "bin" / "python", "-c", code, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    file, roots, path = json.loads(done.stdout)
    assert Path(file).is_relative_to(installed)
    assert all(Path(root).is_relative_to(installed) for root in roots)
    assert len(roots) == 1
    assert str(ROOT) not in path


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("version", "affect-edge"),
        ("models verify", "ok     expression-nir"),
        ("check", "ok     expression expression-nir: golden face"),
        ("demo", "classified"),
        ("bench --source demo --in-memory --frames 5", "frames a second"),
        ("bench --faces 2 --frames 5", "identity switches"),
        ("bench suite --only demo --frames 5", "processor p50"),
        ("bench cost --faces 1", "PREDICTION"),
    ],
)
def test_the_installed_commands_work_in_another_folder(
    command: str, words: str, installed: Path, tmp_path: Path
) -> None:
    done = run(installed / "bin" / "affect-edge", *command.split(), folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert words in done.stdout
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert list(tmp_path.iterdir()) == []
