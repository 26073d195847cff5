"""`eventctl crontab`: its own block in a real crontab, and nothing else."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import look, needs
from tests.support.cron import Cron, running_cron
from tests.support.databases import sqlite_only
from tests.support.diagnosis import doctor, only
from tests.support.project import Finished, Project
from tests.support.wait import wait_until

SPEED = 30
"""A minute is two seconds."""

TOML = '[events]\nbought = ["handlers:draw"]\n'
HANDLERS = "def draw(*args):\n    pass\n"

pytestmark = sqlite_only

OTHERS = b"""# m h  dom mon dow   command\t
MAILTO="boss@example.com"
0 5 * * 1  tar -zcf /var/backups/home.tgz /home/   \t

# Gr\xfc\xdfe in Latin-1, and no % escaped
#* * * * * date +%F
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cron]:
    with running_cron(tmp_path_factory.mktemp("cron"), SPEED) as cron:
        yield cron


@pytest.fixture
def cron(running: Cron) -> Iterator[Cron]:
    """A cron for which no crontab is installed."""
    yield running
    subprocess.run([*running.stage(Path("/")), "crontab", "-r"], capture_output=True, check=False)


def crontab(project: Project, cron: Cron, *options: str, check: int = 0) -> Finished:
    """Run `eventctl crontab OPTIONS` where the cron is."""
    return project.run("crontab", *options, wrapper=cron.stage(project.folder), check=check)


def listed(cron: Cron) -> bytes | None:
    """Return what `crontab -l` prints, None if there is no crontab."""
    done = subprocess.run([*cron.stage(Path("/")), "crontab", "-l"], capture_output=True)
    return done.stdout if done.returncode == 0 else None


def install(cron: Cron, content: bytes) -> None:
    """Install a crontab as a person does."""
    subprocess.run([*cron.stage(Path("/")), "crontab", "-"], input=content, check=True)


def test_the_first_crontab_and_none_again(project: Project, cron: Cron) -> None:
    project.write(TOML, HANDLERS)
    assert listed(cron) is None
    done = crontab(project, cron, "--install")
    assert "installed for" in done.stderr
    assert done.stdout == ""
    first = listed(cron)
    assert (
        first
        == (
            f"# BEGIN eventctl {project.config}\n"
            'CONTENT_TYPE="text/plain; charset=UTF-8"\n'
            f"* * * * *  {sys.executable} -P -m eventctl --config {project.config} sweep\n"
            f"# * * * * *  {sys.executable} -P -m eventctl --config {project.config} check"
            f" --prometheus {project.folder}/eventctl.prom\n"
            f"# */10 * * * *  {sys.executable} -P -m eventctl --config {project.config} stats"
            f" --html {project.folder}/stats.html\n"
            f"# END eventctl {project.config}\n"
        ).encode()
    )
    assert "nothing was changed" in crontab(project, cron, "--install").stderr
    assert listed(cron) == first
    crontab(project, cron, "--remove")
    assert listed(cron) is None
    assert "has no lines of eventctl's own" in crontab(project, cron, "--remove").stderr


def test_the_rest_is_untouched_to_the_byte(project: Project, cron: Cron) -> None:
    project.write(TOML, HANDLERS)
    install(cron, OTHERS)
    crontab(project, cron, "--install", "--mailto", "ops@example.com", "--every", "5m")
    added = listed(cron)
    assert added
    assert added.startswith(OTHERS)
    # A line that somebody adds below still mails to the boss.
    assert added.endswith(f'MAILTO="boss@example.com"\n# END eventctl {project.config}\n'.encode())
    install(cron, added + b"0 6 * * * backup\n")
    crontab(project, cron, "--install", "--for", "55s")
    changed = listed(cron)
    assert changed
    assert changed.endswith(b"0 6 * * * backup\n")
    assert changed.count(b"# BEGIN eventctl") == 1
    # What has been said once need not be said again.
    assert b"\nMAILTO=ops@example.com\n* * * * *  " in changed
    assert changed.count(b"MAILTO=") == 3
    assert b"sweep --for 55s\n" in changed
    crontab(project, cron, "--remove")
    assert listed(cron) == OTHERS + b"0 6 * * * backup\n"


