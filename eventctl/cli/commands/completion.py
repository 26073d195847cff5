"""`eventctl completion`: print the completion script for a shell."""

from __future__ import annotations

import click
from click.shell_completion import shell_complete

from eventctl.cli import completion
from eventctl.cli.context import Context


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="SHELL")
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
    instruction = f"{shell}_source"
    shell_complete(click.Command("eventctl"), {}, "eventctl", completion.VARIABLE, instruction)
