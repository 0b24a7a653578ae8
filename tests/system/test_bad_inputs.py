"""An invalid configuration or command gives a one-line error and its exit code.

Every case goes through the command line. Cases marked ``real`` run in a process of their own, as
they open sockets, folders, models or sources. The others call the same function in this process.
"""

import contextlib
import fcntl
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zmq

from edge.cli import run_command_line
from tests.support.command_errors import the_error
from tests.support.daemons import PURPOSE, affect_edge

CONFIG = 78


@dataclass(frozen=True)
class Case:
    """An invalid input: how it is passed, and the words that the error must contain.

    ``placeholders`` gives the values of ``{tmp}``, ``{busy}`` and ``{web}``.
    """

    name: str
    arguments: tuple[str, ...]
    words: tuple[str, ...]
    toml: str | bytes | None = None
    variables: dict[str, str] = field(default_factory=dict)
    real: bool = False
    code: int = CONFIG


def toml(name: str, text: str | bytes, *words: str, real: bool = False) -> Case:
    """Return a case of a configuration file with content ``text``."""
    return Case(name, ("check", "-c", "{tmp}/edge.toml"), words, toml=text, real=real)


def setting(name: str, text: str, *words: str, real: bool = False) -> Case:
    """Return a case of one ``--set`` option."""
    command = ("run", "--source", "demo") if real else ("check",)
    return Case(name, (*command, "--set", text), words, real=real)


def source(name: str, word: str, *words: str, extra: tuple[str, ...] = ()) -> Case:
    """Return a case of a daemon whose source cannot be used."""
    return Case(name, ("run", "--source", word, *PURPOSE, *extra), words, real=True)


FILES = [
    Case("missing file", ("check", "-c", "{tmp}/none.toml"), ("{tmp}/none.toml", "No such file")),
    Case("a folder", ("check", "-c", "{tmp}/empty"), ("{tmp}/empty", "directory"), real=True),
    Case("a long name", ("check", "-c", "{tmp}/" + "x" * 300), ("too long",)),
    toml("binary", b"\x00\xff\xfe\x80" * 64, "edge.toml", "not UTF-8"),
    toml("huge", b"# nothing\n" * 200_000, "edge.toml", "more than 1 MiB"),
    toml("not TOML", "device: name", "edge.toml", "not TOML", "line 1", real=True),
    toml("latin-1", "[device]\nname = 'caf\xe9'".encode("latin-1"), "edge.toml", "not UTF-8"),
    toml(
        "twice the same key", "[affect]\nsmoothing_s = 1\nsmoothing_s = 2", "not TOML", "overwrite"
    ),
    toml("unknown section", "[camera]\nwidth = 3", "edge.toml", "camera", "unknown key"),
    toml("key outside sections", 'purpose = "safety"', "purpose", "unknown key"),
    toml("section as value", "device = 3", "device", "received 3"),
    toml("unknown key", '[device]\ncolour = "red"', "device.colour", "unknown key", real=True),
    toml("misspelt key", "[detector]\ntreshold = 0.5", "detector.treshold", "unknown key"),
    *(
        toml(f"threshold {value}", f"[detector]\nthreshold = {value}", "detector.threshold", shown)
        for value, shown in (('"high"', "'high'"), ("true", "True"), ("nan", "nan"), ("1.5", "1.5"))
    ),
    toml("fraction for a count", "[detector]\nthreads = 1.5", "detector.threads", "1.5"),
    toml("list for a text", '[device]\nname = ["a"]', "device.name", "['a']"),
    toml("date for a number", "[affect]\nsmoothing_s = 2020-01-01", "affect.smoothing_s"),
    toml("infinite", "[tracking]\nvanish_s = inf", "tracking.vanish_s", "inf", real=True),
    toml("minus infinity", "[affect]\nlabel_hold_s = -inf", "affect.label_hold_s", "-inf"),
    toml("negative", "[publish]\ndrain_s = -1.0", "publish.drain_s", "-1.0"),
    toml("zero", "[limits]\nstall_s = 0.0", "limits.stall_s", "0.0"),
    toml("enormous", f"[detector]\nthreads = {10**30}", "detector.threads"),
    *(
        toml(f"device name {each!r}", f'[device]\nname = "{each}"', "device.name", repr(each))
        for each in ("", "a b", "Chamber", "a" * 33, "../x")
    ),
    toml("no purpose", '[source]\nkind = "picamera"', "device.purpose", "not set", real=True),
    toml("unknown purpose", '[device]\npurpose = "hobby"', "device.purpose", "'hobby'"),
    toml("empty purpose", '[device]\npurpose = ""', "device.purpose", "''"),
    toml("unknown kind of source", '[source]\nkind = "webcam"', "source", "webcam"),
    toml("key of another kind", '[source]\nkind = "demo"\npath = "x"', "source.path"),
    toml("source without its path", '[source]\nkind = "images"', "source.path", "required"),
    toml("empty path", '[source]\nkind = "video"\npath = ""', "source.path", "''"),
    toml("a NUL in a path", '[source]\nkind = "video"\npath = "a\\u0000b"', "source.path"),
    toml("a NUL in a folder", '[journal]\npath = "a\\u0000b"', "journal.path"),
    toml("a NUL in an endpoint", '[publish]\nendpoint = "ipc:///a\\u0000b"', "publish.endpoint"),
    toml(
        "camera number out of range",
        '[source]\nkind = "picamera"\ncamera = 9',
        "source.camera",
        "9",
    ),
    toml("empty model name", '[detector]\nmodel = ""', "detector.model", "''"),
]