def test_crons_mail_is_labelled_as_utf_8(project: Project, cron: Cron) -> None:
    project.write(
        '[defaults]\nretry = { attempts = 1 }\n[events]\nbought = ["handlers:draw"]\n',
        "def draw():\n    raise RuntimeError('kein Glück – 残念')\n",
    )
    install(cron, b"CONTENT_TYPE=text/html\n")
    crontab(project, cron, "--install")
    assert (listed(cron) or b"").endswith(
        b"set before:\nCONTENT_TYPE=text/html\n# END eventctl %b\n" % bytes(project.config)
    )
    before = len(cron.mails())
    cron.make_it_look()
    project.run("emit", "-q", "--defer", "bought")
    wait_until(lambda: len(cron.mails()) > before, 60, "the mail of cron")
    mail = cron.mails()[before]
    assert (mail.get_content_type(), mail.get_content_charset()) == ("text/plain", "utf-8")
    text = mail.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert "kein Glück – 残念" in text.decode("utf-8")


BCRON = """#!/bin/sh
# As bcron's: it reads a file only, and has its own words.
case $1 in
-l) [ -e "$SPOOL/tab" ] && exec cat "$SPOOL/tab"
    echo "bcrontab: Fatal: Crontab does not exist" >&2; exit 111 ;;
-r) exec rm "$SPOOL/tab" ;;
-*) echo "usage: bcrontab [flags] [ -u user ] file" >&2; exit 111 ;;
*)  exec cp "$1" "$SPOOL/tab" ;;
esac
"""


@pytest.mark.parametrize("kind", ["busybox", "bcron"])
def test_the_crontab_programs_of_small_systems(project: Project, kind: str) -> None:
    project.write(TOML, HANDLERS)
    (spool := project.folder / "spool").mkdir()
    if kind == "busybox":
        busybox = needs.program("busybox", "busybox-static")
        if (
            "applet not found"
            in subprocess.run(
                [busybox, "crontab"], capture_output=True, text=True, check=False
            ).stderr
        ):
            needs.missing("this busybox has no crontab (apt-get install busybox-static)")
        text = f'#!/bin/sh\nexec {busybox} crontab -c "$SPOOL" "$@"\n'
        user = pwd.getpwuid(os.geteuid()).pw_name
    else:
        text, user = BCRON, "tab"
    (bin_ := project.folder / "bin").mkdir()
    look.script(bin_ / "crontab", text)
    env = {"PATH": f"{bin_}:{project.environment()['PATH']}", "SPOOL": str(spool)}
    tab = spool / user
    project.run("crontab", "--install", env=env)
    assert f"# BEGIN eventctl {project.config}\n" in tab.read_text()
    project.run("crontab", "--remove", env=env)
    assert not tab.exists()
    tab.write_bytes(OTHERS)
    project.run("crontab", "--install", "--mailto", "ops@example.com", env=env)
    assert tab.read_bytes().startswith(OTHERS)
    project.run("crontab", "--remove", env=env)
    assert tab.read_bytes() == OTHERS


def test_a_long_path_for_temporary_files(project: Project, cron: Cron) -> None:
    """Debian's crontab cuts a file's path at 100 characters."""
    project.write(TOML, HANDLERS)
    (folder := project.folder / ("long" * 30)).mkdir()
    install(cron, OTHERS)
    for option in ("--install", "--remove"):
        stage = cron.stage(project.folder)
        project.run("crontab", option, wrapper=stage, env={"TMPDIR": str(folder)})
        assert (b"# BEGIN eventctl" in (listed(cron) or b"")) == (option == "--install")
    assert listed(cron) == OTHERS


def test_several_files_side_by_side(project: Project, cron: Cron) -> None:
    project.write(TOML, HANDLERS)
    other = project.folder / "other"
    other.mkdir()
    (other / "events.toml").write_text(TOML)
    crontab(project, cron, "--install", "--mailto", "ops@example.com")
    alone = listed(cron)
    assert b"\nMAILTO=root\n# END" in (alone or b""), "the other one's mail is cron's to send"
    crontab(project, cron)  # prints only
    assert listed(cron) == alone
    project.run("--config", "other/../other/./events.toml", "crontab", "--install",
                wrapper=cron.stage(project.folder))  # fmt: skip
    both = listed(cron) or b""
    assert both.startswith(alone or b"-")
    assert f"# BEGIN eventctl {other}/events.toml\n".encode() in both
    # The events.toml that was removed from the disk can be removed from the crontab, too.
    (other / "events.toml").unlink()
    project.run("--config", "other/events.toml", "crontab", "--remove",
                wrapper=cron.stage(project.folder))  # fmt: skip
    assert listed(cron) == alone


def test_a_dry_run_shows_the_change_and_makes_none(project: Project, cron: Cron) -> None:
    project.write(TOML, HANDLERS)
    install(cron, OTHERS)
    done = crontab(project, cron, "--install", "--dry-run")
    assert f"+# BEGIN eventctl {project.config}\n" in done.stdout
    assert " # Gr\\xfc\\xdfe in Latin-1" in done.stdout
    assert listed(cron) == OTHERS
    crontab(project, cron, "--install")
    done = crontab(project, cron, "--remove", "--dry-run")
    assert f"-# END eventctl {project.config}\n" in done.stdout


