"""``check`` and the daemon refuse an invalid model with a one-line error."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.cli import run_command_line
from tests.support.command_errors import the_error
from tests.support.daemons import ROOT, affect_edge
from tests.support.rights import AS_PLAIN_USER

CONFIG = 78


def copied(name: str, folder: Path) -> Path:
    """Copy a bundled model, so that a test can damage it."""
    return Path(shutil.copytree(ROOT / "models" / name, folder / name))


def damaged(what: str, folder: Path) -> tuple[str, str, tuple[str, ...]]:
    """Damage a copy of a model; return model, artifact and the expected words of the error."""
    if what == "missing folder":
        return str(folder / "none"), "auto", (str(folder / "none"), "no such folder")
    if what == "no such bundled model":
        return "centreface", "auto", ("centreface", "centerface-320x192")
    if what == "made for another task":
        return "expression-nir", "auto", ("expression-nir", "facial-expression")
    if what == "no such artifact":
        return "centerface-320x192", "none.onnx", ("none.onnx", "centerface.onnx")
    model = copied("centerface-320x192", folder)
    manifest, artifact = model / "manifest.json", model / "centerface.onnx"
    match what:
        case "no manifest":
            manifest.unlink()
            words = (str(manifest), "No such file")
        case "manifest is no JSON":
            manifest.write_text("name: centerface")
            words = (str(manifest), "JSON")
        case "manifest is binary":
            manifest.write_bytes(bytes(range(256)) * 8)
            words = (str(manifest),)
        case "manifest with an unknown field":
            data = json.loads(manifest.read_text())
            manifest.write_text(json.dumps({**data, "colour": "red"}))
            words = (str(manifest), "colour")
        case "one bit wrong":
            content = bytearray(artifact.read_bytes())
            content[len(content) // 2] ^= 1
            artifact.write_bytes(content)
            words = (str(artifact), "sha256")
        case "cut off":
            artifact.write_bytes(artifact.read_bytes()[:-1000])
            words = (str(artifact), "bytes")
        case "failed parity":
            data = json.loads(manifest.read_text())
            data["parity"]["centerface.onnx"]["passed"] = False
            manifest.write_text(json.dumps(data))
            words = ("centerface", "parity")
        case _:
            raise AssertionError(what)
    # by name, as auto could choose another, valid artifact
    return str(model), artifact.name, words


MODELS = [
    "missing folder",
    "no such bundled model",
    "made for another task",
    "no such artifact",
    "no manifest",
    "manifest is no JSON",
    "manifest is binary",
    "manifest with an unknown field",
    "one bit wrong",
    "cut off",
    "failed parity",
]


ALSO_RUN = ("no such bundled model", "made for another task", "no manifest", "one bit wrong")


@pytest.mark.parametrize("what", MODELS)
def test_an_invalid_model_is_refused(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, artifact, words = damaged(what, tmp_path)
    settings = ["--set", f'detector.model="{model}"', "--set", f'detector.artifact="{artifact}"']
    assert run_command_line(["check", *settings]) == CONFIG
    printed = capsys.readouterr()
    assert printed.err == ""
    wrong = [line for line in printed.out.splitlines() if line.startswith("WRONG")]
    assert wrong
    assert all(word in wrong[0] for word in words), wrong
    others = [line for line in printed.out.splitlines() if line.startswith(("ok  ", "WARN  "))]
    assert len(wrong) == len(printed.out.splitlines()) - len(others)
    if what in ALSO_RUN:
        endpoint = ("--set", f'publish.endpoint="ipc://{tmp_path}/live"')
        quiet = ("--set", 'metrics.address=""')
        done = affect_edge("run", "--source", "demo", *settings, *endpoint, *quiet)
        line = the_error(done.stderr)
        assert done.returncode == CONFIG
        assert all(word in line for word in words), line


@pytest.mark.parametrize(
    "arguments",
    [
        ("edge", "check", "--set", 'detector.model="{closed}"'),
        ("edge", "run", "--source", "demo", "--set", 'detector.model="{closed}"'),
        ("edge", "check", "--set", 'detector.model="{closed}/below"'),
        ("edge", "run", "--source", "{closed}/below"),
        ("exporters", "golden", "--model", "{closed}"),
        ("exporters", "golden", "--model", "{closed}/below"),
    ],
    ids=" ".join,
)
def test_a_folder_without_search_permission_is_refused(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    model = copied("centerface-320x192", tmp_path)
    model.chmod(0o644)
    variables = {
        "AFFECT_EDGE__PUBLISH__ENDPOINT": f"ipc://{tmp_path}/live",
        "AFFECT_EDGE__PUBLISH__SERVICE_ENDPOINT": "",
        "AFFECT_EDGE__METRICS__ADDRESS": "",
    }
    command = [*AS_PLAIN_USER, sys.executable, "-m"]
    command += [each.replace("{closed}", str(model)) for each in arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
        env={**os.environ, **variables},
    )  # fmt: skip
    assert done.returncode == CONFIG, done.stderr
    output = done.stderr if arguments[1] != "check" else done.stdout
    (line,) = (each for each in output.splitlines() if "Permission denied" in each)
    assert str(model) in line
    assert "Traceback" not in done.stderr
