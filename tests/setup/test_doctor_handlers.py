"""`eventctl doctor` on handlers that cannot be run: in a child process, and reported one by one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.databases import sqlite_only
from tests.support.diagnosis import doctor, only, write
from tests.support.look import script
from tests.support.project import Project

HANDLER_FAULTS = {
    "missing": ("", "missing_module:run", "No module named 'missing_module'", "pythonpath"),
    "inner": ("import no_such_lib", "m:run", "no_such_lib'", "pip install"),
    "name": ("def other(): pass", "m:run", "has no attribute 'run'", "fix the name"),
    "syntax": ("def run(:", "m:run", "SyntaxError", "try it with: PYTHONPATH="),
    "raises": ("x = 1\n1 / 0", "m:run", "ZeroDivisionError: division by zero", "try it with"),
    "value": ("run = 3", "m:run", "m:run is not callable", "fix the name"),
    "exit": ("import sys; sys.exit(4)", "m:run", "SystemExit: 4", "try it with"),
    "_exit": ("import os; os._exit(4)", "m:run", "ended the process (exit code 4)", "only define"),
    "crash": (
        "import ctypes; ctypes.string_at(0)", "m:run", "killed the process (SIGSEGV)", "only define"
    ),
}  # fmt: skip


@sqlite_only
def test_handlers_that_cannot_be_imported_each_in_its_own_way(project: Project) -> None:
    write(
        project,
        handlers="\n".join(
            f'{name} = "{call.replace("m:", f"m_{name}:")}"'
            for name, (_, call, _, _) in HANDLER_FAULTS.items()
        ),
    )
    for name, (code, _, _, _) in HANDLER_FAULTS.items():
        (project.folder / f"m_{name}.py").write_text(code + "\n")
    lines = [line for line in doctor(project, check=1) if line.check == "handlers"]
    assert lines[-1].text == "2 handlers can be run", "those that are well"
    assert len(lines) == len(HANDLER_FAULTS) + 1
    for name, (_, _, words, fix) in HANDLER_FAULTS.items():
        (line,) = (each for each in lines if each.text.startswith(f"{name}: "))
        assert line.level == "problem"
        assert words.replace("m:run", f"m_{name}:run") in line.text
        assert fix in (line.fix or "")
        if name == "raises":
            assert f"({project.folder}/m_raises.py:2)" in line.text
            command = (line.fix or "").removeprefix("try it with: ")
            seen = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=20)
            assert words in seen.stderr


@sqlite_only
def test_a_handler_that_hangs_as_it_is_imported(project: Project) -> None:
    write(project, handlers='bad = "hang:run"')
    (project.folder / "hang.py").write_text(
        "import os, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '1000'])\n"
        "open('pids', 'w').write(f'{os.getpid()} {child.pid}')\n"
        "time.sleep(1000)\n"
    )
    code = (
        "import sys; from eventctl.setup.doctor import handlers; handlers.PATIENCE = 4.0;"
        " from eventctl.cli import run; sys.exit(run(['doctor']))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "bad: importing hang did not end within 4s" in done.stdout
    for pid in (project.folder / "pids").read_text().split():
        assert not Path(f"/proc/{pid}/cmdline").exists() or _is_zombie(pid)


def _is_zombie(pid: str) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes() == b""


@sqlite_only
@pytest.mark.parametrize(
    ("command", "words", "fix", "level"),
    [
        ("./gone.sh", "gone.sh does not exist", "fix the path", "problem"),
        ("./events.toml", "is not executable", "chmod +x", "problem"),
        ("no-such-tool", "no program no-such-tool is on PATH", "install it", "problem"),
        ("./events.toml --fast", "--fast does not exist", "each argument as an item", "problem"),
        ("plain", "no program plain is on PATH", 'write "./plain"', "problem"),
        ("./no-line", "no-line has no #! line", "such as #!/bin/sh", "problem"),
        ("./windows", "has the line ends of Windows", r"sed -i 's/\r$//'", "problem"),
        ("./no-such", "begins with #!/no/such, which does not exist", "first line", "problem"),
        ("only-here", "and cron looks in /usr/bin:/bin only", "absolute path", "warning"),
    ],
)
def test_a_command_that_cannot_be_started(
    project: Project, command: str, words: str, fix: str, level: str
) -> None:
    write(project, handlers=f'bad = {{ command = ["{command}"] }}')
    script(project.folder / "only-here", "#!/bin/sh\n")
    (project.folder / "plain").touch()
    script(project.folder / "no-line", "exit 0\n")
    script(project.folder / "windows", "#!/bin/sh\r\nexit 0\r\n")
    script(project.folder / "no-such", "#!/no/such -x\n")
    path = f"{project.environment()['PATH']}:{project.folder}"
    line = only(doctor(project, env={"PATH": path}), "handlers", "bad: ", words)
    assert fix in (line.fix or "")
    assert line.level == level
