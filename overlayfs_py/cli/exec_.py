"""`overlayfs-py exec`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import (
    CONTAINER,
    container_of,
    detach_keys_option,
    parsed_keys,
)
from overlayfs_py.cli.container_options import SETTINGS, variables_of
from overlayfs_py.cli.store_arguments import open_store, root_option
from overlayfs_py.mounts.daemon import open_descriptors

if TYPE_CHECKING:
    from overlayfs_py.containers.session import Extra
    from overlayfs_py.store.containers import ContainerRecord

_HELP = """Run one more command in a container that runs.

It finds the container's environment, user and directory, and ends with the container. Exit codes
are docker's: 126 if CMD cannot be run, 127 if it is not there, otherwise its own, 128 + n after
signal n; 1 if the container does not run.

\b
Examples:
  overlayfs-py exec -it work bash
  overlayfs-py exec -u postgres -w /tmp db psql -c 'select 1'
  overlayfs-py exec -d web touch /tmp/reload
"""


@click.command("exec", help=_HELP, context_settings=SETTINGS)
@root_option
@click.option("-d", "--detach", is_flag=True, help="Leave it in the background.")
@click.option("-i", "--interactive", is_flag=True, help="Give it stdin.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal.")
@click.option("-u", "--user", metavar="USER[:GROUP]", help="Run as this user of the container.")
@click.option("-w", "--workdir", "directory", metavar="DIR", help="Start in DIR (inside).")
@click.option(
    "-e",
    "--env",
    "variables",
    multiple=True,
    metavar="K[=V]",
    help="Set an environment variable; without V to the caller's value.",
)
@click.option(
    "--env-file",
    "variable_files",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Set the variables that FILE has.",
)
@click.option("--privileged", is_flag=True, help="Give root all its rights.")
@detach_keys_option
@click.argument("container", type=CONTAINER)
@click.argument("words", metavar="CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    root: Path | None,
    user: str | None,
    directory: str | None,
    variables: tuple[str, ...],
    variable_files: tuple[Path, ...],
    container: str,
    words: tuple[str, ...],
    keys: str,
    *,
    detach: bool,
    interactive: bool,
    tty: bool,
    privileged: bool,
) -> int:
    from overlayfs_py.cli import foreground
    from overlayfs_py.containers import session
    from overlayfs_py.containers.rights import Rights

    detach_keys = parsed_keys(keys)
    callers_fds = open_descriptors()
    store = open_store(root)
    record = container_of(store, container)
    more = tuple(variables_of(variable_files, variables))
    extra = _extra(record, words, more, user=user, directory=directory, tty=tty)._replace(
        stdin_open=interactive and not detach
    )
    if privileged:
        extra = extra._replace(rights=Rights.of(record, privileged=True))
    if detach:
        session.start(store, extra, None, callers_fds, None).ready()
        return 0
    return foreground.run_extra(store, extra, callers_fds, detach_keys)


def _extra(
    record: ContainerRecord,
    words: tuple[str, ...],
    variables: tuple[str, ...],
    *,
    user: str | None,
    directory: str | None,
    tty: bool,
) -> Extra:
    from overlayfs_py.containers.launch import environment_of
    from overlayfs_py.containers.process import Process
    from overlayfs_py.containers.rights import Rights
    from overlayfs_py.containers.session import Extra
    from overlayfs_py.containers.working_directory import WorkingDirectory

    process = Process(
        tuple(map(os.fsencode, words)),
        environment_of(record, tty=tty, more=variables),
        WorkingDirectory(os.fsencode(record.directory if directory is None else directory)),
        record.user if user is None else user,
        user_is_wish=user is None and record.user_is_wish,
        groups=record.groups,
    )
    rights = Rights.of(record, privileged=record.privileged)
    return Extra(record, process, rights, tty=tty, size=_size() if tty else None)


def _size() -> tuple[int, int] | None:
    """Rows and columns of the user's terminal."""
    for number in (1, 2, 0):
        if os.isatty(number):
            size = os.get_terminal_size(number)
            return size.lines, size.columns
    return None
