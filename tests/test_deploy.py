"""The service file and the example configuration."""

import os
import re
import shutil
import subprocess
import tomllib
import types
import typing
from pathlib import Path

import pytest

from edge.board import worker_rss_limit_mb
from edge.config import Config, Section, SourceConfig, load_config
from edge.hub.supervisor import FIRST_RESULT_S
from tests.support.postgres import require

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "systemd/affect-edge.service"
CHECK = ROOT / "deploy/check-unit"
EXAMPLE = ROOT / "deploy/edge.example.toml"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to root")


@pytest.fixture
def systemd():
    """Debian's package; without it the test is skipped."""
    require("systemd-analyze", shutil.which("systemd-analyze"))


needs_systemd = pytest.mark.usefixtures("systemd")


def check_unit(unit, **environment):
    return subprocess.run(
        [CHECK, unit], capture_output=True, text=True, check=False, env=environment or None
    )


UNITS = sorted((ROOT / "systemd").glob("*.service"))
EXPOSURE = {
    "affect-edge.service": 1.2,
    "affect-edge@.service": 1.2,
    "affect-edge-log.service": 1.0,
    "affect-edge-dashboard.service": 1.0,
    "affect-edge-clock.service": 0.5,
}


def installed(unit, folder):
    """Return a copy of the unit as one that systemd-analyze can judge on this machine."""
    copy = folder / unit.name.replace("@.", "@left.")
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text()))
    return copy


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_verifies_the_units_without_warnings(systemd, tmp_path, unit):
    copy = installed(unit, tmp_path)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_units_are_rated_secure(systemd, tmp_path, unit):
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", installed(unit, tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    exposure = re.search(r"Overall exposure level for \S+ (\d+\.\d)", done.stdout)
    assert float(exposure[1]) <= EXPOSURE[unit.name]
    page = (ROOT / "docs/security.md").read_text()
    assert f"| `{unit.name}` | {EXPOSURE[unit.name]} |" in page


def test_the_template_is_the_unit_with_the_name_of_an_instance():
    unit, template = (path.read_text() for path in (UNIT, UNIT.with_name("affect-edge@.service")))
    expected = unit[unit.index("[Unit]") :]
    for plain, named in (
        ("Description=Facial affect from near-infrared video", "\\g<0>: %i"),
        ("/etc/affect-edge/edge.toml", "/etc/affect-edge/%i.toml"),
        ("/etc/affect-edge/secrets.env", "/etc/affect-edge/%i.secrets.env"),
        ("%S/affect-edge$", "\\g<0>-%i"),
        ("^(State|Runtime)Directory=affect-edge$", "\\g<0>-%i"),
    ):
        expected, count = re.subn(plain, named, expected, flags=re.M)
        assert count, plain
    assert template[template.index("[Unit]") :] == expected


@needs_root
def test_tmpfiles_closes_folders_and_secrets(systemd, tmp_path):
    keys = tmp_path / "etc/affect-edge/keys"
    keys.mkdir(parents=True)
    secrets = [keys / "device.key_secret", keys.parent / "secrets.env",
               keys.parent / "left.secrets.env"]  # fmt: skip
    for path in secrets:
        path.write_text("secret")
        path.chmod(0o644)
    rules = ROOT / "systemd/tmpfiles.d/affect-edge.conf"
    command = ["systemd-tmpfiles", f"--root={tmp_path}", "--create", rules]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [oct(path.stat().st_mode & 0o777) for path in secrets] == ["0o600"] * 3
    assert keys.stat().st_mode & 0o777 == 0o700
    assert (keys.parent / "allowed").stat().st_mode & 0o777 == 0o755


def test_the_drop_in_for_keys_names_settings_of_the_program():
    text = UNIT.with_name("affect-edge.service.d").joinpath("keys.conf").read_text()
    settings = dict(re.findall(r"(?m)^Environment=(\w+)=(.*)$", text))
    config = load_config(environment=settings)
    (credential, source) = re.findall(r"(?m)^LoadCredential=([^:]+):(.*)$", text)[0]
    assert config.security.secret_key == f"%d/{credential}"
    assert source == "/etc/affect-edge/keys/device.key_secret"
    assert config.security.allowed_keys == "/etc/affect-edge/allowed"


