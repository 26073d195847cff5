"""`eventctl completion`: print the completion script for a shell."""

from __future__ import annotations

import sys

import click

from eventctl.cli.completion import source
from eventctl.cli.context import Context

_INSTALL = {
    "bash": 'In ~/.bashrc:  eval "$(eventctl completion bash)"',
    "zsh": 'In ~/.zshrc, below compinit:  eval "$(eventctl completion zsh)"',
    "fish": "To install it:  eventctl completion fish >~/.config/fish/completions/eventctl.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(_INSTALL)), metavar="SHELL")
@click.pass_obj
def command(context: Context, /, shell: str) -> None:
    """Print the completion script for a shell.

    SHELL is bash, zsh or fish. The script completes commands, options, names and ids.
    Names of events and handlers come from events.toml. Ids come from the store: the
    newest ones, failed events first.

    \b
    Examples:
      eval "$(eventctl completion bash)"       # in ~/.bashrc
      eval "$(eventctl completion zsh)"        # in ~/.zshrc, below compinit
      eventctl completion fish >~/.config/fish/completions/eventctl.fish
    """
    first, *rest = source(shell).splitlines(keepends=True)
    note = f"# {_INSTALL[shell]}\n"
    # zsh requires #compdef on the first line of a file in $fpath.
    sys.stdout.write("".join([first, note, *rest] if shell == "zsh" else [note, first, *rest]))
