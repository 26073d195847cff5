"""The page's sections about incidents, pauses and open circuit breakers."""

from __future__ import annotations

from collections.abc import Iterator

from eventctl.alerts.incident import Digest
from eventctl.alerts.render import excerpts, recipients, summary, wording
from eventctl.alerts.render.html import breakable
from eventctl.format.text import counted, printable, shorten
from eventctl.format.time import minute, span
from eventctl.monitor.health import Health
from eventctl.monitor.page.data import Problems
from eventctl.monitor.page.html import data, table
from eventctl.store.incidents import Incident, Notification


def current(problems: Problems, now: int) -> Iterator[str]:
    """Yield the open incidents, and failed or held deliveries in no incident."""
    found, others = problems.open, problems.others
    yield "<section><h2>Open incidents</h2>"
    if not found.incidents:
        yield '<p class="card">No incident is open.</p>'
    for incident in found.incidents[: wording.FULL]:
        yield from _card(problems, found, incident, now)
    yield from _rest(found, "All open incidents:", wording.command_line(found, "alerts"))
    yield "</section>"
    if others.incidents:
        yield "<section><h2>In no incident</h2>"
        yield (
            '<p class="soft">The next sweep adds new failures to an incident, and notifies the'
            " channels.</p>"
        )
        for incident in others.incidents[: wording.FULL]:
            yield from _card(problems, others, incident, now)
        lists = wording.command_line(others, "list", "--status", "failed")
        yield from _rest(others, "List all failures:", lists)
        yield "</section>"


def _card(problems: Problems, digest: Digest, incident: Incident, now: int) -> Iterator[str]:
    # Without an incident there is no key yet.
    facts = [f"{label.lower()} {value}" for label, value in wording.facts(incident)]
    if incident.key:
        facts = [f"open for {span(max(0, now - incident.opened_at))}", *facts]
    facts = [f"{incident.kind} {incident.key}".strip(), *facts]
    silence = recipients.silence(incident, now, lambda until: f"until {minute(until)} UTC")
    css = "" if summary.severity(incident) == "critical" else "held"
    yield f'<div class="card incident {css} {"quiet" if silence else ""}">'
    yield f"<h3>{data(wording.headline(incident))}</h3>"
    yield f'<p class="error">{data(wording.error(incident))}</p>'
    yield f'<p class="soft">{data("; ".join(facts))}</p>'
    if incident.key:
        lines = [*([data(silence)] if silence else []), *_recipients(problems, incident, now)]
        yield f"<ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>"
    if show := wording.show_command(digest, incident):
        yield from _command("Show it:", show)
    yield from _command(*wording.next_step(digest, incident))
    if silence:
        undo = wording.command_line(digest, "ack", incident.key, "--undo")
        yield from _command("To unmute it:", undo)
    elif ack := wording.ack_command(digest, incident):
        yield from _command("To mute it until it ends:", ack)
    for title, lines in excerpts.quoted(incident):
        text = data("\n".join(lines), lines=True)
        yield f"<details><summary>{title.rstrip(':')}</summary><pre>{text}</pre></details>"
    yield "</div>"


def _recipients(problems: Problems, incident: Incident, now: int) -> Iterator[str]:
    """Yield a line for each channel that was or will be notified."""
    if not incident.notifications:
        yield recipients.NOBODY
    for sent in incident.notifications:
        is_there = sent.channel in problems.channels
        if is_there or sent.state:
            yield _recipient(sent, incident, now, is_there)


def _recipient(sent: Notification, incident: Incident, now: int, is_there: bool) -> str:
    text = data(recipients.notified(sent, incident, now, lambda at: f"{minute(at)} UTC"))
    if not is_there:
        return f"{text} (not in this events.toml)"
    if refusal := recipients.refusal(sent):
        return f'{text}; <span class="bad">{data(shorten(refusal, 300))}</span>'
    return text


def _rest(digest: Digest, title: str, command: str) -> Iterator[str]:
    lines, uncounted = wording.rest(digest)
    if lines:
        items = "".join(f"<li>{data(line)}</li>" for line in lines)
        yield f'<div class="card"><h3>Also</h3><ul>{items}</ul><p>{data(uncounted)}</p>'
        yield from _command(title, command)
        yield "</div>"


def _command(title: str, command: str | None) -> Iterator[str]:
    yield f'<p class="label">{data(title)}</p>'
    if command:
        yield f"<pre>{breakable(command)}</pre>"


def waiting(problems: Problems, health: Health) -> Iterator[str]:
    """Yield the open circuit breakers and the pauses."""
    if health.breakers:
        yield "<section><h2>Open circuit breakers</h2>"
        for each in health.breakers:
            open_for = span(health.now - each.opened_at)
            yield (
                f'<div class="card incident held"><h3>{data(wording.name(each.handler))}</h3>'
                f'<p class="error">{data(shorten(each.error, 300))}</p>'
                f'<p class="soft">Circuit breaker open for {open_for}; its deliveries are on hold'
                " and lose no attempts.</p></div>"
            )
        yield "</section>"
    if health.paused:
        yield "<section><h2>Paused</h2>"
        for pause in health.paused:
            paused_for = span(max(0, health.now - pause.paused_at))
            yield (
                '<div class="card incident quiet">'
                f"<h3>{data(f'{pause.kind} {wording.name(pause.name)}')}</h3>"
                f"<p>{data(shorten(printable(pause.why), 300))}</p>"
                f'<p class="soft">paused for {paused_for}, since {minute(pause.paused_at)} UTC:'
                " its deliveries wait, and lose no attempts</p>"
            )
            if resume := wording.resume_command(problems.open, pause.kind, pause.name):
                yield from _command("To resume it:", resume)
            yield "</div>"
        yield "</section>"


def ended(problems: Problems) -> Iterator[str]:
    """Yield the incidents that ended within the window."""
    found = problems.ended
    if not found.count or found.mean is None:
        return
    yield "<section><h2>Ended incidents</h2>"
    rows = (
        (
            data(wording.happened(each)),
            (
                ("words", data(shorten(printable(each.error.strip()), 160))),
                ("", minute(each.ended_at or 0)),
                ("", span(each.took)),
            ),
        )
        for each in found.latest
    )
    yield from table("cards ended", ("What", "Error", "Ended (UTC)", "After"), rows)
    which = counted(found.count, "incident")
    latest = f"; the last {len(found.latest)} are shown" if found.count > len(found.latest) else ""
    yield (
        f'<p class="soft">{which} ended in this time, after {span(found.mean)} on'
        f" average{latest}.</p></section>"
    )