def test_a_block_that_somebody_has_cut_is_left_alone(project: Project, cron: Cron) -> None:
    project.write(TOML, HANDLERS)
    crontab(project, cron, "--install")
    cut = (listed(cron) or b"").partition(b"# END")[0]
    install(cron, cut)
    for option in ("--install", "--remove"):
        done = crontab(project, cron, option, check=1)
        assert "fix it by hand (crontab -e)" in done.stderr
        assert done.stderr.count("\n") == 1
    assert listed(cron) == cut


def test_the_whole_way_with_a_strange_path(project: Project, cron: Cron, tmp_path: Path) -> None:
    """From `init` over `crontab --install` to a doctor who finds nothing, all by real parts."""
    strange = Project(tmp_path / 'it\'s 100% \\o/ "Ä"; $HOME')
    try:
        strange.run("init", "--yes")
        done = crontab(strange, cron, "--install", "--mailto", "ops@example.com")
        assert done.stderr.startswith("eventctl: installed for ")
        cron.make_it_look()
        strange.run("emit", "--defer", "purchased", "a", "1")
        wait_until(lambda: strange.value("SELECT status FROM eventctl_event") == 2, 30, "cron")
        lines = doctor(strange, wrapper=cron.stage(strange.folder), check=0)
        assert [line for line in lines if line.level != "ok"] == []
        texts = [line.text for line in lines if line.check == "cron"]
        assert texts == [
            "a line in this user's crontab runs the sweep",
            "the cron daemon is running",
        ]
        mails = [mail for mail in cron.mails() if "100%" in str(mail["Subject"])]
        assert mails == []
    finally:
        strange.close()


def test_what_a_job_of_crons_would_lack(project: Project, cron: Cron, tmp_path: Path) -> None:
    project.write(TOML + '[report]\nmail_to = ["${WHO}"]\nsendmail = "/bin/true"\n', HANDLERS)
    env = {"WHO": "ops@example.com"}
    done = project.run("crontab", "--install", wrapper=cron.stage(project.folder), env=env)
    assert "events.toml takes WHO from the environment" in done.stderr
    stage = cron.stage(project.folder)
    line = only(doctor(project, wrapper=stage, env=env), "cron", "takes WHO")
    assert line.level == "warning"
    install(cron, b"WHO=ops@example.com\n" + (listed(cron) or b""))
    assert "cron" not in {
        each.check for each in doctor(project, wrapper=stage, env=env) if each.level != "ok"
    }


SLACK = TOML + '[[alerts]]\nslack = "${SLACK_WEBHOOK_URL}"\n'


@pytest.mark.parametrize("name", ["SLACK_WEBHOOK_URL", "SMTP_PASSWORD"])
def test_a_secret_is_in_a_file_and_not_in_the_crontab(
    project: Project, cron: Cron, name: str
) -> None:
    project.write(SLACK, HANDLERS)
    secrets = project.folder / "eventctl.env"
    secrets.write_text("SLACK_WEBHOOK_URL=https://hooks.slack.com/s3cret\n")
    secrets.chmod(0o600)
    done = crontab(project, cron, "--install")
    assert "SLACK_WEBHOOK_URL" not in done.stderr
    stage = cron.stage(project.folder)
    alone = listed(cron) or b""
    assert "cron" not in {
        each.check for each in doctor(project, wrapper=stage) if each.level != "ok"
    }
    install(cron, f"{name}=https://hooks.slack.com/s3cret\n".encode() + alone)
    line = only(doctor(project, wrapper=stage), "cron", name, "cron writes that into each of its")
    assert line.level == "warning"
    assert f"move it into {secrets}" in (line.fix or "")
    assert "s3cret" not in str(line)
    install(cron, alone.replace(b"*  /", f"*  {name}=s3cret /".encode()))
    only(doctor(project, wrapper=stage), "cron", name)


