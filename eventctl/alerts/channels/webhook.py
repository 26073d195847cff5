"""Post incidents as JSON to a URL, signed as in Standard Webhooks."""

from __future__ import annotations

import binascii
import hashlib
import hmac
import time
from base64 import b64decode, b64encode

from eventctl.alerts.incident import Digest
from eventctl.alerts.render import json
from eventctl.alerts.transport import http
from eventctl.config.model import Alert
from eventctl.errors import ChannelError

SEPARATE = True

_PREFIX = "whsec_"


def send(alert: Alert, digest: Digest, *, seconds: float = http.SECONDS) -> list[str]:
    """Post the message; any 2xx accepts it. There are never warnings.

    A retry has the same webhook-id. Raises ChannelError unless it was accepted.
    """
    body = json.body(digest)
    server = http.Server(alert)
    # The status alone counts; the body is ignored.
    answer = server.post(body, headers=_headers(alert, digest, body), limit=0, seconds=seconds)
    if not answer.accepted:
        raise server.refused(answer)
    return []


def _headers(alert: Alert, digest: Digest, body: bytes) -> dict[str, str]:
    name, now = json.identity(digest), str(int(time.time()))
    headers = {"webhook-id": name, "webhook-timestamp": now}
    if alert.secret:
        signed = b".".join([name.encode(), now.encode(), body])
        signature = hmac.digest(_key(alert.secret), signed, hashlib.sha256)
        headers["webhook-signature"] = f"v1,{b64encode(signature).decode()}"
    return headers


def _key(secret: str) -> bytes:
    """Return the key in "whsec_BASE64", or else the UTF-8 bytes of the text."""
    if not secret.startswith(_PREFIX):
        return secret.encode()
    coded = secret.removeprefix(_PREFIX).rstrip("=")
    try:
        key = b64decode(coded + "=" * (-len(coded) % 4), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise ChannelError('the secret of webhook begins with "whsec_", but is not base64 after it')
    return key
