"""COPY, ADD and WORKDIR: their keys, and the layers that they make.

What makes a layer is loaded when one is made: most steps of most builds are in the cache.
"""

from __future__ import annotations

import json
import posixpath
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from msgspec import Struct

from overlayfs_py.builds.cache import now_ns
from overlayfs_py.builds.chosen import Chosen
from overlayfs_py.builds.keys import FILES, INSTRUCTION, PARENT, key_of
from overlayfs_py.builds.modes import AS_IT_IS, parse_mode
from overlayfs_py.builds.selection import select, select_all
from overlayfs_py.dockerfile.instructions import Add, Copy

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.builds.chosen import Origin
    from overlayfs_py.builds.keys import CacheKey
    from overlayfs_py.builds.request import BuildContext
    from overlayfs_py.builds.selection import Selected
    from overlayfs_py.builds.sources import Sources
    from overlayfs_py.builds.state import StageState
    from overlayfs_py.dockerfile.instructions import Workdir
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.stored_layer import StoredLayer


class LayerStep(Struct, frozen=True):
    """A step as the cache and the history see it, and how to make its layer."""

    key: CacheKey
    created_by: str
    make: Callable[[Addition], StoredLayer]
    table: Callable[[], bytes] = bytes
    table_digest: str = ""
    selections: tuple[tuple[str, str], ...] = ()  # `Chosen.known`
    cache_mounts: tuple[str, ...] = ()  # their IDs


def copy_step(
    instruction: Copy | Add,
    state: StageState,
    origin: Origin | None,
    sources: Sources,
    latest_ns: int | None,
) -> LayerStep:
    """Return the step of a COPY or ADD whose words are expanded; one of heredocs has no origin.

    Raises:
        SourceNotFound, BadOption, BadContext: it cannot be done.
    """
    if isinstance(instruction, Add):
        from overlayfs_py.builds.remote_sources import require_remote_for_checksum

        require_remote_for_checksum(instruction)
    mode = parse_mode(instruction.chmod) if instruction.chmod else AS_IT_IS
    destination = _destination(state, instruction.destination)
    chosen = Chosen(
        partial(_selected, instruction, origin, sources, latest_ns),
        lambda: None if origin is None else sources.stats(origin.open()),
        sources.imported,
        mode,
        owned=bool(instruction.chown),
        asked=_asked(instruction, origin),
    )
    key = key_of(
        {
            "kind": instruction.NAME,
            INSTRUCTION: _text(instruction),
            "destination": destination,
            "chown": instruction.chown,
            "chmod": instruction.chmod,
            "unpack": "" if _unpacks(instruction) == isinstance(instruction, Add) else "no",
            "link": "yes" if instruction.link else "",
            FILES: chosen.digest,
            "clock": _clock(latest_ns),
            PARENT: "" if instruction.link else state.parent,
        }
    )

    def make(addition: Addition) -> StoredLayer:
        from overlayfs_py.builds.copying import CopyOptions, write_copy

        options = CopyOptions(instruction.chown, mode, latest_ns=latest_ns)
        base = () if instruction.link else sources.layers(state.diff_ids)
        return write_copy(addition, chosen.selected, base, destination, options)

    told = f"{_text(instruction)} # buildkit"
    return LayerStep(key, told, make, chosen.table, chosen.digest, chosen.known)


def workdir_step(
    instruction: Workdir, state: StageState, sources: Sources, latest_ns: int | None
) -> LayerStep:
    """Return the step of a WORKDIR, which has made its directory in `state` already."""
    path, user = state.run.working_dir, state.run.user
    key = key_of(
        {
            "kind": instruction.NAME,
            "directory": path,
            "user": user,
            "clock": _clock(latest_ns),
            PARENT: state.parent,
        }
    )

    def make(addition: Addition) -> StoredLayer:
        from overlayfs_py.builds.copying import write_directory

        base = sources.layers(state.diff_ids)
        return write_directory(addition, base, path, user, latest_ns)

    return LayerStep(key, f"WORKDIR {path}", make)


def joined(state: StageState, path: str) -> str:
    """A path seen from the working directory, without `..` and slashes at its end."""
    whole = posixpath.normpath(posixpath.join("/", state.run.working_dir or "/", path))
    return "/" + whole.lstrip("/")


def _asked(instruction: Copy | Add, origin: Origin | None) -> dict[str, str | None] | None:
    """What is asked for of layers, if nothing else is."""
    if origin is None or not origin.stack or instruction.files or isinstance(instruction, Add):
        return None
    return {
        "kind": "selection",
        "stack": origin.stack,
        "sources": json.dumps(instruction.sources),
        "exclude": json.dumps(instruction.exclude),
        "parents": "yes" if instruction.parents else "",
    }


def _selected(
    instruction: Copy | Add, origin: Origin | None, sources: Sources, latest_ns: int | None
) -> tuple[Selected, ...]:
    selected: tuple[Selected, ...] = ()
    for remote, names in groupby(instruction.sources, lambda name: _is_remote(instruction, name)):
        for name in names if remote else ():
            assert isinstance(instruction, Add)
            selected += sources.remote(name, instruction)
        if not remote and origin is not None:
            selected += _of_context(instruction, origin.open(), list(names))
    if instruction.files:
        from overlayfs_py.builds.loose_files import heredocs

        bodies = {
            file.name: file.body.encode("utf-8", "surrogateescape") for file in instruction.files
        }
        selected += select_all(heredocs(bodies, now_ns(latest_ns)))
    return selected


def needs_context(instruction: Copy | Add) -> bool:
    """Whether there is a source that lies in a context."""
    return not all(_is_remote(instruction, name) for name in instruction.sources)


def _is_remote(instruction: Copy | Add, name: str) -> bool:
    if not isinstance(instruction, Add):
        return False
    from overlayfs_py.builds.remote_sources import is_remote

    return is_remote(name)


def _of_context(
    instruction: Copy | Add, context: BuildContext, names: list[str]
) -> tuple[Selected, ...]:
    exclude = None
    if instruction.exclude:
        from overlayfs_py.dockerfile.ignore import IgnoreRules

        exclude = IgnoreRules.of(instruction.exclude, instruction.position)
    return select(
        context.tree,
        names,
        ignore=context.ignore,
        exclude=exclude,
        parents=isinstance(instruction, Copy) and instruction.parents,
        unpacks=_unpacks(instruction),
    )


def _unpacks(instruction: Copy | Add) -> bool:
    return isinstance(instruction, Add) and instruction.unpack is not False


def _destination(state: StageState, text: str) -> str:
    """Absolute; one that has to be a directory ends in a slash."""
    path = joined(state, text)
    is_directory = text in {"", "."} or text.endswith(("/", "/."))
    return path if not is_directory or path.endswith("/") else f"{path}/"


def _text(instruction: Copy | Add) -> str:
    """What the history says, as BuildKit writes it."""
    words = [instruction.NAME]
    if isinstance(instruction, Copy) and instruction.parents:
        words.append("--parents")
    if instruction.chown:
        words.append(f"--chown={instruction.chown}")
    if instruction.chmod:
        words.append(f"--chmod={instruction.chmod}")
    words += instruction.sources
    words += (f"<<{file.name}" for file in instruction.files)
    return " ".join((*words, instruction.destination))


def _clock(latest_ns: int | None) -> str:
    return "" if latest_ns is None else str(latest_ns)
