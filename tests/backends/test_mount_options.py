from __future__ import annotations

import re

import pytest

from overlayfs_py.backends.mount_options import OptionError, interpret
from overlayfs_py.drivers.idle_polling import IdlePolling
from overlayfs_py.drivers.mounting import IoMode, MountPlan
from overlayfs_py.union.values import IdMap, IdRange, StackSpec, Volume, WhiteoutStyle

BASE = StackSpec(lower=(b"l",))
PLAN = MountPlan(b"m")


def stack_of(*texts: str) -> StackSpec:
    request = interpret(["lowerdir=l", *texts], b"m")
    assert request.plan == PLAN
    assert request.unknown == []
    return request.stack


def plan_of(*texts: str) -> MountPlan:
    request = interpret(["lowerdir=l", *texts], b"m")
    assert request.stack == BASE
    assert request.unknown == []
    return request.plan


STACKS = {
    "lowerdir=a": BASE._replace(lower=(b"a",)),
    "lowerdir=/a:b/c:../d": BASE._replace(lower=(b"/a", b"b/c", b"../d")),
    r"lowerdir=a\:b:c\,d": BASE._replace(lower=(b"a:b", b"c,d")),
    "lowerdir=:a:b:": BASE._replace(lower=(b"a", b"b")),
    "lowerdir=a:b::c::d": BASE._replace(lower=(b"a", b"b"), data_only=(b"c", b"d")),
    "metacopy=on": BASE._replace(metacopy=True),
    "metacopy=on,metacopy=off": BASE,
    "lowerdir=caf\udce9": BASE._replace(lower=(b"caf\xe9",)),
    "upperdir=u,workdir=w": BASE._replace(upper=b"u", work=b"w"),
    r"upperdir=u\,1,workdir=w\\2": BASE._replace(upper=b"u,1", work=b"w\\2"),
    "workdir=w,upperdir=u,": BASE._replace(upper=b"u", work=b"w"),
    "volatile": BASE._replace(volatile=True),
    "fsync=0": BASE._replace(volatile=True),
    "fsync=1": BASE,
    "static_nlink": BASE._replace(static_nlink=True),
    "static_nlink=1": BASE._replace(static_nlink=True),
    "static_nlink=0": BASE,
    "redirect_dir=on": BASE,
    "redirect_dir=follow": BASE._replace(redirect_dir=False),
    "redirect_dir=nofollow": BASE._replace(redirect_dir=False, follows_redirects=False),
    "redirect_dir=nofollow,redirect_dir=on": BASE,
    "lowerdir+=m,lowerdir+=n": BASE._replace(lower=(b"l", b"m", b"n")),
    r"lowerdir+=a\:b\,c": BASE._replace(lower=(b"l", b"a:b,c")),
    "lowerdir+=m,datadir+=d,datadir+=e": BASE._replace(lower=(b"l", b"m"), data_only=(b"d", b"e")),
    "xino=auto,xino=on,xino=off,nfs_export=off,nfs_export=on,uuid=null,uuid=auto": BASE,
    "uuid=on,uuid=off,verity=off,override_creds": BASE,
    "redirect_dir=off": BASE._replace(redirect_dir=False),
    "xattr_permissions=0": BASE,
    "userxattr": BASE._replace(user_marks=True),
    "xattr_permissions=1": BASE._replace(xattr_permissions=1, layer_overrides=True),
    "xattr_permissions=2": BASE._replace(xattr_permissions=2, layer_overrides=True),
    "whiteout=device": BASE,
    "whiteout=aufs": BASE._replace(whiteout=WhiteoutStyle.AUFS),
    "uidmapping=0:10:100": BASE._replace(ids=IdMap(uids=(IdRange(0, 10, 100),))),
    "uidmapping=:0:100000:5000,gidmapping=:0:200000:5000": BASE._replace(
        ids=IdMap(uids=(IdRange(0, 100000, 5000),), gids=(IdRange(0, 200000, 5000),))
    ),
    "gidmapping=0:1000:1:1:110000:65536": BASE._replace(
        ids=IdMap(gids=(IdRange(0, 1000, 1), IdRange(1, 110000, 65536)))
    ),
    "uidmapping=0:0:4294967295": BASE._replace(ids=IdMap(uids=(IdRange(0, 0, 4294967295),))),
    "squash_to_root": BASE._replace(ids=IdMap(squash_uid=0, squash_gid=0)),
    "squash_to_uid=7": BASE._replace(ids=IdMap(squash_uid=7)),
    "squash_to_gid=8": BASE._replace(ids=IdMap(squash_gid=8)),
    "volume=/h:/p": BASE._replace(volumes=(Volume(b"/h", b"/p"),)),
    "volume=h:/p:ro": BASE._replace(volumes=(Volume(b"h", b"/p", read_only=True),)),
    "volume=h:/p:rw": BASE._replace(volumes=(Volume(b"h", b"/p"),)),
    "volume=h://p/q//": BASE._replace(volumes=(Volume(b"h", b"/p/q"),)),
    r"volume=h\:1:/p\,2": BASE._replace(volumes=(Volume(b"h:1", b"/p,2"),)),
    "volume=h:/p,volume=i:/p/q": BASE._replace(
        volumes=(Volume(b"h", b"/p"), Volume(b"i", b"/p/q"))
    ),
}

