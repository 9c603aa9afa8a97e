"""Making a damaged store whole again: what is broken goes out of the way, nothing is invented."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from msgspec import structs

from overlayfs_py.errors import OverlayError
from overlayfs_py.image.digest import Digest
from overlayfs_py.store import durable, layers, names, records, stacks
from overlayfs_py.store.checking import Problem, Trouble
from overlayfs_py.store.collection import is_used
from overlayfs_py.store.containers import is_running
from overlayfs_py.store.records import ImageEntry

if TYPE_CHECKING:
    from overlayfs_py.store.places import Places


def repair(places: Places, problem: Problem) -> str:
    """Move what is wrong out of the way; returns what was done. Needs the store's exclusive lock.

    A layer that registries have is deleted, as are names of what is no image any more; everything
    else goes to `quarantine/`.
    """
    if not _is_still_there(problem):
        return "gone meanwhile"
    match problem.trouble:
        case Trouble.LAYER:
            return _repair_layer(places, problem)
        case Trouble.IMAGE:
            return _repair_image(places, problem)
        case Trouble.CONTAINER:
            if problem.path.name != stacks.FILE:
                return "left; its image, pulled again, has the layer, and `rm` removes it"
            return _repair_stack(places, problem)
        case Trouble.LOST_CONTAINER if is_running(places, problem.path.name):
            return "left, since it runs"
        case Trouble.LOST_CONTAINER | Trouble.LOST_VOLUME:
            return _quarantine(places, problem)
        case Trouble.BLOB | Trouble.TAG | Trouble.BUILD | Trouble.FOREIGN:
            return _quarantine(places, problem)


def _is_still_there(problem: Problem) -> bool:
    try:
        status = os.lstat(problem.path)
    except FileNotFoundError:
        return False
    return (status.st_dev, status.st_ino) == problem.identity


def _quarantine(places: Places, problem: Problem) -> str:
    target = places.quarantine / f"{problem.path.name}.{secrets.token_hex(4)}"
    os.rename(problem.path, target)
    durable.sync_directory(places.quarantine)
    durable.sync_directory(problem.path.parent)
    return f"moved to quarantine/{target.name}"


def _repair_layer(places: Places, problem: Problem) -> str:
    diff_id = Digest(problem.name)
    if is_used(places, diff_id):
        return "left, since it is mounted"
    sources = _sources(places, diff_id)
    if not sources:
        return _quarantine(places, problem)
    gone = places.staging / f"gone-{secrets.token_hex(8)}"
    os.rename(problem.path, gone)
    durable.sync_directory(places.layers)
    durable.remove(gone)
    return f"deleted; {', '.join(sources)} had it"


def _repair_stack(places: Places, problem: Problem) -> str:
    """Take away the snapshots that are not whole; nothing else can go without its files."""
    directory = problem.path.parent
    if is_running(places, directory.name):
        return "left, since it runs"
    try:
        stack = stacks.read(directory)
    except OverlayError:
        return "left; `rm` removes it"
    gone = stacks.missing(places, directory, stack)
    lost = [each.tag for each in stack.snapshots if gone.intersection(each.layers)]
    if lost:
        whole = tuple(each for each in stack.snapshots if each.tag not in lost)
        stacks.write(directory, structs.replace(stack, snapshots=whole))
    if gone.intersection(stack.layers):
        return "left; `rm` removes it"
    return f"no snapshots any more: {', '.join(lost)}" if lost else "left; `rm` removes it"


def _sources(places: Places, diff_id: Digest) -> list[str]:
    try:
        layer = layers.find(places, diff_id)
    except OverlayError:
        return []
    known = () if layer is None else layer.record.blobs
    return list(dict.fromkeys(source for blob in known for source in blob.sources))


def _repair_image(places: Places, problem: Problem) -> str:
    """Take an image's names away first, so that none names what is none."""
    manifest = problem.name
    tags = [tag.reference for tag in names.all_tags(places) if tag.manifest == manifest]
    for reference in tags:
        names.remove_tag(places, reference)
    repositories = _repositories(problem)
    done = _quarantine(places, problem)
    lost = f", no longer named {', '.join(tags)}" if tags else ""
    again = f"; pull it again from {', '.join(repositories)}" if repositories else ""
    return f"{done}{lost}{again}"


def _repositories(problem: Problem) -> tuple[str, ...]:
    try:
        entry = records.read(problem.path, ImageEntry)
    except OverlayError:
        return ()
    return () if entry is None else entry.repositories
