"""Post incidents as JSON to a URL, signed as in Standard Webhooks."""

from __future__ import annotations

import hashlib
import hmac
import time
from base64 import b64encode

from eventctl.alerts.incident import Digest
from eventctl.alerts.render import json
from eventctl.alerts.transport import http
from eventctl.config.alerts import webhook_key
from eventctl.config.model import Alert
from eventctl.config.variables import ValueMistake
from eventctl.errors import ChannelError

SEPARATE = True


def send(alert: Alert, digest: Digest, *, seconds: float = http.SECONDS) -> None:
    """Post the message; any 2xx means accepted.

    A retry has the same webhook-id. Raises ChannelError unless it was accepted.
    """
    body = json.body(digest)
    server = http.Server(alert)
    # The status alone counts; the body is ignored.
    server.post(body, headers=_headers(alert, digest, body), limit=0, seconds=seconds)


def _headers(alert: Alert, digest: Digest, body: bytes) -> dict[str, str]:
    name, now = json.identity(digest), int(time.time())
    if alert.secret:
        return signed(alert.secret, name, now, body)
    return {"webhook-id": name, "webhook-timestamp": str(now)}


def signed(secret: str, name: str, now: int, body: bytes) -> dict[str, str]:
    """Return the headers of a message; `now` is in seconds since 1970."""
    try:
        key = webhook_key(secret)
    except ValueMistake as error:
        raise ChannelError(f"the secret of webhook {error}") from None
    what = b".".join([name.encode(), str(now).encode(), body])
    signature = b64encode(hmac.digest(key, what, hashlib.sha256)).decode()
    return {
        "webhook-id": name,
        "webhook-timestamp": str(now),
        "webhook-signature": f"v1,{signature}",
    }
