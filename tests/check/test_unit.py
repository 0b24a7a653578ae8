"""The environment of a systemd service, for ``check --unit``: real unit files and drop-ins."""

import shutil
from pathlib import Path

import pytest

from edge.check.unit import unit_environment
from edge.cli import run_command_line
from edge.errors import ConfigError
from tests.support.daemons import ROOT
from tests.support.keys import KeyFolder
from tests.support.ports import free_port


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A folder with the service files and their drop-ins, as an administrator may install them."""
    return Path(shutil.copytree(ROOT / "systemd", tmp_path / "units"))


def drop_in(units: Path, name: str, text: str) -> None:
    (units / name).parent.mkdir(exist_ok=True)
    (units / name).write_text(f"[Service]\n{text}\n")


def test_a_credential_is_the_file_that_it_is_loaded_from(units: Path) -> None:
    assert unit_environment("affect-edge", [units]) == {
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "AFFECT_EDGE__SECURITY__SECRET_KEY": "/etc/affect-edge/keys/device.key_secret",
        "AFFECT_EDGE__SECURITY__ALLOWED_KEYS": "/etc/affect-edge/allowed",
    }  # without the journal's folder, which is the service's user's


def test_a_file_of_settings_wins_over_the_unit(units: Path, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.env"
    secrets.write_text(
        "# remarks; and empty lines\n\n; are none\n"
        "A=plain words\n"
        'B="a \\"word\\" of \\$5 \\n"\nC=\'as \\it "is\'\n D = x\\\ny \nE=a\\ b\nF=\nG\n'
    )
    drop_in(units, "affect-edge.service.d/own.conf", f"EnvironmentFile={secrets}\nEnvironment=A=no")
    found = unit_environment("affect-edge.service", [units])
    assert {name: found[name] for name in found if len(name) == 1} == {
        "A": "plain words", "B": 'a "word" of $5 \\n', "C": 'as \\it "is', "D": "xy", "E": "a b",
        "F": "",
    }  # fmt: skip


def test_drop_ins_are_read_by_name_and_the_first_folder_wins(units: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    drop_in(units, "affect-edge.service.d/20.conf", 'Environment="A=two words" B=%S/%%d \\\n C=%n')
    drop_in(units, "affect-edge.service.d/10.conf", "Environment=A=first B=first")
    drop_in(run, "affect-edge.service.d/20.conf", "Environment=A=hidden")
    drop_in(run, "affect-edge.service.d/30.conf", "Environment=D=other\n[Unit]\nEnvironment=D=no")
    found = unit_environment("affect-edge", [units, run])
    assert [found[name] for name in "ABCD"] == [
        "two words", "/var/lib/%d", "affect-edge.service", "other"
    ]  # fmt: skip
    drop_in(units, "affect-edge.service.d/z.conf", "Environment=\nEnvironment=A=only")
    assert unit_environment("affect-edge", [units, run]) == {"A": "only"}


def test_an_instance_has_its_own_file_and_the_templates_drop_ins(
    units: Path, tmp_path: Path
) -> None:
    (tmp_path / "left.env").write_text("A=of left\n")
    drop_in(
        units,
        "affect-edge@.service.d/a.conf",
        f"EnvironmentFile={tmp_path}/%i.env\nEnvironment=B=1",
    )
    drop_in(units, "affect-edge@left.service.d/b.conf", "Environment=B=2")
    found = unit_environment("affect-edge@left.service", [units])
    assert (found["A"], found["B"]) == ("of left", "2")
    with pytest.raises(ConfigError, match=r"right[.]env: No such file or directory"):
        unit_environment("affect-edge@right", [units])


@pytest.mark.parametrize("name", ["afect-edge", "affect-edge" * 40, "/no/such/affect-edge"])
def test_a_service_that_is_not_there_is_one_line_and_78(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_command_line(["check", "--unit", name])
    printed = capsys.readouterr()
    assert (code, printed.out, printed.err.count("\n")) == (78, "", 1)
    assert printed.err.startswith(f"affect-edge: error: --unit {name}: no such service in /")


def test_files_that_cannot_be_used_are_named(units: Path, tmp_path: Path) -> None:
    (tmp_path / "bytes.env").write_bytes(b"A=\xff\n")
    drop_in(units, "affect-edge.service.d/a.conf", f"EnvironmentFile=-{tmp_path}/bytes.env")
    with pytest.raises(
        ConfigError, match=r"bytes[.]env: it is not UTF-8; expected a file that can"
    ):
        unit_environment("affect-edge", [units])
    drop_in(units, "affect-edge.service.d/a.conf", 'Environment="A=b')
    with pytest.raises(
        ConfigError, match=r"a[.]conf: Environment=: No closing quotation; expected"
    ):
        unit_environment("affect-edge", [units])


def test_a_unit_that_is_not_installed_gets_the_drop_ins_of_the_system(units: Path) -> None:
    """Those beside it in the repository, and in a release, are examples."""
    new = units.with_name("new")
    shutil.copytree(units, new)
    drop_in(units, "affect-edge@left.service.d/b.conf", "Environment=B=2")
    drop_in(new, "affect-edge@left.service.d/b.conf", "Environment=B=3")
    (new / "affect-edge@.service").write_text("[Service]\nEnvironment=A=new\n")
    assert unit_environment(f"{new}/affect-edge@left", [units]) == {"A": "new", "B": "2"}


def test_check_accepts_what_the_service_is_given(
    units: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Keys as in ``keys.conf``, a camera's address as in ``secrets.env``."""
    keys = KeyFolder(tmp_path, "logger")
    config = tmp_path / "edge.toml"
    config.write_text(
        '[device]\npurpose = "safety"\n[source]\nkind = "stream"\n'
        f'[publish]\nendpoint = "tcp://*:{free_port()}"\nservice_endpoint = ""\n'
        '[metrics]\naddress = ""\n'
        '[detector]\nartifact = "centerface.onnx"\n[expression]\nartifact = "expression.onnx"\n'
    )
    (tmp_path / "secrets.env").write_text(
        "AFFECT_EDGE__SOURCE__URL=rtsp://me:S3cret@192.168.7.20/\n"
    )
    drop_in(
        units, "affect-edge.service.d/own.conf",
        f"LoadCredential=device.key_secret:{keys.secret}\nEnvironmentFile={tmp_path}/secrets.env\n"
        f"Environment=AFFECT_EDGE__SECURITY__ALLOWED_KEYS={keys.allowed}",
    )  # fmt: skip
    monkeypatch.setattr("edge.check.unit.FOLDERS", (str(units),))
    words = ["check", "-c", str(config)]
    assert run_command_line(words) == 78
    capsys.readouterr()
    code = run_command_line([*words, "--unit", "affect-edge"])
    printed = capsys.readouterr()
    assert "security.allowed_keys: 1 may connect: logger" in printed.out
    assert "source stream rtsp://...@192.168.7.20" in printed.out
    assert "S3cret" not in printed.out + printed.err
    assert (code, printed.err) == (0, "")
