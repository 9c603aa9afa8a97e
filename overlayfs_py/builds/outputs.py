"""Where a build's result goes besides the store: an archive, a tar of all files, a directory."""

from __future__ import annotations

import os
from contextlib import ExitStack
from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from overlayfs_py.image.reference import Reference
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store


class OutputType(Enum):
    """What is written."""

    DOCKER = "docker"  # an archive, as `docker save`
    OCI = "oci"  # an OCI layout in a tar
    TAR = "tar"  # all files
    LOCAL = "local"  # the same in a directory


class OutputWanted(Struct, frozen=True):
    """One `--output`."""

    type: OutputType
    destination: str  # a path; `-` is stdout


def write_directory(image: StoredImage, target: str) -> None:
    """Write all files of an image into a directory.

    Raises:
        OSError: naming what cannot be written.
    """
    from overlayfs_py.builds.local_output import write_files
    from overlayfs_py.containers.image_files import ImageFiles

    with ImageFiles(image.layers) as files:
        write_files(files, os.fsencode(target))


def write_stream(
    kind: OutputType,
    image: StoredImage,
    references: Sequence[Reference],
    store: Store,
    out: BinaryIO,
) -> None:
    """Write an archive of an image, or a tar of its files.

    Raises:
        CannotSave, CorruptLayer: a layer cannot be written.
        OSError: from writing.
    """
    from overlayfs_py.containers.exported import write_tar
    from overlayfs_py.containers.image_files import ImageFiles
    from overlayfs_py.transfer.save import Wanted, save_docker, save_oci
    from overlayfs_py.transfer.sinks import TarSink

    with ExitStack() as stack:
        if kind is OutputType.TAR:
            files = stack.enter_context(ImageFiles(image.layers))
            write_tar(files, out.write)
            return
        wanted = Wanted()
        wanted.add(image, references[0] if references else None)
        for reference in references[1:]:
            wanted.add(image, reference)
        sink = TarSink(out.write)
        if kind is OutputType.DOCKER:
            save_docker(wanted, sink)
        else:
            save_oci(wanted, sink, store.open_blob)
