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
    parse_size,
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
# Whether redirects are written, and whether they are followed. The kernel follows with `off` as
# well, unless its parameter `redirect_always_follow` was turned off.
_REDIRECTS = {
    "on": (True, True),
    "off": (False, True),
    "follow": (False, True),
    "nofollow": (False, False),
}

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
    "xino": lambda plan, value: _checked(plan, value, ("on", "off", "auto")),
    "nfs_export": lambda plan, value: _checked(plan, value, ("on", "off")),
    "uuid": lambda plan, value: _checked(plan, value, ("on", "off", "auto", "null")),
    "verity": lambda plan, value: _unverified(plan, value),
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
    "lowerdir+": lambda spec, value: _with_layer(spec, _path(value)),
    "datadir+": lambda spec, value: spec._replace(data_only=(*spec.data_only, _path(value))),
    "upperdir": lambda spec, value: spec._replace(upper=_path(value)),
    "workdir": lambda spec, value: spec._replace(work=_path(value)),
    "upper_limit": lambda spec, value: spec._replace(upper_limit=parse_size(value)),
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
    "redirect_dir": lambda spec, value: _with_redirects(spec, parse_choice(value, _REDIRECTS)),
    "metacopy": lambda spec, value: spec._replace(
        metacopy=parse_choice(value, {"on": True, "off": False})
    ),
    "whiteout": lambda spec, value: spec._replace(
        whiteout=parse_choice(value, {style.value: style for style in WhiteoutStyle})
    ),
    "static_nlink": lambda spec, value: spec._replace(static_nlink=parse_choice(value, _SWITCH)),
    "fsync": lambda spec, value: spec._replace(volatile=not parse_choice(value, _SWITCH)),
}

_REMOUNT = "remount"
_LEASE = "lease"
# What is completed, and what others are compared with: `lowerdir+` only by `lowerdir`.
NAMES = {
    name
    for table in (_PLAN_FLAGS, _PLAN_VALUES, _STACK_FLAGS, _STACK_VALUES, (_REMOUNT, _LEASE))
    for name in table
    if not name.endswith("+")
}

# Understood, and without effect here: how long the kernel may cache is known (layers do not
# change), one inode number space needs no `xino`, FUSE gives file handles and a filesystem's id by
# itself (`nfs_export`, `uuid`), a request never waits for a second thread, and the daemon acts with
# its own rights (`override_creds`). `noacl` asks for less than POSIX. The rest is for mount(8) and
# systemd, which may pass it on.
_WITHOUT_EFFECT = frozenset(
    {"timeout", "threaded", "xino", "noacl", "relatime", "norelatime", "strictatime", "lazytime"}
    | {"nolazytime", "diratime", "nodiratime", "auto_unmount", "nonempty", "clone_fd"}
    | {"override_creds"}
    | {"defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail"}
    | {"_netdev"}
)
_OTHERS_PREFIXES = ("x-", "X-")  # mount(8): comments and options of others in userspace


class MountRequest(NamedTuple):
    """What the options ask for."""

    stack: StackSpec
    plan: MountPlan
    unknown: list[str]  # what is wrong with options that were ignored
    remount: tuple[str, ...] | None = None  # the options, where a mount is to be changed
    lease: bytes | None = None  # a file that is held as long as the mount is served


def interpret(texts: Iterable[str], target: bytes, source: str | None = None) -> MountRequest:
    """Return what all the `-o` of a command line ask for together; a later option wins.

    `source` is what mount(8) and containerd put before the mount point; `fsname=` outdoes it.

    Raises:
        OptionError: an option's value makes no sense, or an option is missing.
    """
    spec = StackSpec(lower=())
    plan = MountPlan(target) if source is None else MountPlan(target, source=source)
    lease = None
    unknown = []
    options = [option for text in texts for option in split_options(text)]
    for name, value in options:
        try:
            if value is None and name in _PLAN_FLAGS:
                plan = _PLAN_FLAGS[name](plan)
            elif value is not None and name in _PLAN_VALUES:
                plan = _PLAN_VALUES[name](plan, value)
            elif value is None and name in _STACK_FLAGS:
                spec = _STACK_FLAGS[name](spec)
            elif name in _STACK_VALUES:
                spec = _STACK_VALUES[name](spec, _required(value))
            elif name == _LEASE:
                lease = _path(_required(value))
            elif (
                name not in _WITHOUT_EFFECT
                and name != _REMOUNT
                and not name.startswith(_OTHERS_PREFIXES)
            ):
                unknown.append(name)
        except ValueError as error:
            raise OptionError(name, str(error)) from None
    if not target:
        raise OptionError("mount point", "its name is empty")
    if _REMOUNT in (name for name, _ in options):
        return _remount(spec, plan, [name for name, value in options if value is None])
    _require_agreement(spec, plan)
    return MountRequest(_complete(spec, unknown), plan, _described(unknown), lease=lease)


def _remount(spec: StackSpec, plan: MountPlan, flags: list[str]) -> MountRequest:
    """Return the request to change a mount, of which mount(8) may tell all options again."""
    if spec.lower and spec.upper is None and not spec.volumes and "rw" in flags:
        raise OptionError("rw", "the mount has no upperdir, and stays read-only")
    return MountRequest(spec, plan, [], tuple(flags))


def _complete(spec: StackSpec, unknown: list[str]) -> StackSpec:
    try:
        return require_complete(spec)
    except OptionError:
        for name in unknown:
            _require_no_slip(name)
        raise


def _require_no_slip(name: str) -> None:
    """Blame what is missing on an option that was meant to be it."""
    near = _near(name)
    if near is not None:
        raise OptionError(name, f"unknown option; did you mean {near}?")


def _described(unknown: list[str]) -> list[str]:
    """Say of each unknown option that it is ignored, and what may have been meant."""
    near = [(name, _near(name)) for name in unknown]
    return [
        f"{name}: unknown option, ignored" + (f"; did you mean {meant}?" if meant else "")
        for name, meant in near
    ]


def _near(name: str) -> str | None:
    if name in NAMES:
        return None  # it takes no value
    from overlayfs_py.backends.near_options import near_option  # which brings difflib along

    return near_option(name, NAMES)


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


def _checked(plan: MountPlan, value: str, choices: Iterable[str]) -> MountPlan:
    """Leave the plan as it is: whatever is chosen has no meaning here."""
    parse_choice(value, dict.fromkeys(choices))
    return plan


def _unverified(plan: MountPlan, value: str) -> MountPlan:
    """Refuse what would promise that data has been checked."""
    if parse_choice(value, {"off": False, "on": True, "require": True}):
        raise ValueError("digests of data are not checked; there is off only")
    return plan


def _with_redirects(spec: StackSpec, how: tuple[bool, bool]) -> StackSpec:
    written, followed = how
    return spec._replace(redirect_dir=written, follows_redirects=followed)


def _with_layer(spec: StackSpec, layer: bytes) -> StackSpec:
    if spec.data_only:
        raise ValueError(f"{os.fsdecode(layer)}: below a layer for data only come no others")
    return spec._replace(lower=(*spec.lower, layer))


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
