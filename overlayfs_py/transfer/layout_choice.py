"""Which images of an OCI layout are meant: its index.json may list one for each platform.

Some programs put an index of platforms behind one descriptor of index.json, others put the images
there themselves, all under one name, or without any.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from msgspec import structs

from overlayfs_py.errors import OverlayError
from overlayfs_py.image import media_types
from overlayfs_py.image.config import parse_config
from overlayfs_py.image.manifest import Index, Manifest, parse_manifest
from overlayfs_py.image.platform import choose
from overlayfs_py.transfer.archive_documents import parse_layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.image.descriptor import Descriptor
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.image.platform import Platform
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.transfer.archive_contents import Contents

log = logging.getLogger(__name__)


def chosen_images(
    contents: Contents, layout: bytes, platform: Platform
) -> Iterator[tuple[Descriptor, list[Reference]]]:
    """Yield each image of index.json to load, once, with all names that are its own.

    Of several under one name that is the one for `platform`; so it is of those without a name, if
    each is for another platform.

    Raises:
        NoSuchPlatform: a name has images, and none for this platform.
    """
    named: dict[Reference | None, list[Descriptor]] = {}
    for descriptor, reference in parse_layout(layout, contents.archive):
        if descriptor.media_type in media_types.MANIFESTS | media_types.INDEXES:
            named.setdefault(reference, []).append(descriptor)
        else:
            log.info("%s: %s is no image", contents.archive, descriptor.digest)
    chosen: dict[Digest, tuple[Descriptor, list[Reference]]] = {}
    for reference, offered in named.items():
        for descriptor in _for_one_machine(contents, offered, platform, is_named=bool(reference)):
            _, names = chosen.setdefault(descriptor.digest, (descriptor, []))
            names += [reference] if reference else []
    yield from chosen.values()


def manifest_in(contents: Contents, descriptor: Descriptor) -> Manifest | Index:
    """The manifest or index that a descriptor of a layout names."""
    raw = contents.require_blob(descriptor.digest)
    return parse_manifest(raw, descriptor.media_type, descriptor.digest)


def _for_one_machine(
    contents: Contents, offered: list[Descriptor], platform: Platform, *, is_named: bool
) -> list[Descriptor]:
    told = list({each.digest: _with_platform(contents, each) for each in offered}.values())
    if len(told) < 2:
        return told
    platforms = {each.platform for each in told}
    is_one_image = is_named or (None not in platforms and len(platforms) == len(told))
    return [choose(told, platform)] if is_one_image else told


def _with_platform(contents: Contents, descriptor: Descriptor) -> Descriptor:
    """The descriptor with the platform that its image's config says, if it says none itself."""
    if descriptor.platform is not None or not descriptor.is_manifest:
        return descriptor
    try:
        manifest = manifest_in(contents, descriptor)
        if not isinstance(manifest, Manifest) or not manifest.is_image:
            return descriptor
        config = parse_config(contents.require_blob(manifest.config.digest))
    except OverlayError:
        return descriptor  # what is wrong with it is told when it is loaded
    return structs.replace(descriptor, platform=config.platform if config.platform.os else None)
