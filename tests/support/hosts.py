"""Other hosts, and other configurations, of one store: each is an events.toml of its own."""

from __future__ import annotations

from tests.support.project import Project


def another_config(project: Project, name: str, *changes: tuple[str, str]) -> str:
    """Write a second events.toml beside the first one, and return its path."""
    text = project.config.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = project.folder / name
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def another_host(project: Project) -> str:
    """Return the path of the events.toml of another host: a state folder of its own."""
    return another_config(project, "there.toml", ('state = "state"', 'state = "there"'))
