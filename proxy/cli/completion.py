"""``cvmfs-proxy completion``."""

from __future__ import annotations

import click

from mirror.cli.completion import show_script


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
    show_script(context, shell, "cvmfs-proxy")
