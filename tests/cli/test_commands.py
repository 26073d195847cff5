"""The list of commands, as `eventctl --help` shows it."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

from eventctl.cli.app import COMMANDS


def test_the_list_of_commands_says_what_each_says_of_itself_and_loads_none() -> None:
    for commands in COMMANDS.values():
        for name, line in commands.items():
            command = import_module(f"eventctl.cli.commands.{name}").command
            assert command.get_short_help_str(70) == line
    code = (
        "import sys; from eventctl.cli import app; app.main(['--help']);"
        " sys.exit(any(name.startswith('eventctl.cli.commands.') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=False)
    assert done.returncode == 0
