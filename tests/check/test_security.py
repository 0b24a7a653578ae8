"""What ``check`` says of keys, certificates and tokens: real files."""

from pathlib import Path

from edge.check.security import security_lines
from edge.config import load_config
from tests.support.certificates import Certificates
from tests.support.keys import KeyFolder


def lines(*settings: str) -> list[tuple[str, str]]:
    return list(security_lines(load_config(settings=settings, environment={})))


def test_without_keys() -> None:
    assert lines() == [("ok", "security: no keys; only programs on this machine can connect")]


def test_keys_and_their_mistakes(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path, "logger", "page")
    settings = folder.settings()[1::2]
    own, allowed = lines(*settings)
    assert own[0] == "ok"
    assert own[1].startswith("security.secret_key: device, fingerprint ")
    assert allowed == ("ok", "security.allowed_keys: 2 may connect: logger, page")
    (folder.folder / "logger.key_secret").rename(folder.allowed / "logger.key_secret")
    folder.secret.chmod(0o644)
    (folder.allowed / "page.key").write_text("x\n")
    assert [level for level, _ in lines(*settings)] == ["WRONG", "WRONG", "WARN"]


def test_a_key_of_another_user_is_a_warning(tmp_path: Path, monkeypatch: object) -> None:
    settings = KeyFolder(tmp_path, "logger").settings()[1::2]

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("edge.files.private.os.open", refuse)  # type: ignore[attr-defined]
    level, text = lines(*settings)[0]
    assert level == "WARN"
    assert "run check as the user" in text


def test_metrics_for_the_network(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificate, key = certificates.make("server")
    token = tmp_path / "token"
    token.write_text("0123456789abcdef")
    token.chmod(0o600)
    settings = (
        'metrics.address="0.0.0.0:9108"', f'metrics.tls_certificate="{certificate}"',
        f'metrics.tls_key="{key}"', f'metrics.tls_client_ca="{certificates.authority}"',
        f'metrics.token_file="{token}"',
    )  # fmt: skip
    assert lines(*settings)[1] == (
        "ok",
        "metrics: for the network, TLS, asks for a certificate of the client and a token",
    )
    key.chmod(0o640)
    assert lines(*settings)[1][0] == "WRONG"
    plain = lines(f'metrics.token_file="{token}"')[1][1]
    assert plain == "metrics: for this machine, plain, asks for a token"


def test_the_receiver_of_alarms(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef")
    token.chmod(0o600)
    settings = (
        'alarms.webhook_url="https://alerts.example.org/in/T0SECRET"',
        f'alarms.webhook_token_file="{token}"',
    )
    text = "alarms.webhook_url: https://alerts.example.org/..., TLS, with a token"
    assert lines(*settings)[1] == ("ok", text)
    token.chmod(0o644)
    assert lines(*settings)[1][0] == "WRONG"
