"""`eventctl doctor` with each thing broken on purpose: its own line, and how to fix it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.databases import sqlite_only
from tests.support.diagnosis import bad, doctor, only, write
from tests.support.project import Project
from tests.support.terminal import on_terminal, plain


def test_a_project_in_which_all_is_well(project: Project) -> None:
    write(project)
    project.run("emit", "--defer", "bought")
    project.run("sweep")
    before = sorted(project.folder.rglob("*"))
    lines = doctor(project)
    assert bad(lines) == set()
    texts = {line.check: line.text for line in lines}
    assert texts["handlers"] == "2 handlers can be run"
    assert texts["rights"] == "SELECT, INSERT, UPDATE and DELETE on every table"
    assert "agree" in texts["clock"]
    assert re.match(r"the last sweep ended [\d.]+m?s ago", texts["sweep"])
    assert {"mariadb": "MariaDB", "mysql": "MySQL"}.get(project.store, "SQLite") in "".join(
        line.text for line in lines if line.check == "store"
    )
    # It looks, and changes nothing.
    assert sorted(project.folder.rglob("*")) == before
    assert project.value("SELECT COUNT(*) FROM eventctl_event") == 1


def test_before_the_first_command_it_makes_nothing(project: Project) -> None:
    write(project)
    lines = doctor(project)
    assert bad(lines) == set()
    assert not (project.folder / "events.db").exists()
    assert not list(project.folder.glob("*.state"))
    if project.server:
        assert project.rows("SHOW TABLES") == []


@sqlite_only
@pytest.mark.parametrize(
    ("toml", "words", "fix"),
    [
        ("[handlers]\na = 1", "handlers.a: is neither", "write"),
        ('[event]\na = ["b:c"]', "event: is an unknown key", 'did you mean "events"?'),
        ("[events", "is not TOML", "missing quote"),
        ('pythonpath = ["${NO_SUCH}"]', "variable NO_SUCH is not set", "set NO_SUCH"),
    ],
)
def test_a_mistaken_events_toml(project: Project, toml: str, words: str, fix: str) -> None:
    project.config.write_text(toml)
    line = only(doctor(project, check=78), "config", words)
    assert line.level == "problem"
    assert fix in (line.fix or "")
    assert any(each.check == "cron" for each in doctor(project)), "the rest is looked at, too"


@sqlite_only
def test_all_mistakes_are_reported_and_a_missing_file_is_one(project: Project) -> None:
    project.config.write_text('colour = "red"\n[store]\nurl = "x"\n[sweep]\njobs = 0')
    assert sum(line.check == "config" for line in doctor(project, check=78)) == 3
    project.config.unlink()
    line = only(doctor(project, check=78), "config", "no events.toml at")
    assert line.fix
    done = project.run("--config", "gone.toml", "doctor", check=78)
    assert "gone.toml: No such file" in done.stdout
    assert done.stderr == ""


def test_a_schema_that_is_newer(project: Project) -> None:
    write(project)
    project.run("list")
    project.execute("INSERT INTO eventctl_schema VALUES (99, 1)")
    line = only(doctor(project, check=1), "schema", "version 99, and this eventctl uses version")
    assert "upgrade" in (line.fix or "")
    assert project.run("list", check=78).stdout == ""


def test_a_schema_that_is_older(project: Project) -> None:
    """The next command upgrades it: what is missing until then is no problem of its own."""
    write(project)
    project.run("list")
    project.execute("ALTER TABLE eventctl_incident DROP COLUMN silent_since")
    project.execute("DELETE FROM eventctl_schema WHERE version >= 10")
    lines = doctor(project)
    line = only(lines, "schema", "version 9, and this eventctl uses version")
    assert line.level == "warning"
    assert bad(lines) == {"schema"}


@pytest.mark.parametrize("table", ["eventctl_breaker", "eventctl_incident", "eventctl_sweep"])
def test_a_table_that_is_gone(project: Project, table: str) -> None:
    write(project)
    project.run("list")
    project.execute(f"DROP TABLE {table}")
    line = only(doctor(project, check=1), "rights", table)
    assert line.level == "problem"
    assert "GRANT" not in (line.fix or ""), "no privilege is missing"
    done = project.run("sweep", check=None)
    assert done.returncode in (74, 78)
    assert table in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sweep_that_is_long_ago_and_one_that_runs(project: Project) -> None:
    write(project, handlers='slow = "handlers:slow"', events='wait = ["slow"]')
    with (project.folder / "handlers.py").open("a") as file:
        file.write("\ndef slow():\n    import time\n    time.sleep(60)\n")
    project.run("sweep")
    project.execute("UPDATE eventctl_sweep SET ended_at = ended_at - 7200000")
    line = only(doctor(project, check=1), "sweep", "the last sweep ended 2h", "ago, on ")
    assert line.level == "problem"
    text = project.config.read_text()
    project.config.write_text(f'{text}[sweep]\nstalled = "3h"\n')
    assert "sweep" not in bad(doctor(project))
    project.config.write_text(text)
    project.run("emit", "--defer", "wait")
    project.start("sweep")
    deadline = time.monotonic() + 20
    while "sweep" in bad(doctor(project)):
        assert time.monotonic() < deadline


@sqlite_only
def test_what_lies_in_the_spool(project: Project) -> None:
    write(project)
    project.run("sweep")
    spool = project.folder / "events.state" / "spool"
    for name in ("old.json", "held/a.json", "held/b.json", "damaged/c.json", ".draft.json"):
        (spool / name).parent.mkdir(parents=True, exist_ok=True)
        (spool / name).write_text("{}")
    os.utime(spool / "old.json", (1, 1))
    spool.chmod(0o777)
    sent = [line for line in doctor(project, check=1) if line.check == "spool"]
    assert [line.level for line in sent] == ["problem", "warning", "warning", "warning"]
    assert "anybody can write to" in sent[0].text
    assert sent[0].fix == f"chmod go-w {spool}"
    assert sent[1].text.startswith("1 file in ")
    assert sent[2].text.startswith("2 files in ")
    assert f"1 file in {spool}/damaged" in sent[3].text


@sqlite_only
def test_the_state_folders_rights(project: Project) -> None:
    write(project)
    project.run("sweep")
    folder = project.folder / "events.state"
    folder.chmod(0o755)
    line = only(doctor(project, check=None), "state", "has mode 755, not 700")
    assert line[0] == "warning"
    subprocess.run(["sh", "-c", line.fix or ""], check=True)
    assert "state" not in bad(doctor(project))
    write(project, store='group = "no-such-group"')
    only(doctor(project), "state", "names no-such-group, which does not exist")
    write(project, store='group = "daemon"')
    line = only(doctor(project), "state", "but [store] group is daemon")
    assert (line.fix or "").startswith("chgrp -R daemon ")
    write(project, store='state = "/proc/nowhere/state"')
    only(doctor(project), "state", "the folder /proc/nowhere does not exist")


@sqlite_only
def test_another_users_state_folder(project: Project) -> None:
    needs.root("a state folder of another user")
    write(project)
    project.run("sweep")
    os.chown(project.folder / "events.state", 1, 1)
    line = only(doctor(project), "state", "belongs to daemon", "who cannot read")
    assert line.fix == "run eventctl as daemon, doctor too"


@sqlite_only
@pytest.mark.parametrize(("size", "level"), [("4m", "problem"), ("100m", "warning")])
def test_a_disk_that_fills_up(project: Project, size: str, level: str) -> None:
    needs.root("a disk of its own")
    write(project, store='state = "disk/state"')
    (project.folder / "disk").mkdir()
    stage = f'mount -t tmpfs -o size={size},nr_inodes=50 tmpfs disk; exec "$@"'
    lines = doctor(project, wrapper=("unshare", "--mount", "sh", "-c", stage, "sh"))
    inodes, room = (line for line in lines if line.check == "disk" and line.level != "ok")
    assert "more files can be created on the disk of the state folder" in inodes.text
    assert inodes.level == "problem"
    assert "MB are free for the state folder" in room.text
    assert room.level == level
    assert f"df -h {project.folder}/disk" in (room.fix or "")


def test_the_type_of_a_file_system(tmp_path: Path) -> None:
    from eventctl.setup.doctor.files import file_system

    mounts = Path("/proc/self/mountinfo").read_text()
    assert file_system(Path("/proc"), mounts) == "proc"
    assert file_system(Path("/sys/kernel"), mounts) == "sysfs"
    device = tmp_path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    nfs = f"40 22 {number} / /srv/my\\040data rw shared:1 - nfs4 server:/srv rw,vers=4.2\n"
    assert file_system(tmp_path, nfs) == "nfs4"
    assert file_system(Path("/proc"), nfs) == ""


@sqlite_only
def test_mail_without_its_program(project: Project) -> None:
    write(project)
    (project.folder / "sendmail").unlink()
    line = only(doctor(project, check=1), "mail", f"{project.folder}/sendmail, which")
    assert "apt-get install" in (line.fix or "")


@sqlite_only
def test_a_handler_that_no_event_expects(project: Project) -> None:
    write(project, handlers='idle = "handlers:draw"')
    line = only(doctor(project), "config", "no event uses idle")
    assert line.level == "warning"


@sqlite_only
def test_what_a_person_sees(project: Project) -> None:
    write(project, handlers='gone = "handlers:gone"')
    code, shown = on_terminal(project, "doctor", columns=80)
    assert code == 1
    assert "problem  handlers   gone: handlers:gone cannot be used" in plain(shown)
    assert "\n                    → fix the name in [handlers]" in plain(shown)
    assert "\x1b[31m" in shown
    _, shown = on_terminal(project, "doctor", env={"NO_COLOR": "1"})
    assert "\x1b[3" not in shown
    done = project.run("doctor", check=1)
    assert done.stderr == ""
    assert "problem\thandlers\tgone: handlers:gone cannot be used" in done.stdout
    verdict = r"\d problems?, \d warnings?; \d+ ok \(to list them: eventctl doctor -v\)"
    assert re.fullmatch(verdict, done.stdout.splitlines()[0])


@sqlite_only
def test_problems_come_first_and_what_is_ok_is_counted(project: Project) -> None:
    write(project, handlers='idle = "handlers:draw"\ngone = "handlers:gone"')
    verdict, *listed = project.run("doctor", check=1).stdout.splitlines()
    levels = [line.split("\t")[0] for line in listed]
    assert "ok" not in levels
    assert levels == sorted(levels), "problem before warning"
    page = json.loads(project.run("doctor", "--json", check=1).stdout)
    fine = sum(finding["level"] == "ok" for finding in page["findings"])
    assert f"; {fine} ok (to list them: eventctl doctor -v)" in verdict
    verdict, *listed = project.run("doctor", "--verbose", check=1).stdout.splitlines()
    assert sum(line.startswith("ok\t") for line in listed) == fine
    assert verdict.endswith(f"; {fine} ok")


@sqlite_only
def test_sweeps_that_keep_time_by_themselves_need_no_crontab(project: Project) -> None:
    """A person who has swept by hand has installed nothing."""
    write(project)
    for _ in range(6):
        project.run("sweep")
    line = only([each for each in doctor(project) if "daemon" not in each.text], "cron")
    assert "no line sweeps this file" in line.text
    assert (line.fix or "").endswith("crontab --install")
    assert "all is well" not in project.run("doctor", check=1).stdout
    newest = project.value("SELECT MAX(started_at) FROM eventctl_sweep")
    project.execute(
        f"UPDATE eventctl_sweep SET started_at = {newest} - 60000 * (6 - id),"
        f" ended_at = {newest} - 60000 * (6 - id) + 200"
    )
    lines = [each for each in doctor(project) if each.check == "cron"]
    assert [each.level for each in lines] == ["ok"]
    assert "but sweeps run each 1m on " in lines[0].text


@sqlite_only
def test_a_second_events_toml_in_reach(project: Project) -> None:
    """A command picks one by the folder that it is run in: the other is named."""
    write(project)
    home = project.folder / "home"
    other = home / ".config" / "eventctl" / "events.toml"
    other.parent.mkdir(parents=True)
    other.write_text(project.config.read_text())
    env = {"HOME": str(home)}
    line = only(doctor(project, env=env), "config", f"commands in other folders use {other}")
    assert line.level == "warning"
    assert str(project.config) in (line.fix or "")
    chosen = env | {"EVENTCTL_CONFIG": str(project.config)}
    assert "config" not in bad(doctor(project, env=chosen))


@sqlite_only
def test_a_terminal_that_has_few_letters(project: Project) -> None:
    write(project, handlers='"歓迎" = "handlers:draw"')
    done = project.run("doctor", env={"PYTHONIOENCODING": "latin-1"}, check=None)
    assert done.stderr == ""
    assert "no event uses \\u6b53\\u8fce" in done.stdout


@sqlite_only
def test_a_name_that_would_repaint_the_terminal(project: Project) -> None:
    write(project, handlers='bad = { command = ["./\\u001b[31mx"] }')
    done = project.run("doctor", check=1)
    assert "\\x1b[31mx" in done.stdout
    assert "\x1b" not in done.stdout
