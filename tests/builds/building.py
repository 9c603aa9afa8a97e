"""A COPY, ADD or WORKDIR done as the engine does it, from its text."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from overlayfs_py.builds.copying import CopyOptions, write_copy, write_directory
from overlayfs_py.builds.host_context import HostContext
from overlayfs_py.builds.layers_context import LayersContext
from overlayfs_py.builds.loose_files import heredocs
from overlayfs_py.builds.modes import AS_IT_IS, parse_mode
from overlayfs_py.builds.selection import select, select_all
from overlayfs_py.dockerfile.expanding import expanded
from overlayfs_py.dockerfile.ignore import IgnoreRules
from overlayfs_py.dockerfile.instructions import Add, Copy, User, Workdir
from overlayfs_py.dockerfile.parsing import parse
from overlayfs_py.packs.from_directory import pack_directory
from overlayfs_py.transfer.made_layers import add_packed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from overlayfs_py.builds.selection import Selected
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.store import Store
    from overlayfs_py.store.stored_layer import StoredLayer


def layer_of(addition: Addition, directory: Path) -> StoredLayer:
    """A host directory as a layer."""
    return add_packed(addition, lambda writer: pack_directory(bytes(directory), writer))


def let_all_reach(place: Path) -> None:
    """Let every user reach a directory that pytest has made."""
    for path in (place, *place.parents):
        status = path.stat()
        if status.st_uid == os.geteuid() and status.st_mode & 0o055 != 0o055:
            path.chmod(status.st_mode | 0o055)


def _rules(file: Path) -> IgnoreRules | None:
    return IgnoreRules.parse(file.read_bytes()) if file.exists() else None


@dataclass
class Build:
    """A base and a context, on which instructions are carried out."""

    store: Store
    addition: Addition
    context: Path
    base: tuple[StoredLayer, ...] = ()
    stages: Mapping[str, tuple[StoredLayer, ...]] = field(default_factory=dict)
    latest_ns: int | None = None

    def run(self, text: str) -> StoredLayer:
        """Carry out the last of some instructions; a USER before it counts."""
        (stage,) = parse(f"FROM base\n{text}\n".encode(), "Dockerfile").stages
        *before, last = stage.instructions
        user = next((each.user for each in before if isinstance(each, User)), "")
        instruction = expanded(last, {}).instruction
        if isinstance(instruction, Workdir):
            return write_directory(self.addition, self.base, instruction.path, user, self.latest_ns)
        assert isinstance(instruction, Copy | Add)
        with ExitStack() as stack:
            selected = self._selected(instruction, stack)
            mode = parse_mode(instruction.chmod) if instruction.chmod else AS_IT_IS
            options = CopyOptions(instruction.chown, mode, self.latest_ns)
            base = () if instruction.link else self.base
            return write_copy(self.addition, selected, base, instruction.destination, options)

    def _selected(self, asked: Copy | Add, stack: ExitStack) -> tuple[Selected, ...]:
        excluded = "\n".join(asked.exclude).encode()
        origin = isinstance(asked, Copy) and asked.origin
        found: tuple[Selected, ...] = ()
        if asked.sources:
            found = select(
                self._open(asked, stack),
                asked.sources,
                ignore=None if origin else _rules(self.context / ".dockerignore"),
                exclude=IgnoreRules.parse(excluded) if excluded else None,
                parents=isinstance(asked, Copy) and asked.parents,
                unpacks=isinstance(asked, Add) and asked.unpack is not False,
            )
        bodies = {file.name: file.body.encode() for file in asked.files}
        return (*found, *select_all(heredocs(bodies, 0)))

    def _open(self, asked: Copy | Add, stack: ExitStack) -> LayersContext | HostContext:
        if isinstance(asked, Copy) and asked.origin:
            return stack.enter_context(LayersContext(self.stages[asked.origin], asked.origin))
        return stack.enter_context(HostContext(bytes(self.context), "the context"))
