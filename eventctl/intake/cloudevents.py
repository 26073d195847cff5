"""Events in the form of CloudEvents 1.0 (JSON), the field's standard for interchange.

    {"specversion": "1.0", "id": KEY, "source": "/shop", "type": "purchased",
     "time": "2026-11-23T01:11:11.000Z", "datacontenttype": "application/json",
     "data": ["user A", 5000], "eventctlid": "42", "eventctlstatus": "processed", …}

eventctl's own fields become extension attributes: their names consist of lower-case letters and
digits, and their values are strings, 32-bit integers or booleans.
"""

from __future__ import annotations

from typing import Any

from eventctl.errors import UsageError

VERSION = "1.0"

_LONGEST_KEY = 191
_EXTENSION = "eventctl"


def write(
    source: str, key: str, name: str, created_at: str, data: Any, **about: str | int
) -> dict[str, Any]:
    """Return an event as a CloudEvent.

    `created_at` is a time in the format of RFC 3339. `about` has more fields, with names in lower
    case.
    """
    return {
        "specversion": VERSION,
        "id": key,
        "source": source,
        "type": name,
        "time": created_at,
        "datacontenttype": "application/json",
        "data": data,
        **{f"{_EXTENSION}{word}": value for word, value in about.items()},
    }


def read(fields: dict[str, Any], data: str, own_source: str) -> tuple[str, str, str]:
    """Return the name, args and key of the event that a CloudEvent stands for.

    `data` is the JSON text of its data, and the args are JSON text too, unchanged. An object
    gives named args, a list positional ones, and any other data a single one. Id and source
    together identify a CloudEvent; for `own_source`, the id alone is the key. Other attributes
    are ignored.

    Raises UsageError if it is not of version 1.0, or its data is binary.
    """
    if fields.get("specversion") != VERSION:
        raise UsageError(
            f"a CloudEvent of specversion {fields.get('specversion')!r}; only {VERSION!r} is read"
        )
    source, identity, name = (_text(fields, attribute) for attribute in ("source", "id", "type"))
    if fields.get("data_base64") is not None:
        raise UsageError('a CloudEvent with binary data ("data_base64"); only JSON data is read')
    return name, _args(fields, data), _key(source, identity, own_source)


def _text(fields: dict[str, Any], attribute: str) -> str:
    value = fields.get(attribute)
    if not isinstance(value, str) or not value:
        raise UsageError(f'a CloudEvent must have "{attribute}", a string that is not empty')
    return value


def _args(fields: dict[str, Any], text: str) -> str:
    if "data" not in fields:
        return "[]"
    data = fields["data"]
    if not _is_json(fields.get("datacontenttype")) and not isinstance(data, str):
        raise UsageError(
            f"a CloudEvent whose data is not a string, as its datacontenttype"
            f" {fields['datacontenttype']!r} asks for"
        )
    return text if isinstance(data, list | dict) else f"[{text}]"


def _is_json(content_type: Any) -> bool:
    if content_type is None:
        return True
    if not isinstance(content_type, str):
        raise UsageError('a CloudEvent whose "datacontenttype" is not a string')
    subtype = content_type.partition(";")[0].strip().lower().partition("/")[2]
    return subtype == "json" or subtype.endswith("+json")


def _key(source: str, identity: str, own_source: str) -> str:
    # A source has no space in it, so no two pairs make the same key.
    key = identity if source == own_source else f"{source} {identity}"
    if len(key) <= _LONGEST_KEY and key.isprintable() and key == key.strip():
        return key
    from hashlib import sha256  # lazy: few keys need it

    digest = sha256(f"{source} {identity}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"cloudevent-{digest}"
