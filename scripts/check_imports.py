"""Check that imports inside eventctl run only to lower ranks, so that no circle can be.

Run by `make lint`. Imports inside functions count too. Prints each violation as
file:line, and exits 1 if there is one.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

# Rank 0 first. `name.*` is a package whose modules may import one another.
# `eventctl` itself, the public face, is what users import: nothing in here does.
RANKS = (
    ("errors", "states", "text", "times", "cause", "config.model"),
    ("retry", "tally", "files", "config.*"),
    (
        *("store", "store.database", "store.drivers", "locks", "handlers", "output", "board"),
        *("crontab", "first"),
    ),
    ("store.dialects", "store.migrations", "store.schema", "store.settle", "store.reading"),
    (
        *("store.opening", "store.record", "store.claims", "store.finish", "store.reopen"),
        *("store.breakers", "store.notices", "store.history", "store.queries"),
        *("store.statistics", "store.incidents"),
        *("spool", "outbox"),
    ),
    ("accept", "redact", "health", "store.failures", "store.tellings", "store.incident_views"),
    ("alerts.*", "breaker", "intake", "transactional", "watch", "prometheus", "ping"),
    ("worker", "page.*"),
    ("child",),
    ("pool",),
    ("dispatch",),
    ("emitter", "replay", "sweep", "doctor.*"),
    ("api", "cli.*"),
    ("eventctl", "__main__"),
)


def entry_of(module: str) -> tuple[int, str] | None:
    """Return the rank of a module (dotted, with `eventctl.`), and its entry in the table."""
    name = module.removeprefix("eventctl.")
    for rank, entries in enumerate(RANKS):
        for entry in entries:
            package = entry.removesuffix(".*")
            if name == package or (entry != package and name.startswith(package + ".")):
                return rank, entry
    return None


def module_of(file: Path, root: Path) -> str:
    """Return the dotted name of a source file below `root`, the folder of eventctl/."""
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(file: Path, module: str, known: set[str]) -> Iterator[tuple[int, str]]:
    """Yield (line, module) for each module of `known` that the file imports."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "eventctl":
                    yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            if base.split(".")[0] == "eventctl":
                for alias in node.names:
                    inner = f"{base}.{alias.name}"
                    yield node.lineno, inner if inner in known else base


def violations(root: Path) -> Iterator[str]:
    """Yield one line for each import that runs the wrong way below `root`/eventctl."""
    files = {module_of(file, root): file for file in sorted((root / "eventctl").rglob("*.py"))}
    for module, file in files.items():
        where = file.relative_to(root)
        mine = entry_of(module)
        if mine is None:
            yield f"{where}:1: {module} has no rank: give it one in scripts/check_imports.py"
            continue
        for line, target in sorted(set(imports_of(file, module, set(files)))):
            theirs = entry_of(target)
            if theirs is None:
                continue  # told at the file itself; that it is there, mypy sees to
            if theirs[0] > mine[0]:
                yield f"{where}:{line}: rank {mine[0]} imports {target}, of rank {theirs[0]}"
            elif theirs[0] == mine[0] and not (theirs == mine and mine[1].endswith(".*")):
                yield f"{where}:{line}: imports {target}, of its own rank {mine[0]}"


def main() -> int:
    """Check the tree that this script lies in; return the exit code."""
    found = list(violations(Path(__file__).resolve().parent.parent))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
