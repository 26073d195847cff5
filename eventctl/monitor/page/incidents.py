"""The page's sections about what is wrong: incidents that are open and that have ended, and
what is paused or waits behind a circuit breaker.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from eventctl.alerts.incident import Digest, Incident
from eventctl.alerts.render import recipients, wording
from eventctl.alerts.render.html import breakable
from eventctl.format.text import printable, shorten
from eventctl.format.time import minute, span
from eventctl.monitor.health import Health
from eventctl.monitor.page.data import Needs
from eventctl.monitor.page.plots import data
from eventctl.monitor.page.tables import head
from eventctl.store.queries.incidents import IncidentView, TellingView


def current(needs: Needs) -> Iterator[str]:
    """Yield the open incidents, and what failed or is held and is in none of them."""
    yield "<section><h2>Open incidents</h2>"
    if not needs.open.incidents:
        yield '<p class="card">No incident is open.</p>'
    for incident in needs.open.incidents[: wording.FULL]:
        yield from _open(needs, incident)
    yield from _rest(needs.open, "All open incidents:", wording.look_at_incidents(needs.open))
    yield "</section>"
    if needs.others.incidents:
        yield "<section><h2>In no incident</h2>"
        yield (
            '<p class="soft">What has just failed becomes a part of an incident with the next'
            " sweep, and is told then.</p>"
        )
        for incident in needs.others.incidents[: wording.FULL]:
            yield from _card(needs.others, incident, "", ())
        yield from _rest(needs.others, "All that failed:", wording.look_at_all(needs.others))
        yield "</section>"


def _open(needs: Needs, incident: Incident) -> Iterator[str]:
    view = needs.views[incident.key]
    silence = recipients.silence(view, needs.now, lambda until: f"until {minute(until)} UTC")
    since = f"open for {span(max(0, needs.now - view.opened_at))}"
    yield from _card(needs.open, incident, since, _told(needs, view), silence)


def _told(needs: Needs, view: IncidentView) -> Iterator[str]:
    """Yield a line for each channel that was told, or is to be."""
    if not view.tellings:
        yield f"<li>{recipients.NOBODY}</li>"
    for telling in view.tellings:
        is_there = telling.channel in needs.channels
        if is_there or telling.told:
            yield f"<li>{_telling(needs, view, telling, is_there)}</li>"


def _telling(needs: Needs, view: IncidentView, telling: TellingView, is_there: bool) -> str:
    text = data(recipients.told(telling, view, needs.now, lambda at: f"{minute(at)} UTC"))
    if not is_there:
        return f"{text} (not in this events.toml)"
    if refusal := recipients.refusal(telling):
        return f'{text}; <span class="bad">{data(shorten(refusal, 300))}</span>'
    return text


def _card(
    digest: Digest,
    incident: Incident,
    since: str,
    told: Iterator[str] | Sequence[str],
    silence: str = "",
) -> Iterator[str]:
    facts = [f"{label.lower()} {value}" for label, value in wording.facts(incident)]
    facts = [f"{incident.kind} {incident.key}".strip(), *([since] if since else []), *facts]
    css = "held" if incident.kind in ("held", "set aside", "late", "failed") else "given-up"
    quiet = " quiet" if silence else ""
    yield f'<div class="card incident {css}{quiet}"><h3>{data(wording.headline(incident))}</h3>'
    yield f'<p class="error">{data(wording.error(incident))}</p>'
    yield f'<p class="soft">{data("; ".join(facts))}</p>'
    if lines := [*([f"<li>{data(silence)}</li>"] if silence else []), *told]:
        yield f'<ul class="told">{"".join(lines)}</ul>'
    if look := wording.look(digest, incident):
        yield from _command("Look:", look)
    yield from _command(*wording.mend(digest, incident))
    if silence:
        yield from _command("To hear of it again:", wording.unsilence(digest, incident))
    elif quieten := wording.silence(digest, incident):
        yield from _command("To hear no more of it until it ends:", quieten)
    yield "</div>"


def _rest(digest: Digest, title: str, command: str) -> Iterator[str]:
    lines, uncounted = wording.rest(digest)
    if lines:
        yield '<div class="card"><h3>Also</h3><ul>'
        yield from (f"<li>{data(line)}</li>" for line in lines)
        yield f"</ul><p>{data(uncounted)}</p>"
        yield from _command(title, command)
        yield "</div>"


def _command(title: str, command: str | None) -> Iterator[str]:
    yield f'<p class="label">{data(title)}</p>'
    if command:
        yield f"<pre>{breakable(command)}</pre>"


def waiting(needs: Needs, seen: Health) -> Iterator[str]:
    """Yield the open circuit breakers, and what a person has paused."""
    if seen.breakers:
        yield "<section><h2>Open circuit breakers</h2>"
        for each in seen.breakers:
            yield f'<div class="card incident held"><h3>{data(wording.name(each.handler))}</h3>'
            yield f'<p class="error">{data(shorten(each.error, 300))}</p>'
            yield (
                f'<p class="soft">It keeps failing: for {span(seen.now - each.opened_at)} its'
                " deliveries have been waiting without losing attempts, and each sweep tries"
                " one.</p></div>"
            )
        yield "</section>"
    if seen.paused:
        yield "<section><h2>Paused</h2>"
        for pause in seen.paused:
            what = f"{pause.kind} {wording.name(pause.name)}"
            yield f'<div class="card incident paused"><h3>{data(what)}</h3>'
            if pause.why:
                yield f"<p>{data(shorten(printable(pause.why), 300))}</p>"
            yield (
                f'<p class="soft">paused for {span(max(0, seen.now - pause.paused_at))}, since'
                f" {minute(pause.paused_at)} UTC: its deliveries wait, and lose no attempts</p>"
            )
            if resume := wording.resume(needs.open, pause.kind, pause.name):
                yield from _command("To run it again:", resume)
            yield "</div>"
        yield "</section>"


def ended(needs: Needs) -> Iterator[str]:
    """Yield the incidents that ended within the window of time."""
    found = needs.ended
    if not found.count or found.mean is None:
        return
    yield "<section><h2>Ended incidents</h2>"
    yield '<table class="cards ended" role="table"><thead role="rowgroup">'
    yield head("What", "Error", "Ended (UTC)", "After")
    yield '</thead><tbody role="rowgroup">'
    for each in found.latest:
        took = span(max(0, (each.ended_at or 0) - each.opened_at))
        what = wording.happened(each.kind, each.handler, each.count, each.names)
        error = shorten(printable(each.error.strip()), 160)
        yield f'<tr role="row"><th role="rowheader" scope="row">{data(what)}</th>'
        yield f'<td role="cell" class="words" data-label="Error">{data(error)}</td>'
        yield f'<td role="cell" data-label="Ended (UTC)">{minute(each.ended_at or 0)}</td>'
        yield f'<td role="cell" data-label="After">{took}</td></tr>'
    yield "</tbody></table>"
    which = "1 incident" if found.count == 1 else f"{found.count:,} incidents"
    latest = f"; the last {len(found.latest)} are shown" if found.count > len(found.latest) else ""
    yield (
        f'<p class="soft below">{which} ended in this time, after {span(found.mean)} on'
        f" average{latest}.</p></section>"
    )
