"""The config of an image that is made of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from overlayfs_py.store.containers import MountKind

if TYPE_CHECKING:
    from overlayfs_py.image.config import RunConfig
    from overlayfs_py.store.containers import ContainerRecord

_DEFAULT_SIGNAL = "SIGTERM"


def run_config(image: RunConfig, record: ContainerRecord) -> RunConfig:
    """Return what a container of the new image starts with: what this one was started with.

    Source: moby, daemon/commit.go and runconfig/merge.go.
    """
    ports = {f"{port.container_port}/{port.protocol}" for port in record.ports}
    own = (mount for mount in record.mounts if mount.kind is MountKind.VOLUME)
    volumes = {mount.target for mount in own if mount.anonymous}
    directory = record.directory if record.directory != "/" else image.working_dir
    is_default = record.stop_signal == _DEFAULT_SIGNAL
    return structs.replace(
        image,
        user=record.user,
        exposed_ports=_united(image.exposed_ports, ports),
        env=record.environment or None,
        entrypoint=record.entrypoint or None,
        cmd=record.command or None,
        volumes=_united(image.volumes, volumes),
        working_dir=directory,
        labels=record.labels or None,
        stop_signal=image.stop_signal if is_default else record.stop_signal,
    )


def _united(known: tuple[str, ...] | None, more: set[str]) -> tuple[str, ...] | None:
    return tuple(sorted({*(known or ()), *more})) or None
