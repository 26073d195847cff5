"""Alerts in the real Prometheus Alertmanager: firing, sent again, resolved."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from eventctl.alerts.channels import alertmanager
from eventctl.alerts.incident import Digest
from eventctl.config.model import Alert
from tests.support import servers
from tests.support.hostile import HOSTILE, assert_harmless
from tests.support.incidents import (
    HOUR,
    KEY,
    alert,
    digest,
    many,
    named,
    notice,
    one,
    refusal,
    sample,
)
from tests.support.receiver import Receiver

DAY = 86_400.0


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Api]:
    with servers.alertmanager(tmp_path_factory.mktemp("alertmanager")) as api:
        yield api


def of(real: servers.Api, incident: str) -> list[Any]:
    """Return the alerts of an incident that are firing."""
    query = f"/api/v2/alerts?filter=incident%3D%22{incident}%22"
    return [each for each in real.get(query) if each["status"]["state"] == "active"]


def sent(real: servers.Api, path: str = "", **more: Any) -> Alert:
    return alert("alertmanager", real.url + path, **more)


def keyed(key: str, ago: int = 60_000, host: str = "web1", **more: Any) -> Digest:
    """Return an incident of its own, which began so many milliseconds ago."""
    began = int(time.time() * 1000) - ago
    found = digest(notice(42, at=began), notice(57, at=began + 1000), host=host)
    return named(found, key=key, **more)


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_an_incident_fires_with_what_it_takes_to_act(real: servers.Api) -> None:
    alertmanager.send(sent(real), keyed("fires"))
    (firing,) = of(real, "fires")
    assert firing["labels"] == {
        "alertname": "EventctlIncident",
        "severity": "critical",
        "kind": "exhausted",
        "handler": "lottery",
        "incident": "fires",
    }
    said = firing["annotations"]
    assert said["summary"] == "lottery: 2 deliveries of purchased ran out of retries"
    assert said["description"].startswith("ConnectionRefusedError: [Errno 111]")
    assert "Events: 42, 57" in said["description"]
    assert said["host"] == "web1"
    prog = "/opt/eventctl/bin/eventctl --config /etc/eventctl/events.toml"
    assert said["look"] == f"{prog} show 42"
    assert said["replay"] == f"{prog} replay --incident fires"
    assert abs(seconds(firing["startsAt"]) - (time.time() - 60)) < 20


def test_it_does_not_end_by_itself_before_the_next_sweeps(real: servers.Api) -> None:
    for stalled, left in ((60.0, 300), (600.0, 600), (7200.0, 7200)):
        alertmanager.send(sent(real), replace(keyed("stays"), stalled=stalled))
        (firing,) = of(real, "stays")
        assert abs(seconds(firing["endsAt"]) - (time.time() + left)) < 20


def test_what_no_sweep_can_repeat_lasts_for_longer(real: servers.Api) -> None:
    alertmanager.send(sent(real, repeat=7 * DAY), keyed("emitted", kind="emit-failed"))
    (firing,) = of(real, "emitted")
    assert abs(seconds(firing["endsAt"]) - (time.time() + 7 * DAY + 3600)) < 20


def test_either_host_can_resolve_it(real: servers.Api) -> None:
    alertmanager.send(sent(real), keyed("ends", ago=5000, host="web1"))
    assert len(of(real, "ends")) == 1
    alertmanager.send(sent(real), keyed("ends", ago=5000, host="web2", sequence=1))
    assert len(of(real, "ends")) == 1
    over = keyed("ends", ago=5000, host="web2", ended_at=int(time.time() * 1000) - 1)
    alertmanager.send(sent(real), over)
    assert of(real, "ends") == []


def test_a_test_ends_by_itself_soon(real: servers.Api) -> None:
    alertmanager.send(sent(real), named(sample(), key="sample", opened_at=int(time.time() * 1000)))
    (firing,) = of(real, "sample")
    assert firing["labels"]["severity"] == "info"
    assert abs(seconds(firing["endsAt"]) - (time.time() + 300)) < 20


def test_what_ended_before_it_began_by_another_clock_is_taken(real: servers.Api) -> None:
    alertmanager.send(sent(real), keyed("skewed", ended_at=1))


def test_all_incidents_go_in_one_call() -> None:
    receiver = Receiver((200, b""))
    try:
        alertmanager.send(alert("alertmanager", receiver.url("/am/")), many(30))
    finally:
        receiver.close()
    assert receiver.only().path == "/am/api/v2/alerts"


@pytest.mark.parametrize("path", ["/", "/api/v2/alerts", "/api/v2/alerts/"])
def test_the_path_of_the_api_may_stand_in_the_url(real: servers.Api, path: str) -> None:
    name = f"path{len(path)}"
    alertmanager.send(sent(real, path), keyed(name))
    assert len(of(real, name)) == 1


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_text_of_others_is_data(real: servers.Api, number: int) -> None:
    evil, name = HOSTILE[number], f"evil{number}"
    found = digest(notice(handler=evil, name=evil, error=evil), host=evil)
    alertmanager.send(sent(real), named(found, key=name))
    (firing,) = of(real, name)
    for text in (*firing["labels"].values(), *firing["annotations"].values()):
        assert_harmless(text)


def test_what_alertmanager_does_not_take_is_an_error(real: servers.Api) -> None:
    line = refusal(alertmanager.send, sent(real, "/nothing/here"))
    assert "it answered 404 Not Found" in line
    assert KEY not in line


def test_one_that_has_recovered_is_reported_by_its_end() -> None:
    receiver = Receiver((200, b""))
    try:
        ended = one().incidents[0].opened_at + 2 * HOUR
        alertmanager.send(alert("alertmanager", receiver.url()), one(ended=ended))
        alertmanager.send(alert("alertmanager", receiver.url()), one())
    finally:
        receiver.close()
    over, firing = (_only(request.body) for request in receiver.requests)
    assert over["labels"] == firing["labels"]
    assert (over["startsAt"], over["endsAt"]) == (
        "2026-11-23T12:00:00.000Z",
        "2026-11-23T14:00:00.000Z",
    )
    assert over["annotations"]["summary"].startswith("lottery resolved after 2h: ")
    assert "replay" in firing["annotations"]
    assert "replay" not in over["annotations"]


def _only(body: bytes) -> Any:
    (found,) = json.loads(body)
    return found