def test_a_line_whose_program_is_gone_and_whose_mail_is_thrown_away(
    project: Project, cron: Cron
) -> None:
    project.write(TOML, HANDLERS)
    job = f"* * * * * /opt/gone/eventctl --config={project.config} sweep\n"
    install(cron, b'MAILTO=""\n' + job.encode())
    lines = doctor(project, wrapper=cron.stage(project.folder), check=1)
    gone, thrown = (line for line in lines if line.check == "cron" and line.level == "problem")
    assert "program /opt/gone/eventctl does not exist" in gone.text
    assert gone.fix == "eventctl crontab --install"
    assert "MAILTO is empty" in thrown.text
    project.write(f'{TOML}\n[[alerts]]\nslack = "https://hooks.slack.com/x"\n', HANDLERS)
    lines = doctor(project, wrapper=cron.stage(project.folder), check=1)
    assert not any("MAILTO" in line.text for line in lines)


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (
            "eventctl --config TOML sweep",
            "cron finds no program eventctl: its PATH is /usr/bin:/bin",
        ),
        ("joe BIN/eventctl --config TOML sweep", "cron finds no program joe"),
        ("BIN/eventctl --config TOML sweep >/dev/null 2>&1", "discards the sweep's report"),
        ("BIN/eventctl --config TOML sweep > /dev/null", "discards the sweep's report"),
        ("BIN/eventctl --config events.toml sweep", "no line sweeps this file"),
        ("cd shop; BIN/eventctl --config events.toml sweep", "no line sweeps this file"),
        ("cd FOLDER && BIN/eventctl --config events.toml sweep", ""),
        ("cd FOLDER && BIN/eventctl sweep 2>/dev/null", ""),
        ("nice BIN/eventctl --config TOML sweep", ""),
        ("EVENTCTL_CONFIG=TOML BIN/eventctl sweep", ""),
        (
            "BIN/eventctl --config TOML sweep; date +%F",
            "line 1 of this user's crontab ends at",
        ),
        (r"BIN/eventctl --config TOML sweep; date +\%F", ""),
    ],
)
def test_a_line_that_somebody_has_typed(project: Project, cron: Cron, job: str, words: str) -> None:
    project.write(TOML, HANDLERS)
    job = job.replace("BIN", str(Path(sys.executable).parent)).replace(
        "FOLDER", str(project.folder)
    )
    install(cron, f"* * * * * {job.replace('TOML', str(project.config))}\n".encode())
    found = doctor(project, wrapper=cron.stage(project.folder))
    problems = [line.text for line in found if (line.check, line.level) == ("cron", "problem")]
    assert [words in text for text in problems] == ([True] if words else [])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--every", "7m"], "divide an hour or a day evenly"),
        (["--every", "30s"], "--for 55s"),
        (["--every", "soon"], '--every: "soon" is not a duration'),
        (["--for", "60s"], "must be over before the next sweep"),
        (["--mailto", ""], "discards every report"),
        (["--mailto", "a\nb"], "--mailto"),
        (["--mailto", "ops at example"], "'ops at example' is not a mail address"),
        (["--mailto", "a@b, Ops <c@d>"], "'Ops <c@d>' is not a mail address"),
        (["--install", "--remove"], "cannot be used together"),
        (["--dry-run"], "requires --install or --remove"),
        (["--remove", "--mailto", "x@y"], "cannot be used with it"),
    ],
)
def test_what_cannot_be_asked_for(project: Project, options: list[str], words: str) -> None:
    project.write(TOML, HANDLERS)
    done = project.run("crontab", *options, check=2)
    assert words in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("every", "fields"),
    [
        ("1m", "* * * * *"),
        ("5m", "*/5 * * * *"),
        ("1h", "0 * * * *"),
        ("6h", "0 */6 * * *"),
        ("1d", "0 0 * * *"),
    ],
)
def test_how_often(project: Project, every: str, fields: str) -> None:
    project.write(TOML, HANDLERS)
    (job,) = [
        line
        for line in project.run("crontab", "--every", every).stdout.splitlines()
        if not line.startswith(("#", "CONTENT_TYPE="))
    ]
    assert job.startswith(f"{fields}  /")


def test_a_program_that_only_our_path_finds(project: Project) -> None:
    tools = project.folder / "my tools"
    tools.mkdir()
    (tools / "draw-lots").write_text("#!/bin/sh\n")
    (tools / "draw-lots").chmod(0o755)
    project.write('[events]\na = ["x"]\n[handlers]\nx = { command = ["draw-lots"] }')
    path = f"{project.environment()['PATH']}:{tools}"
    job = project.run("crontab", env={"PATH": path}).stdout.splitlines()[2]
    assert f"/usr/bin/env 'PATH={tools}:/usr/bin:/bin' /" in job


def test_without_a_crontab_program(project: Project) -> None:
    project.write(TOML, HANDLERS)
    env = {"PATH": "/nowhere"}
    for option in ("--install", "--remove"):
        done = project.run("crontab", option, env=env, check=1)
        assert re.fullmatch(
            r"eventctl: there is no crontab program here: install cron .*\n", done.stderr
        )
    assert "sweep" in project.run("crontab", env=env).stdout
    line = only(
        doctor(project, env=env, check=1), "cron", "not readable: there is no crontab program"
    )
    assert line.level == "problem"
