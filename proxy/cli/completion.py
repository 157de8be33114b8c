"""``cvmfs-proxy completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  cvmfs-proxy completion bash > /etc/bash_completion.d/cvmfs-proxy
    zsh:   cvmfs-proxy completion zsh > "${fpath[1]}/_cvmfs-proxy"
    fish:  cvmfs-proxy completion fish > ~/.config/fish/completions/cvmfs-proxy.fish
    """  # noqa: D301 - \b is the character that click wants
    completion_class = get_completion_class(shell)
    if completion_class is None:
        raise click.BadParameter(f"no completion for {shell}")
    script = completion_class(
        context.find_root().command, {}, "cvmfs-proxy", "_CVMFS_PROXY_COMPLETE"
    )
    click.echo(script.source())
