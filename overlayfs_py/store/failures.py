"""What a store says when it cannot."""

from __future__ import annotations

import errno

from overlayfs_py.errors import OverlayError


class NotInStore(OverlayError):
    """A blob, a layer or an image that is not there."""

    exit_code = 31

    def __init__(self, name: str, what: str) -> None:
        super().__init__(errno.ENOENT, f"no such {what}", name)


class NoStore(NotInStore):
    """A store that is not there, for somebody who only wants to read one."""

    def __init__(self, root: str) -> None:
        super().__init__(root, "store")


class NoSuchContainer(NotInStore):
    """A container that is not there; docker ends with 1."""

    exit_code = 1

    def __init__(self, name: str) -> None:
        super().__init__(name, "container")


class NoSuchSnapshot(NotInStore):
    """A snapshot that a container has not; with the code of what is not there of docker's."""

    exit_code = 1

    def __init__(self, container: str, tag: str) -> None:
        super().__init__(f"{container}: {tag}", "snapshot")


class NoSuchVolume(NotInStore):
    """A volume that is not there; docker ends with 1."""

    exit_code = 1

    def __init__(self, name: str) -> None:
        super().__init__(name, "volume")


class Ambiguous(OverlayError):
    """What several images may be meant by: the beginning of their IDs, or of no registry's name."""

    exit_code = 34

    def __init__(self, name: str, why: str) -> None:
        super().__init__(errno.EINVAL, why, name)


class InUse(OverlayError):
    """An image that cannot go yet."""

    exit_code = 35

    def __init__(self, name: str, why: str) -> None:
        super().__init__(errno.EBUSY, why, name)


class Busy(OverlayError):
    """Another process is at work on the same layer or download."""

    exit_code = 36

    def __init__(self, name: str) -> None:
        super().__init__(errno.EAGAIN, "another process is at work on it", name)


class CorruptStore(OverlayError):
    """A file of the store says something that the store never writes."""

    exit_code = 37

    def __init__(self, path: str, why: str) -> None:
        self.why = why
        super().__init__(errno.EIO, f"{why} (see `store fsck`)", path)
