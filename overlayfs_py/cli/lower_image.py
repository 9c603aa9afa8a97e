"""An image among the layers of a mount: `lowerdir=patch:image=debian:12`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.cli.base_stack import NotHere, find_in_store, is_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from overlayfs_py.backends.mount_options import MountRequest

_IMAGE = b"image="
# Who made the image is not who mounts it: as `image mount` has it.
_DEFAULTS = "nosuid,nodev"


def place_image(
    request: MountRequest, read_after: Callable[[str], MountRequest]
) -> tuple[MountRequest, frozenset[int] | None]:
    """Return the request with an image's layers in the place of its name.

    An image comes last, since its name may have colons. `image=NAME` names one; any other word is
    a path where there is one. `read_after` reads the command line anew, after further options.
    The layers are kept as long as this process, and those that it forks; with them come the
    descriptors that were open before, or None where there is no image.

    Raises:
        NotHere: the store has no such image.
    """
    lower = request.stack.lower
    at = next((at for at, part in enumerate(lower) if _may_be_image(part)), None)
    if at is None or request.remount is not None:
        return request, None
    # Few mounts have an image, and engines mount often.
    from overlayfs_py.mounts.daemon import open_descriptors
    from overlayfs_py.mounts.stored_stack import stack_of

    callers_fds = open_descriptors()
    name = _name(lower[at:])
    found = find_in_store(name, None)
    if found is None:
        if lower[at].startswith(_IMAGE):
            raise NotHere(name)
        return request, None  # the missing layer is named when it is opened
    request = read_after(_DEFAULTS)
    overrides = request.stack.layer_overrides or stack_of(()).layer_overrides
    stack = request.stack._replace(lower=(*lower[:at], *found.layers), layer_overrides=overrides)
    return request._replace(stack=stack), callers_fds


def _may_be_image(part: bytes) -> bool:
    if part.startswith(_IMAGE):
        return True
    return not is_path(os.fsdecode(part)) and not os.path.lexists(part)


def _name(parts: Sequence[bytes]) -> str:
    return os.fsdecode(b":".join(parts).removeprefix(_IMAGE))
