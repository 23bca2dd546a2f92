"""A throw-away certificate authority and what it signs, made by the `openssl` command."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_EC = (
    *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
    # Python 3.13 takes no authority without it (RFC 5280 §4.2.1.3), and `-x509` makes nothing else.
    *("-addext", "keyUsage=critical,digitalSignature,keyCertSign"),
)


@dataclass(frozen=True)
class Authority:
    """A CA with its files in `folder`."""

    folder: Path

    @property
    def ca_file(self) -> str:
        """The CA's own certificate."""
        return str(self.folder / "ca.pem")

    def issue(self, name: str, *, alternative: str = "") -> tuple[str, str]:
        """Certificate and key files for a common name, with subjectAltName where given."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        signer = ("-CA", self.ca_file, "-CAkey", str(self.folder / "ca.key"))
        extension = ("-addext", f"subjectAltName={alternative}") if alternative else ()
        _openssl("req", "-x509", *_EC, *signer, "-subj", f"/CN={name}", *extension, key=key, out=certificate)
        return str(certificate), str(key)

    def server_context(self, *, alternative: str, asks_clients: bool = False) -> ssl.SSLContext:
        """For an origin whose certificate bears these names; `asks_clients` for a certificate of ours."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca_file)
        context.load_cert_chain(*self.issue("origin", alternative=alternative))
        context.verify_mode = ssl.CERT_REQUIRED if asks_clients else ssl.CERT_NONE
        return context


def make_authority(folder: Path) -> Authority:
    """A new CA; skips the test, saying so, where there is no `openssl`."""
    if shutil.which("openssl") is None:
        pytest.skip("TLS IS NOT TESTED: there is no openssl command")
    folder.mkdir(parents=True, exist_ok=True)
    _openssl("req", "-x509", *_EC, "-subj", "/CN=ca", key=folder / "ca.key", out=folder / "ca.pem")
    return Authority(folder)


def _openssl(*arguments: str, key: Path, out: Path) -> None:
    command = ["openssl", *arguments, "-keyout", str(key), "-out", str(out)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
