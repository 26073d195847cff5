"""A certificate for a server of a test, which nobody else trusts."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from tests.support import needs


class Certificate:
    """A self-signed certificate for one name or address."""

    def __init__(self, folder: Path, subject: str) -> None:
        self.file, key = folder / "cert.pem", folder / "key.pem"
        command = [
            *(needs.program("openssl", "openssl"), "req", "-x509", "-nodes", "-days", "2"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-subj", "/CN=test", "-addext", f"subjectAltName={subject}"),
            *("-keyout", str(key), "-out", str(self.file)),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(self.file, key)