SETTINGS = [
    setting("set without a value", "detector.threshold", "--set", "'detector.threshold'"),
    setting("set without a key", "=1", "--set", "'=1'"),
    setting("set without a section", "threshold=0.5", "--set threshold", "section"),
    setting("set too deep", "a.b.c=1", "--set a.b.c"),
    setting("set with an empty section", ".x=1", "--set .x"),
    setting("set with an empty key", "detector.=1", "--set detector."),
    setting("set an unknown section", "nosuch.key=1", "nosuch", "unknown key", real=True),
    setting("set an unknown key", "detector.nosuch=1", "detector.nosuch", "unknown key"),
    setting("set nan", "detector.threshold=nan", "detector.threshold", "nan"),
    setting("set two lines", "device.name=a\nb", "device.name", "a\\nb"),
    Case(
        "a wrong variable",
        ("check",),
        ("detector.threshold", "'high'"),
        variables={"AFFECT_EDGE__DETECTOR__THRESHOLD": "high"},
        real=True,
    ),
    Case(
        "a variable without a key",
        ("check",),
        ("AFFECT_EDGE__DETECTOR", "section"),
        variables={"AFFECT_EDGE__DETECTOR": "1"},
    ),
    Case(
        "a variable of an unknown key",
        ("check",),
        ("detector.colour", "unknown key"),
        variables={"AFFECT_EDGE__DETECTOR__COLOUR": "1"},
    ),
    *(
        setting(f"endpoint {each}", f'publish.endpoint="{each}"', "publish.endpoint", repr(each))
        for each in (
            "tcp://0.0.0.0:5555",
            "tcp://*:5555",
            "tcp://[::]:5555",
            "tcp://192.168.1.2:5555",
            "tcp://camera.example.org:5555",
            "tcp://localhost.example.org:5555",
            "tcp://127.0.0.1",
            "tcp://127.0.0.1:0",
            "tcp://127.0.0.1:99999",
            "127.0.0.1:5555",
            "udp://127.0.0.1:5555",
            "ipc://",
            "",
        )
    ),
    setting(
        "one endpoint for two sockets",
        'publish.service_endpoint="tcp://127.0.0.1:5555"',
        "publish",
        "127.0.0.1:5555",
        "both",
    ),
    setting(
        "service endpoint on all interfaces",
        'publish.service_endpoint="tcp://*:1"',
        "service_endpoint",
    ),
    *(
        setting(f"metrics {each}", f'metrics.address="{each}"', "metrics.address", repr(each))
        for each in ("0.0.0.0:9108", "9108", ":9108", "localhost:99999", "[::]:9108")
    ),
]


