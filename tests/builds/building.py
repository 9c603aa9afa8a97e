"""A COPY, ADD or WORKDIR done as the engine does it, from its text."""

from __future__ import annotations

import os
import shlex
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from overlayfs_py.builds.copying import CopyOptions, write_copy, write_directory
from overlayfs_py.builds.host_context import HostContext
from overlayfs_py.builds.layers_context import LayersContext
from overlayfs_py.builds.modes import AS_IT_IS, parse_mode
from overlayfs_py.builds.selection import select
from overlayfs_py.dockerfile.ignore import IgnoreRules
from overlayfs_py.packs.from_directory import pack_directory
from overlayfs_py.transfer.made_layers import add_packed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.layers import StoredLayer
    from overlayfs_py.store.store import Store


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

    def run(self, instruction: str) -> StoredLayer:
        """Carry one out; returns its layer."""
        name, *words = shlex.split(instruction)
        pairs = [
            word.removeprefix("--").partition("=")[::2] for word in words if word.startswith("--")
        ]
        flags = dict(pairs)
        excluded = [value for flag, value in pairs if flag == "exclude"]
        words = [word for word in words if not word.startswith("--")]
        if name == "WORKDIR":
            user = flags.get("user", "")
            return write_directory(self.addition, self.base, words[0], user, self.latest_ns)
        with ExitStack() as stack:
            if "from" in flags:
                layers = self.stages[flags["from"]]
                context = stack.enter_context(LayersContext(layers, flags["from"]))
            else:
                context = stack.enter_context(HostContext(bytes(self.context), "the context"))
            unpacks = name == "ADD" and flags.get("unpack") != "false"
            selected = select(
                context,
                words[:-1],
                ignore=_rules(self.context / ".dockerignore"),
                exclude=IgnoreRules.parse("\n".join(excluded).encode()) if excluded else None,
                parents="parents" in flags,
                unpacks=unpacks,
            )
            options = CopyOptions(
                owner=flags.get("chown", ""),
                mode=parse_mode(flags["chmod"]) if "chmod" in flags else AS_IT_IS,
                latest_ns=self.latest_ns,
            )
            base = () if "link" in flags else self.base
            return write_copy(self.addition, selected, base, words[-1], options)
