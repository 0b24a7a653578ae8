"""Certificates for TLS, made by openssl (Debian: package openssl)."""

import subprocess
from pathlib import Path

from tests.support.waiting import HANG_S


class Certificates:
    """An authority, a server's certificate for 127.0.0.1 and a client's, as PEM files.

    Attributes:
        authority: the certificate that signed the others.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.authority = folder / "authority.pem"
        self._openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", "authority.key", "-out", "authority.pem", "-days", "2", "-subj", "/CN=test",
        )  # fmt: skip

    def make(self, name: str) -> tuple[Path, Path]:
        """Return a certificate and its key, which only its owner may read."""
        self._openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}",
        )  # fmt: skip
        (self._folder / "names").write_text("subjectAltName=IP:127.0.0.1")
        self._openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "authority.pem", "-CAkey", "authority.key",
            "-CAcreateserial", "-days", "2", "-out", f"{name}.pem", "-extfile", "names",
        )  # fmt: skip
        key = self._folder / f"{name}.key"
        key.chmod(0o600)
        return self._folder / f"{name}.pem", key

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(
            ["openssl", *arguments],
            cwd=self._folder,
            check=True,
            capture_output=True,
            timeout=HANG_S,
        )