COMMANDS = [
    Case("unknown command", ("fly",), ("fly",), real=True),
    Case("unknown option", ("run", "--colour", "red"), ("--colour",), real=True),
    Case("option without its value", ("run", "--source"), ("--source",)),
    Case("one argument too many", ("schema", "twice"), ("twice",)),
    Case("unknown command for models", ("models", "fly"), ("fly",)),
    Case("log without a file", ("log",), ("--out",), real=True),
    Case("log of a week", ("log", "--out", "{tmp}/a.csv", "--rotate", "week"), ("week", "day")),
    Case("log since noon", ("log", "--out", "{tmp}/a.csv", "--since", "noon"), ("noon", "epoch")),
    Case("log as text", ("log", "--out", "{tmp}/a.txt"), ("a.txt", ".jsonl")),
    Case("log into no folder", ("log", "--out", "{tmp}/no/a.csv"), ("{tmp}/no/a.csv",), real=True),
    Case("log over a folder", ("log", "--out", "{tmp}/dir.jsonl"), ("{tmp}/dir.jsonl",)),
    Case("log over something else", ("log", "--out", "{tmp}/text.jsonl"), ("{tmp}/text.jsonl",)),
    Case("log from nowhere", ("log", "--connect", "x", "--out", "{tmp}/b.csv"), ("'x'",)),
    Case("tail of nowhere", ("tail", "--connect", "bogus"), ("'bogus'", "tcp://"), real=True),
    Case("tail of no port", ("tail", "--connect", "tcp://127.0.0.1"), ("tcp://127.0.0.1",)),
    Case("tail of nothing", ("tail", "--limit", "0"), ("--limit", "1")),
]


SOURCES = [
    source("missing source", "{tmp}/none.mp4", "{tmp}/none.mp4", "no such file"),
    source("nothing as source", "", "source"),
    source("source of a long name", "{tmp}/" + "x" * 300, "--source"),
    source("unknown scheme", "gopher://camera/1", "gopher://camera/...", "rtsp://"),
    source("address without a host", "rtsp://", "source.url", "rtsp"),
    source("empty folder", "{tmp}/empty", "{tmp}/empty", "no pictures"),
    source("folder of text", "{tmp}/texts", "{tmp}/texts", "no pictures", ".png"),
    source("text as video", "{tmp}/text.mp4", "{tmp}/text.mp4", "no video"),
    source("empty file as video", "{tmp}/empty.mp4", "{tmp}/empty.mp4", "no video"),
    source("device as video", "/dev/null", "/dev/null", "not a file"),
    source("folder of one corrupt picture", "{tmp}/corrupt", "not one picture", "only.png"),
    source("folder of unreadable pictures", "{tmp}/corrupts", "not one picture", "c.png"),
    *(
        source(f"no-pace with {word}", word, "--no-pace", "live", extra=("--no-pace",))
        for word in ("picamera", "/dev/video7", "rtsp://127.0.0.1:9/x")
    ),
    Case(
        "file as Video4Linux camera",
        ("run", *PURPOSE, "--set", 'source.kind="v4l2"', "--set", 'source.path="{tmp}/text.mp4"'),
        ("source.path", "{tmp}/text.mp4", "not a device"),
        real=True,
    ),
]


PLACES = [
    setting("port in use", 'publish.endpoint="{busy}"', "{busy}", "in use", real=True),
    Case(
        "service port in use",
        (
            *("run", "--source", "demo", "--set", 'publish.endpoint="ipc://{tmp}/live"'),
            *("--set", 'metrics.address=""', "--set", 'publish.service_endpoint="{busy}"'),
        ),
        ("publish.service_endpoint", "{busy}", "in use"),
        real=True,
    ),
    setting("socket in no folder", 'publish.endpoint="ipc://{tmp}/no/x"', "{tmp}/no/x", real=True),
    setting(
        "socket with a long name", f'publish.endpoint="ipc:///tmp/{"x" * 120}"', "xxx", real=True
    ),
    setting("metrics port in use", 'metrics.address="{web}"', "{web}", "in use", real=True),
    setting("no such address", 'metrics.address="127.999.0.1:1"', "127.999.0.1:1", real=True),
    setting("journal is a file", 'journal.path="{tmp}/text.mp4"', "{tmp}/text.mp4", real=True),
    setting("journal in a file", 'journal.path="{tmp}/text.mp4/a"', "{tmp}/text.mp4/a", real=True),
    setting("journal cannot be made", 'journal.path="/proc/x/y"', "/proc/x/y", real=True),
    setting("journal in use", 'journal.path="{tmp}/taken"', "{tmp}/taken", "in use", real=True),
]


