"""`overlayfs-py layer ls`."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.layer_arguments import PACK, components
from overlayfs_py.cli.object_types import type_name
from overlayfs_py.terminal_text import for_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.packs.items import Item
    from overlayfs_py.packs.pack import Pack

_HELP = """List what is in a pack, all or what is below PATH. Whiteouts have a type of their own.

\b
--json prints an object per line: path, type, mode, uid, gid, size, mtime_ns, links, target of a
symbolic link, device numbers, opaque, xattrs (values in hexadecimal). Bytes that are no UTF-8
are lone surrogates, as Python reads them.

\b
Examples:
  overlayfs-py layer ls base.pack
  overlayfs-py layer ls -l base.pack /usr/bin
  overlayfs-py layer ls --json base.pack
"""
_DEVICES = (stat.S_IFCHR, stat.S_IFBLK)


@click.command("ls", help=_HELP)
@click.option("-l", "--long", "is_long", is_flag=True, help="With mode, owner, size and time.")
@click.option("--json", "as_json", is_flag=True, help="For programs: an object per line.")
@click.argument("pack_path", metavar="FILE", type=PACK)
@click.argument("path", default="/")
def command(pack_path: Path, path: str, *, is_long: bool, as_json: bool) -> None:
    from overlayfs_py.packs.items import find, walk
    from overlayfs_py.packs.pack import Pack

    with Pack(os.fsencode(pack_path)) as pack:
        start = components(path)
        if start:
            start = find(pack, start, follow=True).path
        for item in walk(pack, start):
            if as_json:
                click.echo(json.dumps(described(pack, item)))
            else:
                click.echo(_line(pack, item, is_long=is_long))


def _line(pack: Pack, item: Item, *, is_long: bool) -> str:
    name = for_terminal(b"/" + b"/".join(item.path))
    if not is_long:
        return name
    if item.inode is None:
        return f"w--------- {'-':>9} {'-':>10} {'-':>19} {name}"
    return _facts(item) + name + _arrow(pack, item)


def _facts(item: Item) -> str:
    inode = item.inode
    assert inode is not None
    size = str(inode.size) if item.type == stat.S_IFREG else _device(item) or "-"
    owner = f"{inode.uid}:{inode.gid}"
    return f"{stat.filemode(inode.mode)} {owner:>9} {size:>10} {_time(inode.mtime_s)} "


def _arrow(pack: Pack, item: Item) -> str:
    from overlayfs_py.packs.items import target

    if item.inode is None or item.type != stat.S_IFLNK:
        return ""
    return " -> " + for_terminal(target(pack, item.inode))


def _time(seconds: int) -> str:
    from datetime import UTC, datetime

    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return f"{seconds:>19}"  # a year that no calendar has


def _device(item: Item) -> str | None:
    if item.inode is None or item.type not in _DEVICES:
        return None
    return f"{item.inode.first >> 32}:{item.inode.first & 0xFFFFFFFF}"


def described(pack: Pack, item: Item) -> dict[str, object]:
    """What is in a pack, for programs."""
    from overlayfs_py.packs.format import Flag, join_ns
    from overlayfs_py.packs.items import target

    facts: dict[str, object] = {
        "path": os.fsdecode(b"/" + b"/".join(item.path)),
        "type": type_name(item.type) if item.type else "whiteout",
    }
    inode = item.inode
    if inode is None:
        return facts
    facts |= {
        "mode": f"{stat.S_IMODE(inode.mode):04o}",
        "uid": inode.uid,
        "gid": inode.gid,
        "size": inode.size if item.type == stat.S_IFREG else None,
        "mtime_ns": join_ns(inode.mtime_s, inode.mtime_ns),
        "links": None if item.type == stat.S_IFDIR else inode.nlink,
        "target": os.fsdecode(target(pack, inode)) if item.type == stat.S_IFLNK else None,
        "device": _device(item),
        "opaque": True if inode.flags & Flag.OPAQUE else None,
        "xattrs": _xattrs(pack, item) or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _xattrs(pack: Pack, item: Item) -> dict[str, str]:
    assert item.inode is not None
    xattrs = pack.index.xattrs(item.inode)
    return {os.fsdecode(name): value.hex() for name, value in sorted(xattrs.items())}
