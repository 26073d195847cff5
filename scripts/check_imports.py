"""Check that imports inside eventctl run one way, folder by folder, and stand at the top.

Run by `make lint`. HOUSE lists the folders from the top of the house to the bottom: a folder
may import itself and what is below it. An import inside a function counts too, and says in a
comment why it is not at the top: `# lazy: …`. Prints each violation as file:line, and exits 1
if there is one.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

HOUSE = (
    "__main__",
    "cli",
    "__init__",
    "api",
    "run",
    "monitor",
    "setup",
    "alerts",
    "workers",
    "upkeep",
    "intake",
    "store",
    "state",
    "config",
    "format",
    "models",
    "errors",
)


_NEAR = 5
"""How many lines above an import its reason may be."""


def imports_of(file: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, part of the house) for each import of eventctl in a file."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, "."
            continue
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "eventctl":
                part = rest.partition(".")[0]
                yield node.lineno, part if part in HOUSE else "__init__"


def unexplained(file: Path) -> Iterator[int]:
    """Yield the line of each import inside a function that has no `# lazy:`."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    for function in ast.walk(ast.parse(text, str(file))):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    # One comment is enough for consecutive imports.
                    above = lines[max(0, node.lineno - _NEAR) : node.lineno]
                    if not any("# lazy: " in line for line in above):
                        yield node.lineno


def violations(root: Path) -> Iterator[str]:
    """Yield one line for each import that runs upwards below `root`/eventctl."""
    for file in sorted((root / "eventctl").rglob("*.py")):
        where = file.relative_to(root)
        mine = where.parts[1].removesuffix(".py")
        if mine not in HOUSE:
            yield f"{where}:1: {mine} is not in the house: add it to scripts/check_imports.py"
            continue
        for line, theirs in sorted(set(imports_of(file))):
            if theirs == ".":
                yield f"{where}:{line}: a relative import: name the module from eventctl on"
            elif HOUSE.index(theirs) < HOUSE.index(mine):
                yield f"{where}:{line}: {mine} imports {theirs}, which is above it"

        for line in sorted(set(unexplained(file))):
            yield f"{where}:{line}: an import inside a function: say why, # lazy: …"


def main() -> int:
    """Check the tree of this script; return the exit code."""
    found = list(violations(Path(__file__).resolve().parent.parent))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
