"""Certificates that are no files: OpenSSL would wait for the other end of a pipe."""

import os
from pathlib import Path

import pytest

from edge.access.metrics import tls_context
from edge.access.webhook import webhook_tls
from edge.cli import run_command_line
from edge.config.alarms import AlarmsConfig
from edge.config.network import MetricsConfig
from edge.errors import ConfigError
from tests.support.certificates import Certificates
from tests.support.command_errors import refusal


@pytest.fixture
def pipe(tmp_path: Path) -> str:
    os.mkfifo(tmp_path / "pipe.pem")
    return str(tmp_path / "pipe.pem")


def test_an_authority_of_the_webhook(pipe: str) -> None:
    config = AlarmsConfig(webhook_url="https://127.0.0.1/alarms", webhook_ca_file=pipe)
    with pytest.raises(ConfigError, match=r"webhook_ca_file .*pipe\.pem: not a regular file"):
        webhook_tls(config)


def test_certificates_of_the_metrics(pipe: str, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificate, key = certificates.make("server")
    config = MetricsConfig(tls_certificate=str(certificate), tls_key=str(key), tls_client_ca=pipe)
    with pytest.raises(ConfigError, match=r"tls_client_ca .*pipe\.pem: not a regular file"):
        tls_context(config)
    config = MetricsConfig(tls_certificate=pipe, tls_key=str(key))
    with pytest.raises(ConfigError, match=r"tls_certificate .*pipe\.pem .*: not a regular file"):
        tls_context(config)


def test_a_certificate_of_the_page(
    pipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.key").touch(mode=0o600)
    words = ["dashboard", "--tls-cert", pipe, "--tls-key", str(tmp_path / "page.key")]
    assert "--tls-cert" in (line := refusal(run_command_line, words, capsys))
    assert "not a regular file" in line
