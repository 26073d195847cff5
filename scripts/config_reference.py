"""Write the tables of docs/configuration.md from the docstrings of the records in config/model.py.

    python -m scripts.config_reference

A field's docstring is what its key means, and then its type and its default: "Meaning. (type;
default)". The text around the tables is kept. A test fails when the page is stale.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "configuration.md"
MODEL = ROOT / "eventctl" / "config" / "model.py"

_NAMES = {("Store", "sqlite"): "url"}
"""Fields whose keys have other names."""

_TABLE = re.compile(r"(<!-- (\w+)(?:: ([\w, ]+))? -->\n\n).*?(?=\n\n)", re.DOTALL)
"""A table below a comment that names its record, and its fields if they are not all."""

_HEAD = "| key | type | default | meaning |\n| --- | --- | --- | --- |"


def page(text: str) -> str:
    """Return the page with its tables rewritten."""
    records = _records()

    def table(found: re.Match[str]) -> str:
        fields = records[found[2]]
        wanted = found[3].split(", ") if found[3] else list(fields)
        rows = (f"| `{key}` | {' | '.join(_cells(fields[key]))} |" for key in wanted)
        return found[1] + "\n".join([_HEAD, *rows])

    return _TABLE.sub(table, text)


def _cells(docstring: str) -> tuple[str, str, str]:
    """Return type, default and meaning."""
    meaning, _, rest = docstring.rpartition(" (")
    kind, _, default = rest.removesuffix(")").partition("; ")
    assert default, f"write it as 'Meaning. (type; default)': {docstring}"
    return kind, default, meaning


def _records() -> dict[str, dict[str, str]]:
    """Return the docstrings of the fields by record and key."""
    tree = ast.parse(MODEL.read_text(encoding="utf-8"))
    return {node.name: dict(_fields(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _fields(record: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, text in zip(record.body, record.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            docstring = " ".join(str(text.value.value).split())
            if docstring.endswith(")") and "; " in docstring.rpartition(" (")[2]:
                yield _NAMES.get((record.name, field.target.id), field.target.id), docstring


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