@needs_systemd
def test_check_unit_accepts_the_unit():
    done = check_unit(UNIT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no finding" in done.stdout


@needs_systemd
def test_check_unit_checks_every_unit_without_an_argument():
    done = subprocess.run([CHECK], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for unit in (ROOT / "systemd").glob("*.service"):
        assert f"{unit.name}: no finding" in done.stdout


@needs_systemd
@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (("WatchdogSec=", "WatchdogSecs="), "Unknown key"),
        (("Type=notify", "Type=notifies"), "service type"),
        (("PrivateUsers=yes", "PrivateUsers=no"), "more exposed"),
        (("\nCapabilityBoundingSet=\n", "\n"), "more exposed"),
        (("[Service]", "[Services]"), "affect-edge"),
    ],
)
def test_check_unit_refuses_a_worse_unit(tmp_path, change, finding):
    text = UNIT.read_text()
    assert change[0] in text
    worse = tmp_path / UNIT.name
    worse.write_text(text.replace(*change))
    done = check_unit(worse)
    assert done.returncode == 1
    assert finding in done.stderr


@needs_systemd
def test_check_unit_checks_the_drop_ins(tmp_path):
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text())
    shutil.copytree(UNIT.with_name(f"{UNIT.name}.d"), f"{copy}.d")
    assert check_unit(copy).returncode == 0
    drop_in = tmp_path / f"{UNIT.name}.d/reboot.conf"
    drop_in.write_text(drop_in.read_text().replace("ExecStopPost=", "ExecStopPosts="))
    done = check_unit(copy)
    assert done.returncode == 1
    assert "Unknown key" in done.stderr


