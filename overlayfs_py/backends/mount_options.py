"""The options of fuse-overlayfs and of mount(8), understood: what to stack and how to mount it.

Nothing here touches the filesystem; the union names the directory that it cannot open.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.backends.option_text import split_list, split_options, unescape
from overlayfs_py.backends.option_values import (
    Layers,
    OptionError,
    parse_choice,
    parse_id,
    parse_id_ranges,
    parse_layers,
    parse_volume,
)
from overlayfs_py.drivers.idle_polling import IdlePolling
from overlayfs_py.drivers.mounting import IoMode, MountPlan
from overlayfs_py.union.values import StackSpec, WhiteoutStyle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["NAMES", "MountRequest", "OptionError", "interpret", "split_list"]

_SWITCH = {"on": True, "off": False, "1": True, "0": False, "yes": True, "no": False}
_ON_OFF = {"on": True, "off": False}

_PLAN_FLAGS: dict[str, Callable[[MountPlan], MountPlan]] = {
    "ro": lambda plan: plan._replace(read_only=True),
    "rw": lambda plan: plan._replace(read_only=False),
    "suid": lambda plan: plan._replace(suid=True),
    "nosuid": lambda plan: plan._replace(suid=False),
    "dev": lambda plan: plan._replace(dev=True),
    "nodev": lambda plan: plan._replace(dev=False),
    "exec": lambda plan: plan._replace(exec=True),
    "noexec": lambda plan: plan._replace(exec=False),
    "atime": lambda plan: plan._replace(noatime=False),
    "noatime": lambda plan: plan._replace(noatime=True),
    "sync": lambda plan: plan._replace(sync=True),
    "async": lambda plan: plan._replace(sync=False, dirsync=False),
    "dirsync": lambda plan: plan._replace(dirsync=True),
    "allow_other": lambda plan: plan._replace(allow_other=True),
    # More than the mounting user, less than everybody: it takes back what is allowed by default.
    "allow_root": lambda plan: plan._replace(allow_other=False, allow_root=True),
    "default_permissions": lambda plan: plan._replace(default_permissions=True),
    "writeback": lambda plan: plan._replace(writeback=True),
}
_PLAN_VALUES: dict[str, Callable[[MountPlan, str], MountPlan]] = {
    "fsname": lambda plan, value: plan._replace(source=unescape(value)),
    "subtype": lambda plan, value: plan._replace(subtype=unescape(value)),
    "context": lambda plan, value: plan._replace(selinux_context=value),
    "io": lambda plan, value: plan._replace(
        io=parse_choice(value, {mode.value: mode for mode in IoMode})
    ),
    "writeback": lambda plan, value: plan._replace(writeback=parse_choice(value, _SWITCH)),
    # The kernel's index needs an upper of its own; ours needs no index for what it is for.
    "index": lambda plan, value: plan._replace(shares_upper=not parse_choice(value, _ON_OFF)),
    "idlepoll": lambda plan, value: plan._replace(
        idle_polling=parse_choice(value, {choice.value: choice for choice in IdlePolling})
    ),
}
_STACK_FLAGS: dict[str, Callable[[StackSpec], StackSpec]] = {
    "volatile": lambda spec: spec._replace(volatile=True),
    "static_nlink": lambda spec: spec._replace(static_nlink=True),
    "userxattr": lambda spec: spec._replace(user_marks=True),
    "squash_to_root": lambda spec: spec._replace(ids=spec.ids._replace(squash_uid=0, squash_gid=0)),
}
_STACK_VALUES: dict[str, Callable[[StackSpec, str], StackSpec]] = {
    "lowerdir": lambda spec, value: _with_layers(spec, parse_layers(value)),
    "upperdir": lambda spec, value: spec._replace(upper=_path(value)),
    "workdir": lambda spec, value: spec._replace(work=_path(value)),
    "volume": lambda spec, value: spec._replace(volumes=(*spec.volumes, parse_volume(value))),
    "uidmapping": lambda spec, value: spec._replace(
        ids=spec.ids._replace(uids=parse_id_ranges(value))
    ),
    "gidmapping": lambda spec, value: spec._replace(
        ids=spec.ids._replace(gids=parse_id_ranges(value))
    ),
    "squash_to_uid": lambda spec, value: spec._replace(
        ids=spec.ids._replace(squash_uid=parse_id(value))
    ),
    "squash_to_gid": lambda spec, value: spec._replace(
        ids=spec.ids._replace(squash_gid=parse_id(value))
    ),
    "xattr_permissions": lambda spec, value: _with_overrides(
        spec, parse_choice(value, {"0": 0, "1": 1, "2": 2})
    ),
    "redirect_dir": lambda spec, value: spec._replace(
        redirect_dir=parse_choice(value, {"on": True, "off": False})
    ),
    "metacopy": lambda spec, value: spec._replace(
        metacopy=parse_choice(value, {"on": True, "off": False})
    ),
    "whiteout": lambda spec, value: spec._replace(
        whiteout=parse_choice(value, {style.value: style for style in WhiteoutStyle})
    ),
    "static_nlink": lambda spec, value: spec._replace(static_nlink=parse_choice(value, _SWITCH)),
    "fsync": lambda spec, value: spec._replace(volatile=not parse_choice(value, _SWITCH)),
}

NAMES = _PLAN_FLAGS.keys() | _PLAN_VALUES.keys() | _STACK_FLAGS.keys() | _STACK_VALUES.keys()

# Understood, and without effect here: how long the kernel may cache is known (layers do not
# change), one inode number space needs no xino, and a request never waits for a second thread.
# `noacl` asks for less than POSIX. The rest is for mount(8) and systemd, which may pass it on.
_WITHOUT_EFFECT = frozenset(
    {"timeout", "threaded", "xino", "noacl", "relatime", "norelatime", "strictatime", "lazytime"}
    | {"nolazytime", "diratime", "nodiratime", "auto_unmount", "nonempty", "clone_fd"}
    | {"defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail"}
    | {"_netdev"}
)
_OTHERS_PREFIXES = ("x-", "X-")  # mount(8): comments and options of others in userspace


class MountRequest(NamedTuple):
    """What the options ask for."""

    stack: StackSpec
    plan: MountPlan
    unknown: list[str]  # names of options that were ignored


def interpret(texts: Iterable[str], target: bytes, source: str | None = None) -> MountRequest:
    """Return what all the `-o` of a command line ask for together; a later option wins.

    `source` is what mount(8) and containerd put before the mount point; `fsname=` outdoes it.

    Raises:
        OptionError: an option's value makes no sense, or an option is missing.
    """
    spec = StackSpec(lower=())
    plan = MountPlan(target) if source is None else MountPlan(target, source=source)
    unknown = []
    for name, value in (option for text in texts for option in split_options(text)):
        try:
            if value is None and name in _PLAN_FLAGS:
                plan = _PLAN_FLAGS[name](plan)
            elif value is not None and name in _PLAN_VALUES:
                plan = _PLAN_VALUES[name](plan, value)
            elif value is None and name in _STACK_FLAGS:
                spec = _STACK_FLAGS[name](spec)
            elif name in _STACK_VALUES:
                spec = _STACK_VALUES[name](spec, _required(value))
            elif name not in _WITHOUT_EFFECT and not name.startswith(_OTHERS_PREFIXES):
                unknown.append(name)
        except ValueError as error:
            raise OptionError(name, str(error)) from None
    if not target:
        raise OptionError("mount point", "its name is empty")
    _require_agreement(spec, plan)
    return MountRequest(require_complete(spec), plan, unknown)


def require_complete(spec: StackSpec) -> StackSpec:
    """Return `spec` if it can be a stack.

    Raises:
        OptionError: naming the option that is missing.
    """
    if not spec.lower:
        raise OptionError("lowerdir", "the mount needs at least one layer")
    if spec.upper is not None and spec.work is None:
        raise OptionError("workdir", "upperdir needs a workdir on the same filesystem")
    if spec.work is not None and spec.upper is None:
        raise OptionError("upperdir", "workdir makes no sense without an upperdir")
    if spec.metacopy and not spec.redirect_dir:
        raise OptionError("metacopy", "files without data are found by redirects: redirect_dir=on")
    return spec


def _require_agreement(spec: StackSpec, plan: MountPlan) -> None:
    """Refuse what excludes each other."""
    if plan.writeback and spec.volumes:
        raise OptionError("writeback", "it cannot be had with volumes, which others change")
    if plan.writeback and plan.io is IoMode.PASSTHROUGH:
        raise OptionError("writeback", "it cannot be had with io=passthrough")


def _with_layers(spec: StackSpec, layers: Layers) -> StackSpec:
    return spec._replace(lower=layers.lower, data_only=layers.data_only)


def _with_overrides(spec: StackSpec, permissions: int) -> StackSpec:
    return spec._replace(xattr_permissions=permissions, layer_overrides=permissions != 0)


def _required(value: str | None) -> str:
    if value is None:
        raise ValueError("needs a value")
    return value


def _path(value: str) -> bytes:
    if not value:
        raise ValueError("needs a directory")
    return os.fsencode(unescape(value))
