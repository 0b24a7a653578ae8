"""The command line: output and exit codes of its commands."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from edge import __version__, cli
from edge.errors import EXIT_CONFIG
from edge.protocol.json_schema import json_schema
from edge.tools import operator
from edge.vision.inference import bundled_models, folders
from edge.vision.sources.video import DEMO_CLIP
from tests.support.terminals import Terminal
from tests.support.waiting import HANG_S, wait_until

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = tuple(typer.main.get_command(cli.app).commands)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run a command; return exit code and output, and fail if it writes to standard error."""
    code = cli.run_command_line(arguments)
    captured = capsys.readouterr()
    assert captured.err == ""
    return code, captured.out


@pytest.fixture
def copied_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the bundled models, used instead of them."""
    root = tmp_path / "models"
    for folder in bundled_models():
        shutil.copytree(folder, root / folder.name)
    monkeypatch.setattr(folders, "model_roots", lambda: (root,))
    return root


def test_schema_prints_the_json_schema_of_messages(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = printed(capsys, "schema")
    assert code == 0
    assert json.loads(out) == json.loads(json_schema())


@pytest.mark.parametrize("word", ["version", "--version"])
def test_version(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, word) == (0, f"affect-edge {__version__}\n")


@pytest.mark.parametrize(
    "command",
    [(), *((name,) for name in COMMANDS), ("models", "verify"), ("participant", "assign")],
    ids=" ".join,
)
def test_every_command_has_a_short_and_a_long_option_for_help(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    if command == ("bench",):
        pytest.skip("argparse prints it, and exits")
    assert printed(capsys, *command, "-h") == printed(capsys, *command, "--help")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["log"], "Missing option '--out'; see affect-edge log --help"),
        (["nosuch"], "No such command 'nosuch'; see affect-edge --help"),
        (["session", "begin"], "Missing argument 'name'; see affect-edge session begin --help"),
        (
            ["log", "--out", "postgresql://u@h/d", "--rotate", "day"],
            "--rotate day: a database has no files to rotate; leave it out",
        ),
        (
            ["log", "--out", "out.csv", "--once", "--service", ""],
            "--once: expected --service, the address to fetch the stored messages",
        ),
        (
            ["participant", "assign", "4", "P07", "--epoch", "3"],
            "--epoch 3: expected --log LOG beside it; a running daemon knows only the present"
            " tracks",
        ),
        (
            ["tail", "--connect", "127.0.0.1:5555"],
            "endpoint '127.0.0.1:5555': Invalid argument; expected tcp://HOST:PORT or ipc://PATH",
        ),
        (
            ["export-log", "/", "--to", "out.csv"],
            "log /: is a folder; expected a SQLite log, NAME.sqlite; a Parquet log is tables"
            " already: docs/logging.md, Export",
        ),
    ],
)
def test_a_wrong_command_line_gives_one_line_that_says_what_to_do(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_command_line(arguments) == EXIT_CONFIG
    assert capsys.readouterr().err == f"affect-edge: error: {expected}\n"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["analyse", "visit.mp4", "--out", ""], "--out"),
        (["analyse", "visit.mp4", "--out="], "--out"),
        (["report", "", "--out", "page.html"], "an argument"),
        (["report", "log.sqlite", "--plots", "", "--out", "page.html"], "--plots"),
        (["keys", "new", "a", "--dir", ""], "--dir"),
        (["check", "-c", ""], "-c"),
        (["log", "--out", "log.sqlite", "--service", "", "--name", ""], "--name"),
        (["bench", "--source", ""], "--source"),
    ],
)
def test_an_empty_argument_is_refused(
    arguments: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a path it was the current folder: ``--out "$VARIABLE"`` wrote there."""
    assert cli.run_command_line(arguments) == EXIT_CONFIG
    line = f"affect-edge: error: {name}: expected a value, received an empty text"
    assert capsys.readouterr().err.startswith(line)


