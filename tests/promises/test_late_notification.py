"""P8: who takes longer to notify a channel than its lease lasts changes nothing any more."""

from __future__ import annotations

from pathlib import Path

from tests.support.channels import Post, fail, fix, replay, write
from tests.support.hosts import another_config
from tests.support.project import Project
from tests.support.wait import wait_until


def test_a_host_that_is_late_does_not_undo_what_another_has_noted(
    project: Project, post: Post, tmp_path: Path
) -> None:
    """The second host has sent the message, and that it is over: it is over once."""
    quick = Post(tmp_path / "quick")
    write(project, post)
    there = another_config(
        project,
        "there.toml",
        (str(post.sendmail), str(quick.sendmail)),
        ("[store]\n", '[store]\nstate = "there"\n'),
    )
    fail(project)
    post.hang(True)
    here = project.start("sweep")
    wait_until(
        lambda: project.rows("SELECT id FROM eventctl_telling WHERE lease IS NOT NULL"),
        what="the first host to send",
    )
    project.execute("UPDATE eventctl_telling SET leased_until = 1")
    project.run("--config", there, "sweep", check=1)
    fix(project)
    replay(project)
    project.run("--config", there, "sweep")
    assert len(quick.mails()) == 2
    noted = project.rows("SELECT * FROM eventctl_telling")
    post.hang(False)
    here.communicate(timeout=30)
    assert len(post.mails()) == 1
    assert project.rows("SELECT * FROM eventctl_telling") == noted
    for config in (there, str(project.config)):
        assert project.run("--config", config, "sweep").stdout == ""
    assert (len(post.mails()), len(quick.mails())) == (1, 2)
