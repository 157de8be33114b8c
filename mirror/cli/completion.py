"""``cvmfs-mirror completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  cvmfs-mirror completion bash > /etc/bash_completion.d/cvmfs-mirror
    zsh:   cvmfs-mirror completion zsh > "${fpath[1]}/_cvmfs-mirror"
    fish:  cvmfs-mirror completion fish > ~/.config/fish/completions/cvmfs-mirror.fish
    """  # noqa: D301 - \b is the character that click wants
    show_script(context, shell, "cvmfs-mirror")


def show_script(context: click.Context, shell: str, program: str) -> None:
    """Print the completion script of this program for a shell."""
    completion_class = get_completion_class(shell)
    if completion_class is None:
        raise click.BadParameter(f"no completion for {shell}")
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    script = completion_class(context.find_root().command, {}, program, variable)
    click.echo(script.source())