@pytest.mark.parametrize("value", ["0", "-7", "many"])
def test_a_wrong_number_is_named_with_its_option(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_command_line(["dashboard", "--viewers", value]) == EXIT_CONFIG
    (line,) = capsys.readouterr().err.splitlines()
    assert "'--viewers'" in line
    assert value in line
    assert line.endswith("; see affect-edge dashboard --help")


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:99999", "tcp://[::1]:0"])
@pytest.mark.parametrize("command", [("tail", "--connect"), ("mark", "x", "--service")])
def test_a_port_that_does_not_exist_is_refused(
    command: tuple[str, ...], endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_command_line([*command, endpoint]) == EXIT_CONFIG
    assert f"{endpoint!r}: expected a port from 1 to 65535" in capsys.readouterr().err


def test_a_mark_may_begin_with_a_minus(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was taken for an option: "No such option: -5"."""
    marked: list[tuple[str, str]] = []
    monkeypatch.setattr(operator, "mark", lambda service, text: marked.append((text, service)))
    for arguments in (
        ["-5bar"],
        ["-5 bar", "--service", "ipc://s"],
        ["--service", "ipc://s", "-x"],
    ):
        assert cli.run_command_line(["mark", *arguments]) == 0
    assert marked == [("-5bar", cli.SERVICE), ("-5 bar", "ipc://s"), ("-x", "ipc://s")]


def test_a_misspelt_option_of_mark_is_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_command_line(["mark", "--servcie"]) == EXIT_CONFIG
    assert "no such option: --servcie" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("--help",), ()])
def test_the_help_names_every_command(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = printed(capsys, *arguments)
    assert code == 0
    for command in COMMANDS:
        assert f" {command} " in out


def test_models_list_takes_names_and_folders(capsys: pytest.CaptureFixture[str]) -> None:
    folder = next(each for each in bundled_models() if each.name == "centerface-96x96")
    code, out = printed(capsys, "models", "list", str(folder), "expression-nir")
    assert code == 0
    assert {line.partition("/")[0] for line in out.splitlines() if line[0] != " "} == {
        "centerface-96x96",
        "expression-nir",
    }


def test_models_list_shows_parity(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out = printed(capsys, "models", "list")
    assert code == 0
    for folder in bundled_models():
        lines = out.partition(f"{folder.name}/")[2].splitlines()
        assert "parity: passed" in lines[1]


def test_bundled_models_verify(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = printed(capsys, "models", "verify")
    assert code == 0
    assert out.splitlines() == [f"ok     {folder.name}" for folder in bundled_models()]


def test_models_verify_prints_one_line_per_damaged_file(
    copied_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detector = copied_models / "centerface-320x192" / "centerface.onnx"
    detector.write_bytes(detector.read_bytes()[:-1])
    manifest = copied_models / "expression-nir" / "manifest.json"
    manifest.write_text("{}")
    code, out = printed(capsys, "models", "verify")
    assert code == cli.EXIT_CONFIG
    lines = out.splitlines()
    assert len(lines) == len(bundled_models())
    wrong = [line for line in lines if line.startswith("WRONG")]
    assert len(wrong) == 2
    assert str(detector) in wrong[0]
    assert str(manifest) in wrong[1]


def test_models_verify_reports_outputs_that_the_decoder_needs(
    copied_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied_models / "centerface-320x192" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["outputs"]["scale"]
    path.write_text(json.dumps(manifest))
    code, out = printed(capsys, "models", "verify")
    assert code == cli.EXIT_CONFIG
    (wrong,) = (line for line in out.splitlines() if line.startswith("WRONG"))
    assert "scale" in wrong


def test_models_verify_fails_without_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(folders, "model_roots", lambda: (tmp_path,))
    assert cli.run_command_line(["models", "verify"]) == cli.EXIT_CONFIG
    captured = capsys.readouterr()
    assert len((captured.out + captured.err).splitlines()) == 1


def test_check_prints_one_line_per_subject(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = printed(capsys, "check")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "ok     configuration: device edge, purpose demo, source demo"
    subjects = list(dict.fromkeys(line.partition(":")[0] for line in lines))
    # the level of these lines depends on the machine
    for name in (
        "swap",
        "publish.endpoint",
        "publish.service_endpoint",
        "metrics.address",
        "clock",
    ):
        subjects.remove(next(each for each in subjects if each[7:].partition(" ")[0] == name))
    assert subjects == [
        "ok     configuration",
        "ok     processor",
        "ok     memory",
        "ok     journal.path",
        "ok     security",
        "ok     pictures of a demo clip",
        "ok     detector centerface-320x192",
        "ok     region_detector centerface-96x96",
        "ok     expression expression-nir",
    ]
    assert sum(line.endswith(": golden face") for line in lines) == 3
    (choice,) = (line for line in lines if line.startswith("ok     detector") and "auto" in line)
    for artifact in ("centerface.onnx", "centerface.int8.onnx", "centerface.int8.tflite"):
        assert f"{artifact} " in choice
    assert re.search(r"; measured (earlier|\d{4}-\d\d-\d\d)\)$", choice)
    code, out = printed(capsys, "check", "--set", 'detector.artifact="centerface.onnx"')
    assert "detector centerface-320x192: auto" not in out


def test_check_refuses_a_detector_of_regions_that_run_refuses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = ('detector.schedule="region"', 'detector.region_model="centerface-320x192"')
    words = [word for each in settings for word in ("--set", each)]
    code, out = printed(capsys, "check", *words)
    assert code == 78
    assert "takes 320x192 pixels; expected a square input" in out


@pytest.mark.parametrize("key", ["detector.model", "translator.model"])
def test_check_shows_no_password_where_an_address_is_no_use(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = printed(capsys, "check", "--set", f"{key}=rtsp://me:S3cret@camera/1")[1]
    assert "rtsp://...@camera/..." in output
    assert "S3cret" not in output


def test_check_gives_one_line_to_a_name_of_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = tmp_path / "a\nWRONG  b.mp4"
    name.write_bytes(DEMO_CLIP.read_bytes())
    source = ("--set", 'source.kind="video"', "--set", f"source.path={name}")
    code, out = printed(capsys, "check", "--set", "device.purpose=safety", *source)
    assert code == 0
    assert "a\\nWRONG  b.mp4: the first picture has" in out
    assert "\nWRONG" not in out


def test_check_warns_of_the_example_as_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    example = ROOT / "deploy/edge.example.toml"
    code, out = printed(capsys, "check", "-c", str(example))
    assert code == 0
    assert out.splitlines()[1] == (
        f"WARN   configuration {example}: the source is the bundled clip, as in the example file;"
        " choose a [source] of your own"
    )


def test_check_reports_a_wrong_prediction_on_the_golden_face(
    copied_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = copied_models / "expression-nir" / "manifest.json"
    data = json.loads(manifest.read_text())
    data["golden"]["readings"][0]["valence"] = -1.0
    manifest.write_text(json.dumps(data))
    code, out = printed(capsys, "check")
    assert code == cli.EXIT_CONFIG
    wrong = [line for line in out.splitlines() if line.startswith("WRONG")]
    assert len(wrong) == 1
    assert "valence" in wrong[0]
    assert "expected -1.00" in wrong[0]


@pytest.mark.parametrize("command", ["schema", "models list", "models verify", "check", "--help"])
def test_a_closed_pipe_is_no_error(command: str) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "edge", *command.split()],
            stdout=write_end,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            timeout=60,
            check=False,
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("check", None),
        ("demo", None),
        ("models verify", None),
        ("bench --source demo --in-memory", None),
        ("run --source demo", 0),
        ("tail --connect ipc:///nowhere", 0),
        ("log --connect ipc:///nowhere --out {tmp}/a.csv", 0),
    ],
)
def test_the_exit_code_of_an_interrupted_command(
    command: str, code: int | None, number: signal.Signals, tmp_path: Path
) -> None:
    words = command.replace("{tmp}", str(tmp_path)).split()
    environment = {
        "AFFECT_EDGE__PUBLISH__ENDPOINT": f"ipc://{tmp_path}/live",
        "AFFECT_EDGE__PUBLISH__SERVICE_ENDPOINT": "",
        "AFFECT_EDGE__METRICS__ADDRESS": "",
    }
    with contextlib.closing(Terminal()) as terminal, subprocess.Popen(
        [*terminal.prefix, sys.executable, "-m", "edge", *words], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, **environment},
    ) as process:  # fmt: skip
        wait_until(lambda: handles(process.pid, signal.SIGTERM))
        process.send_signal(number)
        _, stderr = process.communicate(timeout=HANG_S)
    assert process.returncode == (128 + number if code is None else code), stderr
    assert "Traceback" not in stderr


def handles(pid: int, number: signal.Signals) -> bool:
    """Return whether the process has a handler for the signal; SIGINT's comes first."""
    caught = re.search(r"(?m)^SigCgt:\s*([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text())
    assert caught is not None
    return bool(int(caught[1], 16) >> (number - 1) & 1)
