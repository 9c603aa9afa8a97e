"""What is left of a command that failed in a build, to look into."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from overlayfs_py.builds.schedule import BuildBroken


def look_into(broken: BuildBroken) -> None:
    """Open a shell in the files of the command; without a terminal say how to."""
    stack = ":".join(os.fsdecode(path).replace(":", "\\:") for path in broken.layers)
    words = ["overlayfs-py", "chroot", "--keep", broken.kept, stack]
    click.echo(f"its files are kept: {shlex.join(words)}", err=True)
    if all(os.isatty(number) for number in (0, 1, 2)):
        _open_shell(broken)


def _open_shell(broken: BuildBroken) -> None:
    from overlayfs_py.cli.temporary import temporary_directory
    from overlayfs_py.containers.process import Process
    from overlayfs_py.containers.throwaway import Run, run
    from overlayfs_py.containers.working_directory import WorkingDirectory
    from overlayfs_py.mounts import children
    from overlayfs_py.mounts.daemon import open_descriptors

    asked = Run(
        layers=broken.layers,
        process=Process((b"/bin/sh",), {b"TERM": b"xterm"}, WorkingDirectory(b"/")),
        temporary=temporary_directory(),
        hostname="failed",
        keep=os.fsencode(broken.kept),
        callers_fds=open_descriptors(),
    )
    # In a process of its own: it changes for good.
    child = children.start(lambda _: run(asked))
    child.word()
    child.wait()
    sys.stdout.flush()
