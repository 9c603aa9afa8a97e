"""`overlayfs-py`: its subcommands by name, each in a module that is imported when it is used."""

from __future__ import annotations

import logging
import os

import click

from overlayfs_py.cli import version
from overlayfs_py.cli.errors import refuse
from overlayfs_py.cli.lazy import LazyGroup

NAME = "overlayfs-py"
_COMPLETION = "_OVERLAYFS_PY_COMPLETE"  # in the environment: a shell asks what may come next
# Docker's words for containers, by the modules that have them.
_OF_CONTAINERS = {
    name: name
    for name in (
        *("attach", "commit", "cp", "create", "diff", "export", "kill", "logs", "pause", "port"),
        *("ps", "rename", "reset", "restart", "rm", "run", "start", "stats", "stop", "top"),
        *("trace", "unpause", "wait"),
        *("branch", "restore", "snapshot"),
    )
} | {"exec": "exec_", "inspect": "image_inspect"}
_MODULES = {
    **_OF_CONTAINERS,
    **{
        name: name
        for name in (
            *("build", "builder", "chroot", "completion", "container", "doctor", "image"),
            *("layer", "lint", "mount", "snapshotter", "store", "umount", "volume", "warm"),
        )
    },
    # Where docker has them, too.
    **{name: name for name in ("load", "login", "logout", "pull", "push", "save")},
    "history": "image_history",
    "images": "image_ls",
    "import": "import_",
    "rmi": "image_rm",
    "tag": "image_tag",
}

_HELP = """Stack directories as layers, and mount them as one file system; keep images.

\b
Examples:
  overlayfs-py mount -o lowerdir=top:base,upperdir=upper,workdir=work mnt
  overlayfs-py umount mnt
  overlayfs-py chroot debian -- apt-get update
  overlayfs-py image ls
  overlayfs-py layer pack layer.tar.gz -o layer.pack
  overlayfs-py doctor
"""


command_line = LazyGroup(
    NAME,
    modules=_MODULES,
    docker_codes=_OF_CONTAINERS,
    help=_HELP,
    context_settings={"help_option_names": ["-h", "--help"]},
    params=[
        click.Option(
            ["-V", "--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=lambda context, _, asked: _show_version(context, asked=asked),
            help="Show the version and exit.",
        ),
        click.Option(
            ["-D", "--debug"],
            is_flag=True,
            expose_value=False,
            callback=lambda _, __, asked: _log_from("debug") if asked else None,
            help="Log what is done.",
        ),
        click.Option(
            ["-l", "--log-level"],
            type=click.Choice(["debug", "info", "warn", "error", "fatal"]),
            expose_value=False,
            callback=lambda _, __, level: _log_from(level) if level else None,
            help="Log from this level on.  [default: warn]",
        ),
        click.Option(
            ["--config"],
            expose_value=False,
            metavar="DIR",
            callback=lambda _, __, path: _use_docker_config(path),
            help="Where docker's config.json with logins is.",
        ),
        # For scripts that say to docker which daemon they mean.
        click.Option(
            ["-H", "--host"],
            expose_value=False,
            multiple=True,
            metavar="SOCKET",
            callback=lambda _, __, hosts: _require_local(hosts),
            help="Accepted for docker, if it is this machine.",
        ),
    ],
)


def _log_from(level: str) -> None:
    # Of our own modules alone: an HTTP library's may tell secrets.
    logging.getLogger("overlayfs_py").setLevel(level.upper())


def _use_docker_config(path: str | None) -> None:
    if path is not None:
        os.environ["DOCKER_CONFIG"] = path


def _require_local(hosts: tuple[str, ...]) -> None:
    for host in hosts:
        if not host.startswith(("unix://", "fd://", "/")):
            raise click.BadParameter(
                f"{host!r}: there is no daemon here to talk to", param_hint="-H"
            )


def _show_version(context: click.Context, *, asked: bool) -> None:
    if asked:
        click.echo(version.OVERLAYFS_PY, nl=False)
        context.exit()


def run(arguments: list[str]) -> int:
    """Run a subcommand and return its exit code."""
    if _COMPLETION in os.environ:
        from overlayfs_py.cli import shells

        shells.register()
    try:
        # Out of standalone mode click raises instead of ending the process, and returns what the
        # subcommand returns, or the code of an early exit (--help).
        result = command_line.main(arguments, prog_name=NAME, standalone_mode=False)
    except click.Abort:
        raise KeyboardInterrupt from None  # which click made that of
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = NAME if context is None else context.command_path
        hint = f" (see `{path} --help`)" if isinstance(error, click.UsageError) else ""
        return refuse(NAME, _tidy(error.format_message()) + hint, error.exit_code)
    return result if isinstance(result, int) else 0


def _tidy(message: str) -> str:
    """A message of click without its full stop, which two sentences in a row would need."""
    return (
        message.rstrip(".")
        .replace("'. Did you mean", "'; did you mean")
        .replace("'. (Did you mean", "' (did you mean")
    )