def test_check_unit_passes_without_systemd(tmp_path):
    for tool in ("bash", "dirname"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    done = check_unit(UNIT, PATH=str(tmp_path))
    assert done.returncode == 0
    assert "was not checked" in done.stdout


def test_the_unit_agrees_with_the_program():
    """Command, exit codes, limits and folders are those of the program."""
    settings = {}
    for line in UNIT.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            settings.setdefault(key, []).append(value)
    assert settings["ExecStart"] == [
        "/opt/affect-edge/venv/bin/affect-edge run -c /etc/affect-edge/edge.toml"
    ]
    assert settings["Restart"] == ["always"]
    assert settings["RestartPreventExitStatus"] == ["0 78"]
    assert settings["LimitCORE"] == ["0"]
    assert settings["MemorySwapMax"] == ["0"]
    assert settings["LimitMEMLOCK"] == ["infinity"]  # the worker locks its memory
    limits = Config().limits
    assert limits.start_s + FIRST_RESULT_S <= float(settings["TimeoutStartSec"][0])
    variable = next(e for e in settings["Environment"] if e.startswith("AFFECT_EDGE__"))
    name, _, folder = variable.partition("=")
    assert folder == "%S/affect-edge"
    assert settings["StateDirectory"] == ["affect-edge"]
    assert load_config(environment={name: folder}).journal.path == folder


def unit_settings(key):
    return re.findall(rf"(?m)^{key}=(.*)$", UNIT.read_text())


@pytest.mark.parametrize("memory_mb", [416, 906, 1846, 3792, 7900, 16000])  # 512 MB to 16 GB
def test_the_workers_memory_limit_leaves_memory_for_the_hub(memory_mb):
    """The hub replaces a worker that grows too big; MemoryMax would stop the whole service."""
    (share,) = unit_settings("MemoryMax")
    hub_mb = 64  # 43 were measured
    worker_mb = worker_rss_limit_mb(Config().limits.worker_rss_mb, memory_mb)
    assert worker_mb + hub_mb <= memory_mb * float(share.removesuffix("%")) / 100


def test_kernel_modules_of_the_allowed_devices_are_loaded_first():
    """systemd leaves out of DeviceAllow a device class that the kernel does not know yet."""
    classes = {each.removeprefix("char-").split()[0] for each in unit_settings("DeviceAllow")}
    modules = {"video4linux": "videodev", "media": "mc"}  # dma_heap is built into the kernel
    assert classes == {*modules, "dma_heap"}
    for key in ("Wants", "After"):
        units = " ".join(unit_settings(key)).split()
        assert {f"modprobe@{module}.service" for module in modules.values()} <= set(units)


@needs_systemd
def test_the_unit_permits_the_system_calls_of_the_worker():
    """mlockall, munlockall and prlimit64 (setrlimit) are in no group that the unit refuses."""
    listing = subprocess.run(
        ["systemd-analyze", "syscall-filter", "@privileged", "@resources", "@memlock"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    refused, _, memlock = listing.partition("@memlock\n")
    assert {"mlockall", "munlockall"} <= set(memlock.split())
    assert not {"mlockall", "munlockall", "@memlock", "prlimit64"} & set(refused.split())
    assert unit_settings("SystemCallFilter")[:2] == ["@system-service", "~@privileged @resources"]


# The example configuration. A line "#key = value" is a setting that is commented out.


def source_kinds():
    return typing.get_args(typing.get_args(SourceConfig)[0])


def fold(text):
    """Return ``text`` with its commented-out settings enabled."""
    return "\n".join(re.sub(r"^#(?=[\[a-z])", "", line) for line in text.splitlines())


def blocks():
    """Return (section name, text with every setting enabled) of each section, in order."""
    parts = re.split(r"(?m)^#?\[(\w+)\].*$", EXAMPLE.read_text())
    return [(name, fold(body)) for name, body in zip(parts[1::2], parts[2::2], strict=True)]


def model_of(name, settings):
    if name != "source":
        return Config.model_fields[name].annotation
    (model,) = (m for m in source_kinds() if settings["kind"] in
                typing.get_args(m.model_fields["kind"].annotation))  # fmt: skip
    return model


def test_the_example_equals_the_defaults():
    assert load_config(EXAMPLE, environment={}) == Config()


def test_active_keys_of_the_example_are_the_defaults():
    active = tomllib.loads(EXAMPLE.read_text())
    assert active == Config().model_dump(mode="json", exclude_none=True)


def test_the_example_has_every_section_and_source_once_in_order():
    names = [name for name, _ in blocks()]
    assert list(dict.fromkeys(names)) == list(Config.model_fields)
    kinds = [tomllib.loads(text)["kind"] for name, text in blocks() if name == "source"]
    known = [typing.get_args(m.model_fields["kind"].annotation)[0] for m in source_kinds()]
    missing = set(known) - set(kinds)
    assert not missing, f"add a [source] of each kind of {missing} to deploy/edge.example.toml"
    assert sorted(kinds) == sorted(known)
    assert len(names) == len(Config.model_fields) - 1 + len(known)


@pytest.mark.parametrize(("name", "text"), blocks())
def test_the_example_has_every_key_with_its_default(name, text):
    settings = tomllib.loads(text)
    model = model_of(name, settings)
    assert issubclass(model, Section)
    assert list(settings) == list(model.model_fields)
    section = model.model_validate(settings)  # settings that are commented out are valid, too
    for key, field in model.model_fields.items():
        if field.is_required() or field.default is None:
            continue
        assert getattr(section, key) == field.default, f"{name}.{key}"
        assert type(settings[key]) is type(field.default) or is_float(field), f"{name}.{key}"


def is_float(field):
    allowed = field.annotation
    members = typing.get_args(allowed) if isinstance(allowed, types.UnionType) else (allowed,)
    return float in members


def test_the_example_explains_every_key():
    for line in EXAMPLE.read_text().splitlines():
        if re.match(r"#?[a-z_0-9]+ = ", line) and "kind = " not in line:
            assert re.search(r" {2,}# .{8,}$", line), line
