"""Bringing an image for a command that wants to run it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.cli.base_stack import NOT_HERE, BaseStack, NotHere, find_base
from overlayfs_py.errors import Failure
from overlayfs_py.mounts import children

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from overlayfs_py.mounts.children import Report


def find_or_pull(
    text: str, find_image: Callable[[str], BaseStack | None], root: Path | None, *, always: bool
) -> BaseStack:
    """Return what `find_base` does, after a pull of the image that is not here, or `always`.

    Raises:
        Failure: it cannot be pulled; the reason has been said.
    """
    try:
        found = find_base(text, find_image)
    except NotHere as failure:
        pull(failure.name, root)
        return find_base(text, find_image)
    if not always or not found.image:
        return found
    pull(found.image, root)
    return find_base(text, find_image)


def pull(
    name: str,
    root: Path | None,
    platform: str = "",
    *,
    quiet: bool = False,
    options: Sequence[str] = (),
) -> None:
    """Pull an image, for this machine or another platform; what happens is said on stderr.

    Raises:
        Failure: it cannot be pulled; the reason has been said.
    """
    where = [] if root is None else ["--root", str(root)]
    where += ["--platform", platform] if platform else []
    where += ["--quiet"] if quiet else []
    where += options  # of `registries.registry_options`

    def work(_: Report) -> int:
        from overlayfs_py.cli import commands

        os.dup2(2, 1)  # stdout is the command's
        return commands.run(["pull", *where, "--", name])

    # In a process of its own: it leaves threads behind, which a fork later would lose.
    child = children.start(work)
    try:
        child.word()
    except Failure as failure:
        raise Failure(str(failure), NOT_HERE) from None
    if child.wait():
        raise Failure(f"{name}: could not be pulled", NOT_HERE)
