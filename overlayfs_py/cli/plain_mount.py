"""`overlayfs-py mount` without click, where its words can be read but one way: half the start."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.backends.mount_options import OptionError, interpret
from overlayfs_py.cli.lower_image import place_image
from overlayfs_py.cli.serving import serve

if TYPE_CHECKING:
    from collections.abc import Sequence


def run(arguments: list[str]) -> bool:
    """Mount what the words after `mount` ask for; False where click has to read them."""
    options: list[str] = []
    places: list[str] = []
    foreground = False
    rest = iter(arguments)
    for word in rest:
        if word == "-o":
            value = next(rest, None)
            if value is None:
                return False
            options.append(value)
        elif word == "-f":
            foreground = True
        elif word.startswith("-"):
            return False
        else:
            places.append(word)
    if not options or not places:
        return False
    start(options, places, foreground=foreground)
    return True


def start(
    options: Sequence[str],
    places: Sequence[str],
    *,
    driver: str = "auto",
    foreground: bool,
    debug: bool = False,
) -> None:
    """Mount; returns as `serve` does."""
    if not 1 <= len(places) <= 2:
        raise OptionError("mount point", f"one is needed, {len(places)} are given")
    source = places[0] if len(places) == 2 else None
    target = os.fsencode(places[-1])
    request, callers_fds = place_image(
        interpret(options, target, source), lambda more: interpret((more, *options), target, source)
    )
    serve(
        "overlayfs-py",
        request,
        driver=driver,
        foreground=foreground,
        debug=debug,
        callers_fds=callers_fds,
    )