PLANS = {
    "index=off": PLAN,
    "index=on": PLAN._replace(shares_upper=False),
    "ro": PLAN._replace(read_only=True),
    "ro,rw": PLAN,
    "rw,suid,dev,exec,atime,async,default_permissions": PLAN,
    "nosuid": PLAN._replace(suid=False),
    "nosuid,suid": PLAN,
    "nodev": PLAN._replace(dev=False),
    "noexec": PLAN._replace(exec=False),
    "noatime": PLAN._replace(noatime=True),
    "sync": PLAN._replace(sync=True),
    "dirsync": PLAN._replace(dirsync=True),
    "allow_other": PLAN,
    "allow_root": PLAN._replace(allow_other=False, allow_root=True),
    "io=cached": PLAN,
    "writeback": PLAN._replace(writeback=True),
    "writeback=1": PLAN._replace(writeback=True),
    "writeback,writeback=0": PLAN,
    "io=passthrough": PLAN._replace(io=IoMode.PASSTHROUGH),
    "idlepoll=auto": PLAN,
    "idlepoll=on": PLAN._replace(idle_polling=IdlePolling.ON),
    "idlepoll=off": PLAN._replace(idle_polling=IdlePolling.OFF),
    "fsname=a": PLAN._replace(source="a"),
    r"fsname=a\,b": PLAN._replace(source="a,b"),
    "subtype=s": PLAN._replace(subtype="s"),
    'context="u:r:t:s0:c1,c2"': PLAN._replace(selinux_context="u:r:t:s0:c1,c2"),
    "context=u:r:t:s0": PLAN._replace(selinux_context="u:r:t:s0"),
}

WITHOUT_EFFECT = [
    "timeout=0",
    "threaded=1",
    "xino=on",
    "xino",
    "noacl",
    "relatime",
    "auto_unmount",
    "defaults",
    "_netdev",
    "x-systemd.automount",
    "X-mount.mkdir=0755",
]

REFUSED = {
    "lowerdir=": "lowerdir: the mount needs at least one layer",
    "lowerdir": "lowerdir: needs a value",
    "lowerdir=a::b:c": "lowerdir: c: below a layer for data only come no others",
    "writeback,volume=h:/p": ("writeback: it cannot be had with volumes, which others change"),
    "io=passthrough,writeback": "writeback: it cannot be had with io=passthrough",
    "idlepoll=yes": "idlepoll: 'yes' is not one of auto, on, off",
    "metacopy=yes": "metacopy: 'yes' is not one of on, off",
    "metacopy=on,redirect_dir=off": (
        "metacopy: files without data are found by redirects: redirect_dir=on"
    ),
    "upperdir=u": "workdir: upperdir needs a workdir on the same filesystem",
    "workdir=w": "upperdir: workdir makes no sense without an upperdir",
    "upperdir=,workdir=w": "upperdir: needs a directory",
    "uidmapping": "uidmapping: needs a value",
    "uidmapping=": "uidmapping: : not of the form disk:seen:length, repeated",
    "uidmapping=0:1": "uidmapping: 0:1: not of the form disk:seen:length, repeated",
    "gidmapping=0:1:2:3": "gidmapping: 0:1:2:3: not of the form disk:seen:length, repeated",
    "uidmapping=0:x:1": "uidmapping: 0:x:1: 'x' is not a number",
    "uidmapping=0:-1:1": "uidmapping: 0:-1:1: '-1' is not a number",
    "uidmapping=1:0:4294967295": (
        "uidmapping: 1:0:4294967295: a range reaches past the largest id"
    ),
    "squash_to_uid=root": "squash_to_uid: 'root' is not a number",
    "squash_to_gid=4294967295": "squash_to_gid: 4294967295 is not an id: too large",
    "xattr_permissions=3": "xattr_permissions: '3' is not one of 0, 1, 2",
    "redirect_dir=maybe": "redirect_dir: 'maybe' is not one of on, off, follow, nofollow",
    "io=direct": "io: 'direct' is not one of cached, passthrough",
    "whiteout=none": "whiteout: 'none' is not one of device, aufs",
    "fsync=maybe": "fsync: 'maybe' is not one of on, off, 1, 0, yes, no",
    "volume=h": "volume: h: not of the form HOST:/path[:ro]",
    "volume=a:/b:ro:c": "volume: a:/b:ro:c: not of the form HOST:/path[:ro]",
    "volume=:/p": "volume: :/p: no host directory before the colon",
    "volume=h:p": "volume: h:p: the place must be an absolute path below /, not 'p'",
    "volume=h:/": "volume: h:/: the place must be an absolute path below /, not '/'",
    "volume=h:": "volume: h:: the place must be an absolute path below /, not ''",
    "volume=h:/p/../q": "volume: h:/p/../q: the place must be a path without . and ..",
    "volume=h:/p:wo": "volume: h:/p:wo: after the path comes ro or rw, not 'wo'",
}


