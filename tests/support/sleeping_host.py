"""A host that can be sent to sleep for a while, as when a lid is closed (see `asleep`)."""

from __future__ import annotations

from pathlib import Path

from tests.support.project import Project


def can_sleep(project: Project) -> dict[str, str]:
    """Return the environment of a command that `sleep_for` sends to sleep."""
    return {
        "PYTHONPATH": str(Path(__file__).parent / "asleep"),
        "ASLEEP": str(project.folder / "asleep"),
    }


def sleep_for(project: Project, seconds: float) -> None:
    """Make it look as if the host had just woken up after so many seconds."""
    draft = project.folder / "asleep.draft"
    draft.write_text(str(seconds))
    draft.replace(project.folder / "asleep")
