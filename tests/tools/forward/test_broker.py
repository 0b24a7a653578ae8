"""TLS and passwords, with a real broker."""

import shutil
import subprocess
from pathlib import Path

import pytest

from edge.errors import BrokerUnavailable, ConfigError
from edge.tools.forward.broker import Broker, BrokerAddress, tls_context
from tests.support.mosquitto import running_broker
from tests.support.ports import free_port
from tests.support.postgres import require


def certificate(folder: Path) -> Path:
    """Make a key and a certificate of 127.0.0.1, which is its own authority; return the latter."""
    require("openssl", shutil.which("openssl"))
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", folder / "key.pem", "-out", folder / "certificate.pem"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return folder / "certificate.pem"


# paho leaves the socket of a refused certificate to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_with_tls_is_used_if_its_authority_is_known(tmp_path: Path) -> None:
    authority = certificate(tmp_path)
    with running_broker(f"certfile {authority}", f"keyfile {tmp_path}/key.pem") as broker:
        address = BrokerAddress.parse(f"mqtts://127.0.0.1:{broker.port}")
        Broker(address, None, tls_context(authority)).close()
        with pytest.raises(ConfigError, match="name the certificate authority with --ca"):
            Broker(address, None, tls_context(None))
        plain = BrokerAddress.parse(f"mqtt://127.0.0.1:{broker.port}")
        with pytest.raises(BrokerUnavailable):
            Broker(plain, None, None)


def test_a_wrong_password_is_refused(tmp_path: Path) -> None:
    require("mosquitto", shutil.which("mosquitto_passwd"))
    file = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", file, "edge", "right"], check=True)
    with running_broker(f"password_file {file}", "allow_anonymous false") as broker:
        address = BrokerAddress.parse(f"mqtt://edge@127.0.0.1:{broker.port}")
        Broker(address, "right", None).close()
        for password in ("wrong", None):
            with pytest.raises(ConfigError, match="Not authorized; check the user") as failure:
                Broker(address, password, None)
            assert "wrong" not in str(failure.value)


def test_a_broker_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(BrokerUnavailable, match="Connection refused"):
        Broker(BrokerAddress.parse(f"mqtt://127.0.0.1:{free_port()}"), None, None)