@pytest.mark.parametrize(("text", "expected"), STACKS.items(), ids=STACKS.keys())
def test_what_is_stacked(text: str, expected: StackSpec) -> None:
    assert stack_of(text) == expected


@pytest.mark.parametrize(("text", "expected"), PLANS.items(), ids=PLANS.keys())
def test_how_it_is_mounted(text: str, expected: MountPlan) -> None:
    assert plan_of(text) == expected


@pytest.mark.parametrize("text", WITHOUT_EFFECT)
def test_some_options_are_understood_and_change_nothing(text: str) -> None:
    assert stack_of(text) == BASE


@pytest.mark.parametrize(("text", "message"), REFUSED.items(), ids=REFUSED.keys())
def test_a_refusal_names_option_and_reason(text: str, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        interpret(["lowerdir=l", text], b"m")

    assert str(caught.value) == message
    assert caught.value.exit_code == 2


def test_a_layer_is_needed() -> None:
    with pytest.raises(OptionError, match=r"^lowerdir: "):
        interpret([], b"m")


def test_unknown_options_are_listed_and_change_nothing() -> None:
    request = interpret(["lowerdir=l,bogus=off,,nonsense=on", "ro=1,whatever"], b"m")

    assert request.unknown == [
        f"{name}: unknown option, ignored" for name in ("bogus", "nonsense", "ro", "whatever")
    ]
    assert request.stack == BASE
    assert request.plan == PLAN


def test_repeated_texts_are_one_command_line() -> None:
    request = interpret(["lowerdir=a", "", "upperdir=u", "workdir=w,lowerdir=b"], b"m")

    assert request.stack == StackSpec(lower=(b"b",), upper=b"u", work=b"w")


def test_the_source_is_what_the_mount_table_shows() -> None:
    assert interpret(["lowerdir=l"], b"m", "none").plan.source == "none"
    assert interpret(["lowerdir=l,fsname=f"], b"m", "none").plan.source == "f"


@pytest.mark.parametrize(
    "option",
    [
        *("redirect_dir=maybe", "index=1", "xino=yes", "nfs_export=", "uuid=0", "metacopy=yes"),
        *("verity=on", "verity=require", "lowerdir+=", "lowerdir+", "datadir+=", "whiteout=x"),
        "datadir+=d,lowerdir+=m",
    ],
)
def test_a_value_that_makes_no_sense_is_an_error_that_names_the_option(option: str) -> None:
    name = option.rpartition(",")[2].partition("=")[0]
    if option in ("lowerdir+=", "datadir+="):
        name = option.removesuffix("=")

    with pytest.raises(OptionError, match=rf"^{re.escape(name)}: "):
        interpret([f"lowerdir=l,{option}"], b"m")


def test_a_slip_of_the_pen_is_named() -> None:
    with pytest.raises(OptionError, match=r"^lowerdri: .*did you mean lowerdir\?$"):
        interpret(["lowerdri=l"], b"m")
    with pytest.raises(OptionError, match=r"^wrokdir: .*did you mean workdir\?$"):
        interpret(["lowerdir=l,upperdir=u,wrokdir=w"], b"m")
    assert interpret(["lowerdir=l,volatil"], b"m").unknown == [
        "volatil: unknown option, ignored; did you mean volatile?"
    ]


def test_a_remount_needs_no_layers() -> None:
    assert interpret(["remount,ro"], b"m").remount == ("remount", "ro")
    assert interpret(["lowerdir=l,upperdir=u,workdir=w,remount,rw"], b"m").remount == (
        "remount",
        "rw",
    )
    with pytest.raises(OptionError, match=r"^rw: "):
        interpret(["lowerdir=l,remount,rw"], b"m")
    assert interpret(["lowerdir=l"], b"m").remount is None