CASES = [*FILES, *SETTINGS, *COMMANDS, *SOURCES, *PLACES]


@pytest.fixture(scope="module")
def placeholders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the values of placeholders: a folder of invalid files, and endpoints in use."""
    folder = tmp_path_factory.mktemp("bad")
    for name in ("empty", "texts", "corrupt", "corrupts", "taken", "dir.jsonl"):
        (folder / name).mkdir()
    for name in ("texts/a.txt", "texts/b.md", "text.mp4", "text.jsonl"):
        (folder / name).write_text("only text\n" * 50)
    (folder / "empty.mp4").touch()
    for name in ("corrupt/only.png", "corrupts/b.jpg", "corrupts/c.png"):
        (folder / name).write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    (folder / "corrupts/a.png").touch()
    with contextlib.ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        taken = stack.enter_context(context.socket(zmq.PUB))
        taken.bind("tcp://127.0.0.1:*")
        web = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        lock = stack.enter_context((folder / "taken" / "lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield {
            "{tmp}": str(folder),
            "{busy}": taken.getsockopt_string(zmq.LAST_ENDPOINT),
            "{web}": f"127.0.0.1:{web.getsockname()[1]}",
        }


def filled(text: str, placeholders: dict[str, str]) -> str:
    """Return ``text`` with its placeholders replaced."""
    for name, value in placeholders.items():
        text = text.replace(name, value)
    return text


def test_the_table_has_enough_cases_with_unique_names() -> None:
    assert len(CASES) >= 60
    assert sum(case.real for case in CASES) >= 25
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_an_invalid_input_gives_a_one_line_error(
    case: Case,
    placeholders: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [filled(each, placeholders) for each in case.arguments]
    if case.toml is not None:
        content = case.toml.encode() if isinstance(case.toml, str) else case.toml
        Path(placeholders["{tmp}"], "edge.toml").write_bytes(content)
    if case.real:
        environment = {
            "AFFECT_EDGE__PUBLISH__ENDPOINT": f"ipc://{tmp_path}/live",
            "AFFECT_EDGE__METRICS__ADDRESS": "",
            **case.variables,
        }
        done = affect_edge(*arguments, environment=environment)
        code, stderr = done.returncode, done.stderr
        assert done.stdout == ""
    else:
        for name, value in case.variables.items():
            monkeypatch.setenv(name, value)
        code = run_command_line(arguments)
        printed = capsys.readouterr()
        stderr = printed.err
        assert printed.out == ""
    line = the_error(stderr)
    assert code == case.code
    for word in case.words:
        assert filled(word, placeholders) in line, line
    assert len(line) < 600


def test_no_error_shows_the_password_of_a_camera(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ("--source", "rtsp://user:secret@ho st/"),
        ("--source", "rtsp://user:secret@h/?key=secret &x"),
        ("--source", "x://u:secret@h"),
        ("--source", "192.168.7.20/user=admin&password=secret"),
        ("rtsp://192.168.7.20/user=admin&password=secret",),  # --source forgotten
        ("--set", "source.kind=video", "--set", "source.path=rtsp://192.168.7.20/secret"),
        ("--set", "source.kind=v4l2", "--set", "source.path=http://192.168.7.20/secret"),
    ):
        assert run_command_line(["run", *arguments, *PURPOSE]) == CONFIG
        assert "secret" not in the_error(capsys.readouterr().err)
