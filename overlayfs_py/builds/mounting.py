"""The mounts of a RUN made ready: what each shows, held as long as the command runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.builds import mount_layers
from overlayfs_py.builds.copy_step import joined
from overlayfs_py.builds.copying import CopyOptions, write_copy
from overlayfs_py.builds.events import Notice
from overlayfs_py.builds.failures import BuildFailure
from overlayfs_py.builds.imported import LayersGone
from overlayfs_py.builds.request import Isolation
from overlayfs_py.builds.run_mounts import FileMount, HostMount, MemoryMount, TreeMount
from overlayfs_py.builds.selection import select
from overlayfs_py.errors import describe
from overlayfs_py.image.digest import Digest
from overlayfs_py.store.cache_mounts import Sharing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from overlayfs_py.builds.run_step import RunTools
    from overlayfs_py.builds.selection import Selected
    from overlayfs_py.builds.state import StageState
    from overlayfs_py.dockerfile.mounts import BindMount, CacheMount, SecretMount, TmpfsMount
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.stored_layer import StoredLayer

_CACHE_MODE = 0o755
_PROGRAM_MODE = 0o755
_FILE = "file"  # what a single file is called in a layer of its own


class Mounting:
    """Makes the mounts of one RUN ready; what it holds goes with `stack`."""

    def __init__(
        self, tools: RunTools, addition: Addition, state: StageState, stack: ExitStack
    ) -> None:
        self._tools = tools
        self._addition = addition
        self._state = state
        self._stack = stack
        self._held: dict[CacheMount, Path] = {}

    def bind(self, mount: BindMount, selected: Sequence[Selected]) -> TreeMount:
        """Files of a context or of layers: as a layer of their own, so that nothing else shows."""
        source, lower = self._layer_of(selected)
        return TreeMount(self._target(mount.target), lower, source, mount.read_only)

    def cache(self, mount: CacheMount) -> HostMount:
        """A directory that outlives the build."""
        data = self._held[mount]
        return HostMount(self._target(mount.target), os.fsencode(data), mount.read_only)

    def hold(self, mounts: Sequence[CacheMount]) -> None:
        """Have the directories of cache mounts, as long as the command runs.

        Where they cannot be mounted, a step has them to itself, since they lie in its tree then.
        By their names, so that no two steps have what the other one waits for.

        Raises:
            BuildFailure: they cannot be had.
        """
        is_chroot = self._tools.request.isolation is Isolation.CHROOT
        if is_chroot and len({mount.id for mount in mounts}) < len(mounts):
            ident = next(m.id for m in mounts if [n.id for n in mounts].count(m.id) > 1)
            why = "with --isolation chroot it can be in one place of a step alone"
            raise BuildFailure(f"cache mount {ident}", why)
        for mount in sorted(mounts, key=lambda each: each.id) if is_chroot else mounts:
            sharing = Sharing(mount.sharing)
            if is_chroot and sharing is Sharing.SHARED:
                sharing = Sharing.LOCKED
            self._hold(mount, sharing)

    def _hold(self, mount: CacheMount, sharing: Sharing) -> None:
        layer = self._imported(mount.id)
        held = self._tools.store.builds.mounts.hold(
            mount.id,
            sharing,
            lambda path: self._make_cache(mount, path, layer),
            self._addition.directory,
        )
        self._stack.callback(held.close)
        self._held[mount] = held.data

    def memory(self, mount: TmpfsMount) -> MemoryMount:
        """A directory in memory."""
        return MemoryMount(self._target(mount.target), str(mount.size) if mount.size else "")

    def secret(self, mount: SecretMount) -> list[FileMount]:
        """A secret as a file, if it was given and is one."""
        value = self._secret(mount)
        if value is None or mount.target is None:
            return []
        target = self._target(mount.target)
        return [FileMount(target, value, mount.mode, mount.uid, mount.gid)]

    def variable(self, mount: SecretMount) -> dict[str, str]:
        """A secret as a variable, if it was given and is one."""
        value = self._secret(mount)
        return {} if value is None or mount.env is None else {mount.env: os.fsdecode(value)}

    def program(self, target: str, text: str) -> FileMount:
        """A heredoc that is executed."""
        content = text.encode("utf-8", "surrogateescape")
        return FileMount(os.fsencode(target), content, _PROGRAM_MODE)

    def _target(self, text: str) -> bytes:
        return os.fsencode(joined(self._state, text))

    def _secret(self, mount: SecretMount) -> bytes | None:
        found = self._tools.request.secrets.get(mount.id)
        if found is None and mount.required:
            why = f"not given (--secret id={mount.id},src=FILE)"
            raise BuildFailure(f"secret {mount.id}", why)
        return found

    def _layer_of(self, selected: Sequence[Selected]) -> tuple[bytes, tuple[bytes, ...]]:
        is_directory = selected[0].source.is_directory
        destination = "/" if is_directory else f"/{_FILE}"
        layer = write_copy(self._addition, selected, (), destination, CopyOptions())
        return destination.encode(), (layer.path,)

    def _imported(self, ident: str) -> StoredLayer | None:
        """What another cache has of a cache mount that is not here yet."""
        imported, tell = self._tools.request.imported, self._tools.tell
        found = imported.mount(ident)
        if found is None:
            return None
        source, form = found
        if self._tools.store.builds.mounts.find(ident) is not None:
            tell(Notice(f"cache mount {ident}: what is here is kept, not that of {source.name}"))
            return None
        diff_id = Digest(form.layer)
        try:
            imported.bring([diff_id], self._addition, tell)
        except LayersGone as error:
            tell(Notice(f"cache mount {ident} begins empty: {error}"))
        return self._addition.find_layer(diff_id)

    def _make_cache(self, mount: CacheMount, path: Path, layer: StoredLayer | None) -> None:
        if layer is not None:
            try:
                mount_layers.fill(layer, path)
            except OSError as error:
                why = describe(error)
                self._tools.tell(Notice(f"cache mount {mount.id} begins empty: {why}"))
            else:
                return
        if mount.origin:
            self._fill_cache(mount, path)
        else:
            path.mkdir()
        os.chown(path, mount.uid or 0, mount.gid or 0)
        path.chmod(_CACHE_MODE if mount.mode is None else mount.mode)

    def _fill_cache(self, mount: CacheMount, path: Path) -> None:
        from overlayfs_py.packs.pack import Pack
        from overlayfs_py.packs.to_directory import unpack

        context = self._tools.origin(mount.origin).open()
        selected = select(context.tree, [mount.source or "/"], ignore=context.ignore)
        if not selected[0].source.is_directory:
            raise BuildFailure(mount.source, "what a cache mount begins with is no directory")
        _, (layer,) = self._layer_of(selected)
        path.mkdir()
        with Pack(layer) as pack:
            unpack(pack, os.fsencode(path), privileged=True)
