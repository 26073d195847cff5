"""Write examples/elasticsearch: the index template, and Kibana's data view and dashboard.

Kibana keeps JSON inside of JSON, which is hard to write by hand: what is here is
written out by it. Run it after a change; a test says when that was forgotten.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "elasticsearch"
DATA_VIEW, DASHBOARD, SEARCH = "eventctl-incidents", "eventctl-dashboard", "eventctl-messages"
OPEN = 'not event.action : ("resolved" or "ended")'
RESOLVED = 'event.action : "resolved"'

_KEYWORD = {"type": "keyword", "ignore_above": 1024}
_LONG_KEYWORD = {"type": "keyword", "ignore_above": 8191}
_TEXT = {"type": "match_only_text"}
_DATE, _LONG = {"type": "date"}, {"type": "long"}

MAPPINGS: dict[str, Any] = {
    "@timestamp": _DATE,
    "message": _TEXT,
    "ecs.version": _KEYWORD,
    "event.kind": _KEYWORD,
    "event.module": _KEYWORD,
    "event.dataset": _KEYWORD,
    "event.action": _KEYWORD,
    "event.outcome": _KEYWORD,
    "event.id": _KEYWORD,
    "event.severity": _LONG,
    "event.start": _DATE,
    "event.end": _DATE,
    "event.duration": _LONG,
    "error.id": _KEYWORD,
    "error.type": _KEYWORD,
    "error.message": _TEXT,
    "error.stack_trace": {"type": "wildcard", "fields": {"text": _TEXT}},
    "service.name": _KEYWORD,
    "service.type": _KEYWORD,
    "host.name": _KEYWORD,
    "host.hostname": _KEYWORD,
    "labels.kind": _KEYWORD,
    "labels.handler": _KEYWORD,
    "labels.severity": _KEYWORD,
    "labels.incident": _KEYWORD,
    "eventctl.sequence": _LONG,
    "eventctl.count": _LONG,
    "eventctl.attempts": _LONG,
    "eventctl.cancelled": _LONG,
    "eventctl.given_up": _LONG,
    "eventctl.event_ids": _LONG,
    "eventctl.event_names": _KEYWORD,
    "eventctl.output": _TEXT,
    "eventctl.look": _LONG_KEYWORD,
    "eventctl.replay": _LONG_KEYWORD,
    "eventctl.advice": _TEXT,
    "eventctl.config": _LONG_KEYWORD,
}
"""The type of every field of a document, by name."""


def template() -> dict[str, Any]:
    """Return the index template: a data stream, with the types of its fields."""
    properties: dict[str, Any] = {}
    for name, kind in MAPPINGS.items():
        *parents, last = name.split(".")
        place = properties
        for parent in parents:
            place = place.setdefault(parent, {"properties": {}})["properties"]
        place[last] = kind
    return {
        "index_patterns": ["eventctl*"],
        "data_stream": {},
        "priority": 200,
        "template": {
            "settings": {"index.auto_expand_replicas": "0-1"},
            "mappings": {"dynamic": False, "properties": properties},
        },
        "_meta": {"description": "eventctl: one document for each message about an incident"},
    }


def saved_objects() -> list[dict[str, Any]]:
    """Return the data view, the list of messages and the dashboard."""
    return [_data_view(), _search(), _dashboard()]


def _data_view() -> dict[str, Any]:
    duration = {"inputFormat": "nanoseconds", "outputFormat": "humanizePrecise"}
    params = {**duration, "outputPrecision": 1, "useShortSuffix": True}
    attributes = {
        "title": "eventctl*",
        "name": "eventctl incidents",
        "timeFieldName": "@timestamp",
        "fields": "[]",
        "runtimeFieldMap": "{}",
        "typeMeta": "{}",
        "fieldFormatMap": _text({"event.duration": {"id": "duration", "params": params}}),
    }
    return _saved("index-pattern", DATA_VIEW, "7.11.0", attributes, [])


def _search() -> dict[str, Any]:
    source = {"query": _query(), "filter": []}
    index = "kibanaSavedObjectMeta.searchSourceJSON.index"
    attributes = {
        "title": "eventctl: messages",
        "description": "What was sent, with the command that fixes it",
        "columns": ["event.action", "labels.handler", "message", "eventctl.replay"],
        "sort": [["@timestamp", "desc"]],
        "hits": 0,
        "version": 1,
        "kibanaSavedObjectMeta": {"searchSourceJSON": _text({**source, "indexRefName": index})},
    }
    return _saved("search", SEARCH, "7.9.3", attributes, [_reference(index)])


def _dashboard() -> dict[str, Any]:
    by_handler, over_time = _terms("Handler", "labels.handler"), _over_time()
    mean = _number("Mean time to recovery", "average", "event.duration", RESOLVED)
    opened = _number("Incidents", "unique_count", "labels.incident", OPEN)
    grave = f'{OPEN} and labels.severity : "critical"'
    panels = [
        _metric("opened", (0, 0, 12, 6), opened),
        _metric("critical", (12, 0, 12, 6), {**opened, "label": "Critical", **_kql(grave)}),
        _metric("resolved", (24, 0, 12, 6), {**opened, "label": "Resolved", **_kql(RESOLVED)}),
        _metric("mttr", (36, 0, 12, 6), mean),
        _bars("time", (0, 6, 48, 12), "Incidents over time", over_time, opened, by_handler),
        _bars("repair", (0, 18, 24, 12), "Mean time to recovery by handler", by_handler, mean),
        _table(
            ("table", (24, 18, 24, 12), "By handler and cause"),
            [by_handler, _terms("Error", "error.type"), opened],
            [_number("Deliveries at most", "max", "eventctl.count", OPEN)],
        ),
        _panel("messages", (0, 30, 48, 18), "search", {"embeddableConfig": {"enhancements": {}}}),
    ]
    panels[-1]["panelRefName"] = "panel_messages"
    references = [
        {**each, "name": f"{panel['panelIndex']}:{each['name']}"}
        for panel in panels
        for each in panel["embeddableConfig"].get("attributes", {}).get("references", [])
    ]
    references.append({"type": "search", "id": SEARCH, "name": "messages:panel_messages"})
    attributes = {
        "title": "eventctl: incidents",
        "description": "What ran out of retries, what is back, and how long that took",
        "panelsJSON": _text(panels),
        "optionsJSON": _text({"useMargins": True, "hidePanelTitles": False}),
        "timeRestore": True,
        "timeFrom": "now-7d",
        "timeTo": "now",
        "version": 1,
        "kibanaSavedObjectMeta": {"searchSourceJSON": _text({"query": _query(), "filter": []})},
    }
    return _saved("dashboard", DASHBOARD, "8.7.0", attributes, references)


Column = dict[str, Any]
Grid = tuple[int, int, int, int]


def _metric(name: str, grid: Grid, column: Column) -> dict[str, Any]:
    state = {"layerId": name, "layerType": "data", "metricAccessor": "c0"}
    return _lens(name, grid, "", "lnsMetric", state, [column])


def _bars(
    name: str, grid: Grid, title: str, axis: Column, number: Column, split: Column | None = None
) -> dict[str, Any]:
    kind = "bar_stacked" if split else "bar_horizontal"
    layer: dict[str, Any] = {"layerId": name, "layerType": "data", "seriesType": kind}
    layer |= {"xAccessor": "c0", "accessors": ["c1"]}
    layer |= {"splitAccessor": "c2"} if split else {}
    state = {
        "layers": [layer],
        "preferredSeriesType": kind,
        "legend": {"isVisible": True, "position": "right"},
        "valueLabels": "hide",
    }
    return _lens(name, grid, title, "lnsXY", state, [axis, number, *([split] if split else [])])


def _table(
    where: tuple[str, Grid, str], columns: list[Column], more: list[Column]
) -> dict[str, Any]:
    name, grid, title = where
    shown = [{"columnId": f"c{i}"} for i in range(len(columns + more))]
    state = {"layerId": name, "layerType": "data", "columns": shown}
    return _lens(name, grid, title, "lnsDatatable", state, columns + more)


def _lens(
    name: str, grid: Grid, title: str, kind: str, state: dict[str, Any], columns: list[Column]
) -> dict[str, Any]:
    """Return a panel of Lens, with its columns by the names c0, c1 …"""
    named = {f"c{i}": dict(column) for i, column in enumerate(columns)}
    number = next(each for each, column in named.items() if not column["isBucketed"])
    for column in named.values():
        if column["operationType"] == "terms":
            order = {"orderBy": {"type": "column", "columnId": number}, "orderDirection": "desc"}
            column["params"] = {**column["params"], **order}
    # Lens requires the group-by columns before the counts.
    order_ = sorted(named, key=lambda each: not named[each]["isBucketed"])
    layer = {"columns": named, "columnOrder": order_, "incompleteColumns": {}}
    attributes = {
        "title": title,
        "type": "lens",
        "visualizationType": kind,
        "references": [_reference(f"indexpattern-datasource-layer-{name}")],
        "state": {
            "visualization": state,
            "query": _query(),
            "filters": [],
            "datasourceStates": {"formBased": {"layers": {name: layer}}},
            "internalReferences": [],
            "adHocDataViews": {},
        },
    }
    config = {"attributes": attributes, "enhancements": {}, "hidePanelTitles": not title}
    return {**_panel(name, grid, "lens", {"embeddableConfig": config}), "title": title}


def _panel(name: str, grid: Grid, kind: str, more: dict[str, Any]) -> dict[str, Any]:
    x, y, w, h = grid
    place = {"x": x, "y": y, "w": w, "h": h, "i": name}
    return {"version": "8.8.0", "type": kind, "panelIndex": name, "gridData": place, **more}


def _number(label: str, operation: str, field: str, query: str) -> Column:
    return {
        **{"label": label, "customLabel": True, "dataType": "number", "operationType": operation},
        **{"sourceField": field, "isBucketed": False, "scale": "ratio"},
        **_kql(query),
    }


def _terms(label: str, field: str) -> Column:
    return {
        **{"label": label, "customLabel": True, "dataType": "string", "operationType": "terms"},
        **{"sourceField": field, "isBucketed": True, "scale": "ordinal"},
        "params": {"size": 10, "otherBucket": True, "missingBucket": True},
    }


def _over_time() -> Column:
    return {
        **{"label": "Time", "dataType": "date", "operationType": "date_histogram"},
        **{"sourceField": "@timestamp", "isBucketed": True, "scale": "interval"},
        "params": {"interval": "auto", "includeEmptyRows": True, "dropPartials": False},
    }


def _kql(query: str) -> dict[str, Any]:
    return {"filter": {"query": query, "language": "kuery"}}


def _query() -> dict[str, str]:
    return {"query": "", "language": "kuery"}


def _reference(name: str) -> dict[str, str]:
    return {"type": "index-pattern", "id": DATA_VIEW, "name": name}


def _saved(
    kind: str, name: str, version: str, attributes: dict[str, Any], references: list[Any]
) -> dict[str, Any]:
    return {
        "type": kind,
        "id": name,
        "attributes": attributes,
        "references": references,
        "coreMigrationVersion": "8.8.0",
        "typeMigrationVersion": version,
        "managed": False,
    }


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def files() -> dict[str, str]:
    """Return the content of each file, by its name."""
    return {
        "index-template.json": json.dumps(template(), indent=2) + "\n",
        "kibana.ndjson": "".join(_text(each) + "\n" for each in saved_objects()),
    }


def main() -> None:
    """Write them."""
    FOLDER.mkdir(exist_ok=True)
    for name, content in files().items():
        (FOLDER / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
