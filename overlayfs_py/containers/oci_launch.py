"""What a container's record means for an OCI runtime: the bundle that it starts."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from overlayfs_py.containers import cgroup, oci_config, oci_preparation
from overlayfs_py.containers.oci_config import Surroundings
from overlayfs_py.containers.oci_keeper import Bundle
from overlayfs_py.containers.oci_runtime import SEARCH_PATH
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from overlayfs_py.containers.launch import Launch

DIRECTORY = "bundle"  # below the container's
_INITS = ("catatonit", "tini", "docker-init")
_INITS_OF_ENGINES = "/usr/libexec/podman:/usr/libexec/docker:/usr/lib/podman"
_ALL_IDS = "0 0 4294967295"
_TTY_GROUP = 5


def bundle_of(launch: Launch, network_fd: int | None) -> Bundle:
    """Return the bundle of a container whose union is mounted.

    Raises:
        Failure: the container cannot be set up, or its program is not there: 127.
    """
    record, directory = launch.record, launch.directory
    container = launch.container((), None, network_fd)
    account = oci_preparation.prepare(container.root, container.process, container.files)
    with open("/proc/self/uid_map") as file:
        is_namespace = " ".join(file.read().split()) != _ALL_IDS
    # Of root's containers: a filter of devices keeps the host's out of their reach, which in a
    # user namespace the kernel does.
    if not is_namespace:
        cgroup.note(directory, record.id)
    around = Surroundings(
        names=os.path.join(os.fsdecode(launch.files), "names"),
        # By the keeper, which is the first process where the runtime looks.
        network=None if network_fd is None else f"/proc/1/fd/{network_fd}",
        cgroup=None if is_namespace else cgroup.name_of(record.id),
        init=_init() if record.init else None,
        volumes=launch.mounted_volumes() if record.read_only else (),
        is_namespace=is_namespace,
        has_tty_group=oci_preparation.is_mapped("gid", _TTY_GROUP),
    )
    config = oci_config.config(record, container, account, around)
    return Bundle(
        directory / DIRECTORY,
        config,
        record.words[0],
        cgroup.of(directory),
        not is_namespace,
        network_fd,
    )


def _init() -> str:
    for name in _INITS:
        found = shutil.which(name, path=f"{SEARCH_PATH}:{_INITS_OF_ENGINES}")
        if found is not None:
            return found
    raise Failure(f"--init: with --runtime needs one of {', '.join(_INITS)}: none is installed")
