"""onnxruntime is loaded from one place, which switches its telemetry off first."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HOME = Path("edge/vision/inference/ort.py")
FOLDERS = ("edge", "exporters", "benchmarks", "scripts", "tests")


def imported(path: Path) -> Iterator[str]:
    """Yield the name of every module that a file imports, wherever the statement stands."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Import():
                yield from (name.name for name in node.names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield module


def test_no_other_file_imports_onnxruntime() -> None:
    files = [path.relative_to(ROOT) for each in FOLDERS for path in (ROOT / each).rglob("*.py")]
    assert HOME in files
    found = [
        str(file)
        for file in files
        if any(name.partition(".")[0] == "onnxruntime" for name in imported(ROOT / file))
    ]
    assert found == [str(HOME)]


@pytest.mark.parametrize(
    "module",
    [
        "benchmarks.fps_baseline",
        "edge.vision.inference.ort",
        "exporters.artifacts.quantize",
        "exporters.cyclegan.onnx_source",
    ],
)
def test_telemetry_is_off_before_onnxruntime_loads(module: str) -> None:
    """Each module that uses onnxruntime is the first one imported here."""
    code = f"""
import os, sys

class Check:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            assert os.environ.get("ORT_DISABLE_TELEMETRY") == "1", name

sys.meta_path.insert(0, Check())
import {module}
assert "onnxruntime" in sys.modules
"""
    environment = {
        name: text for name, text in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"
    }
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, check=True)
