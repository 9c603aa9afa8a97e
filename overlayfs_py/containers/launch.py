"""What a container's record means on this machine: a stack to mount, and a process to start."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.containers import file_volumes
from overlayfs_py.containers.device_mounts import Device
from overlayfs_py.containers.init import Container
from overlayfs_py.containers.process import Process
from overlayfs_py.containers.rights import Rights
from overlayfs_py.containers.tmpfs import Tmpfs
from overlayfs_py.containers.working_directory import WorkingDirectory
from overlayfs_py.mounts.stored_stack import stack_of
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.store.containers import MountKind
from overlayfs_py.union.values import Volume

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from overlayfs_py.containers.file_volumes import Parted
    from overlayfs_py.containers.keep_directory import UpperPlace
    from overlayfs_py.store.containers import ContainerMount, ContainerRecord, Containers
    from overlayfs_py.store.volumes import Volumes
    from overlayfs_py.union.values import StackSpec

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment_of(
    record: ContainerRecord, *, tty: bool, more: Iterable[str] = ()
) -> dict[bytes, bytes]:
    """What a command in a container finds, `more` (K=V) coming last."""
    environment = {b"PATH": os.fsencode(_PATH), b"HOSTNAME": os.fsencode(record.hostname)}
    if tty:
        environment[b"TERM"] = b"xterm"
    for variable in (*record.environment, *more):
        name, _, value = variable.partition("=")
        environment[os.fsencode(name)] = os.fsencode(value)
    return environment


class Launch(NamedTuple):
    """A container that is about to be started."""

    record: ContainerRecord
    directory: Path
    layers: tuple[bytes, ...]  # the image's, topmost first
    containers: Containers  # the store's
    named_volumes: Volumes  # the store's

    @property
    def root(self) -> bytes:
        """Where its union is mounted, in its monitor's mount namespace only."""
        return os.fsencode(self.directory / "root")

    @property
    def files(self) -> bytes:
        """Where /etc/hosts and its like lie; made anew at each start."""
        return os.fsencode(self.directory / "files")

    def stack(
        self, changes: UpperPlace, kept: Sequence[bytes], bottom: Sequence[bytes]
    ) -> StackSpec:
        """What to mount there: `kept`, uppers of before, and `bottom` below all layers."""
        return stack_of((*kept, *self.layers, *bottom))._replace(
            kept=len(kept),
            upper=changes.upper,
            work=changes.work,
            volumes=self._volumes().directories,
            # A crash of the machine may take what was never synced; so it may in any container.
            volatile=True,
            metacopy=True,
            upper_limit=self.record.upper_bytes or None,
        )

    def container(
        self,
        terminal_for: Collection[int],
        terminal_to: socket.socket | None,
        network_fd: int | None,
    ) -> Container:
        """What its first process makes of itself."""
        record = self.record
        volumes = self._volumes()
        return Container(
            self.root,
            self.files,
            self._process(),
            record.hostname,
            Rights.of(record, privileged=record.privileged),
            privileged=record.privileged,
            shm_bytes=record.shm_bytes,
            read_only=record.read_only,
            volumes=tuple(volume.target for volume in volumes.directories),
            files=volumes.files,
            tmpfs=tuple(
                Tmpfs.parse(os.fsencode(mount.target), mount.options)
                for mount in record.mounts
                if mount.kind is MountKind.TMPFS
            ),
            devices=tuple(Device.parse(text) for text in record.devices),
            ipc=record.ipc,
            has_own_name=record.uts != "host",
            has_own_cgroups=record.cgroupns == "private",
            sysctls=record.sysctls,
            oom_score=record.oom_score,
            is_first=not record.init,
            terminal_for=terminal_for,
            terminal_to=terminal_to,
            network_fd=network_fd,
        )

    def file_volumes(self) -> tuple[Volume, ...]:
        """Those that no union serves, since they are single files."""
        return self._volumes().files

    def mounted_volumes(self) -> tuple[tuple[str, str, bool], ...]:
        """Source, place and whether it is read only of each volume that the union serves."""
        return tuple(
            (os.fsdecode(volume.source), os.fsdecode(volume.target), volume.read_only)
            for volume in self._volumes().directories
        )

    def _process(self) -> Process:
        record = self.record
        return Process(
            tuple(map(os.fsencode, record.words)),
            environment_of(record, tty=record.tty),
            WorkingDirectory(os.fsencode(record.directory), is_made=record.directory_is_made),
            record.user,
            user_is_wish=record.user_is_wish,
            groups=record.groups,
        )

    def _volume(self, mount: ContainerMount) -> Volume:
        target = os.fsencode(mount.target)
        if mount.kind is not MountKind.VOLUME:
            return Volume(os.fsencode(mount.source), target, mount.read_only)
        place = self.named_volumes.place(mount.source)
        return Volume(os.fsencode(place.path), target, mount.read_only or place.read_only)

    def _volumes(self) -> Parted:
        found = (mount for mount in self.record.mounts if mount.kind is not MountKind.TMPFS)
        return file_volumes.part(map(self._volume, found))
