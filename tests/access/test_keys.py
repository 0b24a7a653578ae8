"""Key files: real files, read by us and by pyzmq."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import zmq
import zmq.auth
from hypothesis import given
from hypothesis import strategies as st

from edge.access import keys
from edge.access.keys import new_pair, read_folder, read_public, read_secret
from edge.errors import ConfigError
from edge.files import private
from tests.support.daemons import ROOT
from tests.support.waiting import HANG_S

WHAT = "security.secret_key"
# fixed, as they are in the names of tests
A = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
A_SECRET = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"
B = "Hxx>5:PPX#-])pykTO@-:jo8^AlCjbN9MFnDWT(^"


def key_file(*lines: str) -> str:
    return "\n".join(["metadata", "curve", *(f"    {line}" for line in lines), ""])


def refusal(call: object, path: Path) -> str:
    """Return the one line with which ``call`` refuses the file."""
    with pytest.raises(ConfigError) as caught:
        call(path, WHAT)  # type: ignore[operator]
    text = str(caught.value)
    assert text.startswith(f"{WHAT} {path}: ")
    assert "\n" not in text
    assert A_SECRET not in text
    return text


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_files_of_a_new_pair(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        public, secret, mark = new_pair("logger-1", tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    pair = read_secret(secret, WHAT)
    assert (pair.name, pair.public) == ("logger-1", read_public(public, WHAT).public)
    assert pair.fingerprint == mark
    assert str(pair.secret) not in repr(pair)
    assert pair.secret not in public.read_text()
    theirs = zmq.auth.load_certificate(secret)
    assert theirs == (pair.public.encode(), str(pair.secret).encode())
    assert read_folder(tmp_path, WHAT) == {pair.public: "logger-1"}


def test_files_of_pyzmq_are_read(tmp_path: Path) -> None:
    public, secret = zmq.auth.create_certificates(tmp_path, "other", metadata={"email": "a@b"})
    os.chmod(secret, 0o600)
    assert read_secret(Path(secret), WHAT).public == read_public(Path(public), WHAT).public


@pytest.mark.parametrize("suffix", [".key", ".key_secret"])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_nothing_is_overwritten(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"a{suffix}"
    if kind == "file":
        path.write_text("mine")
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="never overwritten"):
        new_pair("a", tmp_path)
    assert os.listdir(tmp_path) == [path.name]
    assert kind == "link" or path.read_text() == "mine"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "-a", "a.key", "é", "x" * 33, "a\n"])
def test_names_that_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="expected letters, digits"):
        new_pair(name, tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o602])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    _, secret, _ = new_pair("a", tmp_path)
    secret.chmod(mode)
    text = refusal(read_secret, secret)
    assert f"(mode {mode:04o}); expected mode 0600: run chmod 600 {secret}" in text


def test_a_credential_of_systemd_may_have_an_access_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, secret, _ = new_pair("a", tmp_path)
    secret.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_secret(secret, WHAT).name == "a"
    secret.chmod(0o444)
    assert "other users" in refusal(read_secret, secret)
    secret.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "other"))
    assert "other users" in refusal(read_secret, secret)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no public key in it"),
        ("metadata\ncurve\n", "no public key in it"),
        (key_file(f'secret-key = "{A_SECRET}"'), "no public key in it"),
        (key_file(f'public-key = "{A[:-1]}"'), "line 3 is malformed"),
        (key_file(f'public-key = "{A}0"'), "line 3 is malformed"),
        (key_file(f'public-key = "{A[:-1]}~"'), "line 3 is malformed"),
        (key_file(f'public-key = "{"0" * 40}"'), "line 3 is malformed"),
        (key_file(f'public-key = "{"#" * 40}"'), "line 3 is malformed"),
        (key_file(f"public-key = {A}"), "line 3 is malformed"),
        (key_file(f'public-key = "{A}"', f'public-key = "{B}"'), "line 4 is malformed"),
        (key_file(f'public-key = "{A}"', 'other-key = "x"'), "line 4 is malformed"),
        (f'public-key = "{A}"\n', "line 1 is malformed"),
        (f'curve\n    public-key = "{A}"\nmore\n', "line 3 is malformed"),
        (f'    public-key = "{A}"\n', "line 1 is malformed"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "line 1 is malformed"),
        (key_file(f'public-key = "{A}"', f'secret-key = "{A_SECRET}"'), "holds a secret key"),
        ("#" * 5000, "more than 4096 bytes"),
    ],
)
def test_a_malformed_public_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "a.key"
    path.write_text(text)
    assert words in refusal(read_public, path)


@given(content=st.binary(max_size=300))
def test_random_bytes_are_refused_in_one_line(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "random.key"
    path.write_bytes(content)
    refusal(read_public, path)


def test_other_things_than_files_are_refused(tmp_path: Path) -> None:
    pipe, folder = tmp_path / "pipe.key", tmp_path / "folder.key"
    os.mkfifo(pipe)
    folder.mkdir()
    for path, reason in ((pipe, "not a regular file"), (folder, "Is a directory")):
        assert reason in refusal(read_public, path)
    assert "No such file" in refusal(read_public, tmp_path / "gone.key")
    assert "expected the public file" in refusal(read_public, tmp_path / "a.key_secret")


def test_a_pair_that_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.key_secret"
    path.write_text(key_file(f'public-key = "{B}"', f'secret-key = "{A_SECRET}"'))
    path.chmod(0o600)
    assert "does not belong to its secret key" in refusal(read_secret, path)
    path.write_text(key_file(f'public-key = "{A}"', f'secret-key = "{A_SECRET}"'))
    assert read_secret(path, WHAT).public == A
    (tmp_path / "a.key").write_text(key_file(f'public-key = "{B}"'))
    assert "a.key in the same folder is the public key of another pair" in refusal(
        read_secret, path
    )
    path.write_text(key_file(f'public-key = "{A}"'))
    assert "holds no secret key" in refusal(read_secret, path)


def test_a_folder_is_read_wholly_or_not_at_all(tmp_path: Path) -> None:
    assert "no key in it" in refusal(read_folder, tmp_path)
    assert "No such file" in refusal(read_folder, tmp_path / "gone")
    (tmp_path / "README").write_text("not a key")
    (tmp_path / "b.key").write_text(key_file(f'public-key = "{B}"'))
    (tmp_path / "a.key").write_text(key_file(f'public-key = "{A}"'))
    assert read_folder(tmp_path, WHAT) == {A: "a", B: "b"}
    (tmp_path / "c.key").write_text(key_file(f'public-key = "{A}"'))
    with pytest.raises(ConfigError, match=r"c\.key: the same key as a\.key"):
        read_folder(tmp_path, WHAT)
    (tmp_path / "c.key").write_text("x")
    with pytest.raises(ConfigError, match=r"c\.key: not a key file"):
        read_folder(tmp_path, WHAT)


def test_a_libzmq_without_curve_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys.zmq, "has", lambda _name: False)
    with pytest.raises(ConfigError, match="has no CURVE"):
        keys.require_curve()


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, secret, _ = new_pair("a", tmp_path)

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(private.os, "read", fail)
    assert "Input/output error" in refusal(read_secret, secret)


def test_the_command_says_which_file_goes_where(tmp_path: Path) -> None:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "edge", "keys", *arguments, "--dir", str(tmp_path)],
            capture_output=True, text=True, cwd=ROOT, timeout=HANG_S, check=False,
        )  # fmt: skip

    assert "no keys in" in run("list").stdout
    made = run("new", "chamber-1")
    assert made.returncode == 0
    assert str(tmp_path / "chamber-1.key_secret") in made.stdout
    assert "security.allowed_keys" in made.stdout
    again = run("new", "chamber-1")
    assert (again.returncode, again.stderr.count("\n")) == (78, 1)
    listed = run("list")
    assert listed.returncode == 0
    assert [line.split()[1] for line in listed.stdout.splitlines()] == [
        "chamber-1.key",
        "chamber-1.key_secret",
    ]
    (tmp_path / "chamber-1.key_secret").chmod(0o644)
    flagged = run("list")
    assert flagged.returncode == 78
    assert "WRONG  key" in flagged.stdout
    with pytest.raises(ConfigError, match="No such file or directory; expected a folder"):
        new_pair("a", tmp_path / "gone")
